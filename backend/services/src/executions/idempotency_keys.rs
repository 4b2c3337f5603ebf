//! Idempotency keys: names under which the records find the execution that a request started.
//!
//! A key consists of typed parts. Its name is its kind and the SHA-256 of all parts. A caller's text is one part of one kind, so it can
//! never equal a key of another kind, repository or token.

use crate::{
    access::caller::Caller,
    error::{Error, Result},
};
use serde::Serialize;
use std::{fmt, sync::Arc};
use tidemill_core::ids::digest::json_digest;
use tidemill_core::repository::canonical_name;
use tidemill_core::{
    ids::{ExecutionId, JobId},
    time::Timestamp,
};

/// Maximum length of a key from a caller, in bytes.
const MAX_KEY_LEN: usize = 200;

/// The cause of an execution; each cause starts one execution.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum IdempotencyKey<'a> {
    /// The `Idempotency-Key` header of a request.
    Caller {
        /// Name of the repository ([`canonical`]).
        repo: &'a str,
        /// Token of the request.
        token: &'a str,
        /// Value of the header.
        key: &'a str,
    },
    /// The request itself; valid while its execution is live.
    Derived {
        /// Hash of the request.
        request: &'a str,
    },
    /// One time of a schedule.
    Schedule {
        /// Name of the schedule, which starts with the name of its repository.
        name: &'a str,
        /// The time.
        at: Timestamp,
    },
    /// A pipeline file found by a discovery.
    Discovered {
        /// The discovery, or the first one that it retries.
        first: ExecutionId,
        /// Path of the file.
        path: &'a str,
    },
    /// An event of a webhook.
    Webhook {
        /// Name of the repository.
        repo: &'a str,
        /// Hash of the body.
        body: &'a str,
        /// When the body was accepted; at another time it is another event.
        taken_at: Timestamp,
        /// Changes whenever an administrator allows redeliveries.
        epoch: i64,
        /// Index of the event in the body.
        event: usize,
    },
    /// The end of an execution that other pipelines follow.
    After {
        /// The ended execution.
        execution: ExecutionId,
    },
    /// A requested discovery of a default branch.
    Sync {
        /// Unique for each request.
        id: ExecutionId,
    },
    /// A request to stop an environment.
    EnvironmentStop {
        /// Name of the repository.
        repo: &'a str,
        /// Name of the environment.
        name: &'a str,
        /// The job of the deployment that it stops.
        deployment: JobId,
        /// The number of the request among those of the environment.
        number: u32,
    },
    /// A job that starts another pipeline.
    Child {
        /// The job.
        job: JobId,
    },
    /// A request of a webhook to run an execution again.
    Rerun {
        /// Name of the key of the event.
        event: &'a str,
        /// The execution.
        execution: ExecutionId,
    },
    /// An event of a webhook that someone asks to process again.
    Redelivery {
        /// Name of the repository.
        repo: &'a str,
        /// The delivery.
        delivery: &'a str,
        /// What the caller names the request.
        request: &'a str,
        /// Index of the event in the body.
        event: usize,
    },
}

impl IdempotencyKey<'_> {
    /// Returns the key of another event of the same webhook.
    pub const fn of_event(mut self, at: usize) -> Self {
        if let Self::Webhook { event, .. } | Self::Redelivery { event, .. } = &mut self {
            *event = at;
        }
        self
    }

    /// Whether the key is valid forever; otherwise only while its execution is live.
    pub const fn is_permanent(&self) -> bool {
        !matches!(self, Self::Derived { .. })
    }

    /// Returns the name in the records, of fixed length and in an alphabet that every store supports.
    ///
    /// # Errors
    /// The key cannot be serialized.
    pub fn name(&self) -> Result<String> {
        let kind = match self {
            Self::Caller { .. } => "caller",
            Self::Derived { .. } => "derived",
            Self::Schedule { .. } => "schedule",
            Self::Discovered { .. } => "discovered",
            Self::Webhook { .. } => "webhook",
            Self::Sync { .. } => "sync",
            Self::EnvironmentStop { .. } => "environment-stop",
            Self::Child { .. } => "child",
            Self::After { .. } => "after",
            Self::Rerun { .. } => "rerun",
            Self::Redelivery { .. } => "redelivery",
        };
        let digest =
            json_digest(self).map_err(|error| Error::storage("deriving an idempotency key", error))?;
        Ok(format!("{kind}:{digest}"))
    }
}

/// An idempotency key from a caller, with the token of the caller.
#[derive(Clone, PartialEq, Eq)]
pub struct CallerKey {
    token: Arc<str>,
    key: String,
}

impl fmt::Debug for CallerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallerKey").field("token", &self.token).finish_non_exhaustive()
    }
}

impl CallerKey {
    /// Creates the key `key` of `caller`.
    pub fn new(caller: &Caller, key: impl Into<String>) -> Result<Self> {
        let key = key.into();
        if key.is_empty() || key.len() > MAX_KEY_LEN {
            return Err(Error::Invalid(format!(
                "an idempotency key has 1 to {MAX_KEY_LEN} bytes; this one has {}",
                key.len()
            )));
        }
        // The deployment's own tokens share an id, so the name distinguishes them.
        let token = if *caller.id == *Caller::BOOTSTRAP {
            format!("{} {}", caller.id, caller.name).into()
        } else {
            caller.id.clone()
        };
        Ok(Self { token, key })
    }

    /// Returns the key of a request for `repo`, and the identity of that request: what it asks for. Without a key from the caller, both
    /// are those of the new execution `id`, so that nothing else has them.
    pub(crate) fn of_request(
        key: Option<&Self>,
        repo: &str,
        request: &impl Serialize,
        id: ExecutionId,
    ) -> Result<(RecordedKey, String)> {
        let Some(key) = key else {
            let key = RecordedKey::of(&IdempotencyKey::Sync { id })?;
            let identity = key.name.clone();
            return Ok((key, identity));
        };
        let identity = json_digest(request)
            .map_err(|error| Error::storage("deriving the identity of a request", error))?;
        Ok((key.of_repository(repo)?, identity))
    }

    /// Returns the key for a request for `repo`.
    pub(crate) fn of_repository(&self, repo: &str) -> Result<RecordedKey> {
        RecordedKey::of(&IdempotencyKey::Caller {
            repo: &canonical_name(repo),
            token: &self.token,
            key: &self.key,
        })
    }
}

/// The form of an idempotency key in the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedKey {
    /// Name in the records.
    pub name: String,
    /// Whether the key stays valid after its execution has ended.
    pub is_permanent: bool,
}

impl RecordedKey {
    /// Converts a key for the records.
    pub(crate) fn of(key: &IdempotencyKey<'_>) -> Result<Self> {
        Ok(Self { name: key.name()?, is_permanent: key.is_permanent() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{CallerKey, IdempotencyKey, MAX_KEY_LEN, RecordedKey};
    use crate::{access::caller::Caller, error::Error};
    use std::collections::BTreeSet;
    use tidemill_core::{
        access::Scope,
        ids::{ExecutionId, JobId},
        time::Timestamp,
    };
    use uuid::Uuid;

    const REPO: &str = "https://git.example.org/team/app.git";

    fn caller(id: &str) -> Caller {
        Caller { id: id.into(), ..Caller::bootstrap(Scope::Run) }
    }

    #[test]
    fn caller_keys_never_collide_with_internal_keys() {
        let first = ExecutionId(Uuid::from_u128(7));
        let own: Vec<String> = [
            IdempotencyKey::Derived { request: "r" },
            IdempotencyKey::Schedule { name: "git.example.org/team/app\np/n.yml\n0", at: Timestamp(60_000) },
            IdempotencyKey::Discovered { first, path: "p/ci.yml" },
            IdempotencyKey::Webhook { repo: "r", body: "b", taken_at: Timestamp(1), epoch: 1, event: 0 },
            IdempotencyKey::Sync { id: first },
            IdempotencyKey::EnvironmentStop {
                repo: "r",
                name: "n",
                deployment: JobId::of(first, 0),
                number: 1,
            },
            IdempotencyKey::Child { job: JobId::of(first, 0) },
            IdempotencyKey::After { execution: first },
            IdempotencyKey::Rerun { event: "webhook:x", execution: first },
        ]
        .iter()
        .map(|key| key.name().unwrap())
        .collect();
        assert_eq!(own.iter().collect::<BTreeSet<_>>().len(), own.len());
        // The name and its parts, as text of a caller.
        let texts = own.iter().flat_map(|name| [name.clone(), format!("key:{name}"), name[9..].to_owned()]);
        for text in texts.chain(["{\"schedule\":{\"name\":\"n\",\"at\":60000}}".to_owned()]) {
            let key = CallerKey::new(&caller("t"), text.clone()).unwrap().of_repository(REPO).unwrap();
            assert!(!own.contains(&key.name), "{text}");
            assert!(key.name.starts_with("caller:") && key.is_permanent, "{key:?}");
        }
    }

    #[test]
    fn caller_keys_are_scoped_by_repository_and_token() {
        let name = |id: &str, repo: &str, key: &str| {
            CallerKey::new(&caller(id), key).unwrap().of_repository(repo).unwrap().name
        };
        let one = name("a", REPO, "k");
        assert_eq!(
            one,
            name("a", "git@git.example.org:team/app", "k"),
            "the spelling of the address does not matter"
        );
        for other in
            [name("b", REPO, "k"), name("a", "https://git.example.org/team/b", "k"), name("a", REPO, "l")]
        {
            assert_ne!(one, other);
        }
        // Adjacent parts do not run together.
        assert_ne!(name("a", "r", "xk"), name("ax", "r", "k"));
        let (admin, worker) = (Caller::bootstrap(Scope::Admin), Caller::bootstrap(Scope::Worker));
        let of = |caller| CallerKey::new(&caller, "k").unwrap().of_repository(REPO).unwrap();
        assert_ne!(of(admin), of(worker));
    }

    #[test]
    fn keys_have_fixed_length_and_caller_keys_are_bounded() {
        for text in ["", &"x".repeat(MAX_KEY_LEN + 1)] {
            assert!(matches!(CallerKey::new(&caller("t"), text), Err(Error::Invalid(_))));
        }
        let long = CallerKey::new(&caller("t"), "x".repeat(MAX_KEY_LEN)).unwrap();
        assert_eq!(long.of_repository(&"r/".repeat(500)).unwrap().name.len(), "caller:".len() + 64);
        let derived = RecordedKey::of(&IdempotencyKey::Derived { request: "r" }).unwrap();
        assert!(!derived.is_permanent);
    }
}
