//! The token of a running job, with which its script reads executions, logs and artifacts of its repository.
//!
//! It is derived from the lease of the attempt, so that nothing about it is stored and it ends with the lease. It does not reveal
//! the lease.

use super::{JobId, LeaseToken};
use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use std::fmt;
use uuid::Uuid;

/// Variable of a job that holds its token, and the name under which a job asks for it as a secret.
pub const JOB_TOKEN: &str = "TIDEMILL_JOB_TOKEN";
/// The same variable as GitLab calls it.
pub const GITLAB_JOB_TOKEN: &str = "CI_JOB_TOKEN";

const PREFIX: &str = "tj_";
/// Separates these hashes from all others.
const DOMAIN: &[u8] = b"tidemill job token 1\0";
const PROOF_LEN: usize = 32;
const LEN: usize = 16 + PROOF_LEN;

/// The token of an attempt of a job.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct JobToken {
    job: JobId,
    proof: [u8; PROOF_LEN],
}

impl fmt::Debug for JobToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobToken").field("job", &self.job).finish_non_exhaustive()
    }
}

impl JobToken {
    /// Creates the token of the attempt of `job` that holds `lease`.
    #[must_use]
    pub fn new(job: JobId, lease: LeaseToken) -> Self {
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        hash.update(job.0.as_bytes());
        hash.update(lease.0.as_bytes());
        Self { job, proof: hash.finalize().into() }
    }

    /// Reads a token; `None`: it is another kind of token, or damaged.
    #[must_use]
    pub fn parse(token: &[u8]) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(token.strip_prefix(PREFIX.as_bytes())?).ok()?;
        let bytes: [u8; LEN] = bytes.try_into().ok()?;
        let (job, proof) = bytes.split_first_chunk::<16>()?;
        Some(Self { job: JobId(Uuid::from_bytes(*job)), proof: proof.try_into().ok()? })
    }

    /// Returns the text that is sent as a bearer token.
    #[must_use]
    pub fn expose(&self) -> String {
        let bytes = [&self.job.0.as_bytes()[..], &self.proof].concat();
        format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))
    }

    /// The job that the token names, which proves nothing yet.
    #[must_use]
    pub const fn job(&self) -> JobId {
        self.job
    }

    /// Whether it is the token of the attempt that holds `lease`. Compares in constant time.
    #[must_use]
    pub fn belongs_to(&self, lease: LeaseToken) -> bool {
        let expected = Self::new(self.job, lease).proof;
        let difference = expected.iter().zip(&self.proof).fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{JobId, JobToken, LeaseToken};
    use uuid::Uuid;

    #[test]
    fn token_belongs_to_one_lease_of_one_job() {
        let [job, other] = [1, 2].map(|n| JobId(Uuid::from_u128(n)));
        let lease = LeaseToken(Uuid::from_u128(7));
        let token = JobToken::new(job, lease);
        let text = token.expose();
        assert!(text.len() == 67 && text.starts_with("tj_"), "{text}");
        assert_eq!(JobToken::parse(text.as_bytes()), Some(token));
        assert!(token.job() == job && token.belongs_to(lease) && !token.belongs_to(lease.for_attempt(1)));
        assert!(JobToken::new(other, lease) != token && !format!("{token:?}").contains(&text[30..]));
        let damaged = format!("{}{}", &text[..60], "AAAAAAA");
        assert!(JobToken::parse(damaged.as_bytes()).is_none_or(|token| !token.belongs_to(lease)));
        for wrong in ["", "tj_", &text[1..], &text[..text.len() - 1], &format!("{text}A"), "tm_abc"] {
            assert!(JobToken::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}
