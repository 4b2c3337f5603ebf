//! The output of attempts.

use tidemill_core::ids::JobId;

/// Returns an attempt's output from an offset on. It differs from the output of every other attempt.
pub fn attempt_output(job: JobId, attempt: u32, offset: u64, length: u64) -> Vec<u8> {
    let seed = job.0.as_u128() ^ u128::from(attempt);
    (offset..offset + length)
        .map(|position| {
            let mixed = (seed ^ u128::from(position)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            mixed.to_be_bytes()[2]
        })
        .collect()
}
