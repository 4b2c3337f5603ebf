//! What attempts print.

use tidemill_core::ids::JobId;

/// What an attempt prints from an offset on: it can be told from what every other prints.
pub fn log(job: JobId, attempt: u32, offset: u64, length: u64) -> Vec<u8> {
    let seed = job.0.as_u128() ^ u128::from(attempt);
    (offset..offset + length)
        .map(|at| {
            let mixed = (seed ^ u128::from(at)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            mixed.to_be_bytes()[2]
        })
        .collect()
}
