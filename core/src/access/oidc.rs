//! ID tokens (OpenID Connect): signed statements about a job, with which it logs in to clouds and vaults without a stored secret.
//!
//! This module says what a token claims, for how long it is valid, and which signing keys there are at a time. The server signs.

use crate::condition::event;
use crate::execution::facts::Facts;
use crate::ids::{ExecutionId, JobId};
use crate::repository::canonical_name;
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The path of the issuer below the public address of the server. Verifiers derive the address of the configuration from it.
pub const ISSUER_PATH: &str = "/api/oidc";

/// The algorithm of all signatures: ECDSA with the curve P-256 and SHA-256.
pub const ALGORITHM: &str = "ES256";

/// The event of an execution that a user started.
const MANUAL: &str = "manual";

/// How long before its issue a token is valid, in seconds: clocks of verifiers may be late.
const CLOCK_SKEW_S: i64 = 5;
/// How long a token is valid beyond the time limit of the job, in seconds: for what a job does before and after its script.
const MARGIN_S: u64 = 300;
/// Maximum validity of a token in seconds, however long the job may run.
const MAX_VALIDITY_S: u64 = 24 * 3_600;

/// How long one key signs, in milliseconds: 90 days.
const PERIOD_MS: i64 = 90 * 86_400_000;
/// How long before it signs a key is published, and how long after it is published still, in milliseconds.
const OVERLAP_MS: i64 = 2 * 86_400_000;

/// The keys at a point in time. Each key belongs to one period of the calendar, so that all processes agree on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPeriods {
    /// The period whose key signs.
    pub current: i64,
    /// The first period whose key is published.
    pub first: i64,
    /// The last period whose key is published.
    pub last: i64,
}

impl KeyPeriods {
    /// Returns those at `now`.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self {
            current: now.0.div_euclid(PERIOD_MS),
            first: now.0.saturating_sub(OVERLAP_MS).div_euclid(PERIOD_MS),
            last: now.0.saturating_add(OVERLAP_MS).div_euclid(PERIOD_MS),
        }
    }

    /// Returns from when on no verifier needs the key of a period.
    #[must_use]
    pub const fn obsolete_at(period: i64) -> Timestamp {
        Timestamp(period.saturating_add(1).saturating_mul(PERIOD_MS).saturating_add(OVERLAP_MS))
    }
}

/// The audience of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Audience {
    /// One verifier.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl From<Vec<String>> for Audience {
    fn from(mut all: Vec<String>) -> Self {
        match (all.pop(), all.is_empty()) {
            (Some(only), true) => Self::One(only),
            (last, _) => {
                all.extend(last);
                Self::Many(all)
            }
        }
    }
}

/// The job that a token is about.
#[derive(Debug, Clone, Copy)]
pub struct TokenSubject<'a> {
    /// The address of its repository.
    pub repo: &'a str,
    /// The facts of its execution.
    pub facts: &'a Facts,
    /// The name of its pipeline.
    pub pipeline: &'a str,
    /// Its execution.
    pub execution: ExecutionId,
    /// The job.
    pub job: JobId,
    /// Its name, including matrix values.
    pub name: &'a str,
    /// The environment that it deploys to.
    pub environment: Option<&'a str>,
    /// Time limit of its script, in seconds.
    pub timeout_s: u64,
}

/// What a token claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// The server.
    pub iss: String,
    /// The repository, the event and the ref: `repo:NAME:event:EVENT:ref_type:TYPE:ref:REF`. The ref is last, as a user may choose it.
    pub sub: String,
    /// For whom the token is.
    pub aud: Audience,
    /// When it was issued, in seconds since the Unix epoch.
    pub iat: i64,
    /// From when on it is valid.
    pub nbf: i64,
    /// Until when it is valid.
    pub exp: i64,
    /// Its id.
    pub jti: String,
    /// The name of the repository, as in `tidemill repo list`.
    pub repository: String,
    /// The branch or the tag; empty if the execution has none.
    #[serde(rename = "ref")]
    pub git_ref: String,
    /// `branch` or `tag`.
    pub ref_type: &'static str,
    /// `true` for the default branch. A text, as verifiers compare texts.
    pub ref_protected: &'static str,
    /// The commit.
    pub sha: String,
    /// What started the execution, as `event` in conditions; `manual` if a user assumed another event.
    pub event: &'static str,
    /// The name of the pipeline.
    pub pipeline: String,
    /// The execution.
    pub execution_id: String,
    /// The job.
    pub job_id: String,
    /// The name of the job.
    pub job_name: String,
    /// The environment that the job deploys to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
}

impl Claims {
    /// Returns the claims of a token with the id `jti` that `issuer` issues at `now`.
    #[must_use]
    pub fn new(issuer: &str, of: TokenSubject<'_>, aud: Vec<String>, jti: String, now: Timestamp) -> Self {
        let facts = of.facts;
        let repository = canonical_name(of.repo);
        let (ref_type, git_ref) = match (&facts.tag, &facts.branch) {
            (Some(tag), _) => ("tag", tag.clone()),
            (None, branch) => ("branch", branch.clone().unwrap_or_default()),
        };
        // What a user assumed did not happen, and what a request says is not known to have happened.
        let event = if facts.is_assumed || facts.is_claimed { MANUAL } else { event(facts) };
        let iat = now.0.div_euclid(1_000);
        let validity_s = of.timeout_s.saturating_add(MARGIN_S).min(MAX_VALIDITY_S);
        Self {
            iss: issuer.to_owned(),
            sub: format!("repo:{repository}:event:{event}:ref_type:{ref_type}:ref:{git_ref}"),
            aud: aud.into(),
            iat,
            nbf: iat.saturating_sub(CLOCK_SKEW_S),
            exp: iat.saturating_add_unsigned(validity_s),
            jti,
            repository,
            git_ref,
            ref_type,
            ref_protected: if facts.is_protected() { "true" } else { "false" },
            sha: facts.commit.clone().unwrap_or_default(),
            event,
            pipeline: of.pipeline.to_owned(),
            execution_id: of.execution.to_string(),
            job_id: of.job.to_string(),
            job_name: of.name.to_owned(),
            environment: of.environment.map(str::to_owned),
        }
    }
}

/// A public key, as in RFC 7517.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublicKey {
    /// The id of the key, which tokens name.
    pub kid: String,
    /// `EC`.
    pub kty: String,
    /// `P-256`.
    pub crv: String,
    /// [`ALGORITHM`].
    pub alg: String,
    /// `sig`.
    #[serde(rename = "use")]
    pub purpose: String,
    /// The first coordinate of the point, in base64url.
    pub x: String,
    /// The second coordinate.
    pub y: String,
}

impl PublicKey {
    /// Creates the key with this point.
    #[must_use]
    pub fn new(kid: String, x: String, y: String) -> Self {
        let [kty, crv, alg, purpose] = ["EC", "P-256", ALGORITHM, "sig"].map(str::to_owned);
        Self { kid, kty, crv, alg, purpose, x, y }
    }
}

/// The keys that verify ID tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublicKeySet {
    /// The keys of tokens that may be valid, and those that will sign soon.
    pub keys: Vec<PublicKey>,
}

/// How verifiers check ID tokens, as in OpenID Connect Discovery 1.0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenIdConfiguration {
    /// The issuer, which is in each token.
    pub issuer: String,
    /// The address of the [`PublicKeySet`].
    pub jwks_uri: String,
    /// `id_token`.
    pub response_types_supported: Vec<String>,
    /// `public`.
    pub subject_types_supported: Vec<String>,
    /// [`ALGORITHM`].
    pub id_token_signing_alg_values_supported: Vec<String>,
    /// `openid`.
    pub scopes_supported: Vec<String>,
    /// The claims of a token.
    pub claims_supported: Vec<String>,
}

impl OpenIdConfiguration {
    /// Returns the configuration of `issuer`, whose keys are at `jwks_uri`.
    #[must_use]
    pub fn new(issuer: &str, jwks_uri: String) -> Self {
        let only = |text: &str| vec![text.to_owned()];
        let claims = "sub aud exp nbf iat iss jti repository ref ref_type ref_protected sha event pipeline execution_id job_id \
                      job_name environment";
        Self {
            issuer: issuer.to_owned(),
            jwks_uri,
            response_types_supported: only("id_token"),
            subject_types_supported: only("public"),
            id_token_signing_alg_values_supported: only(ALGORITHM),
            scopes_supported: only("openid"),
            claims_supported: claims.split_whitespace().map(str::to_owned).collect(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Audience, Claims, KeyPeriods, OpenIdConfiguration, PERIOD_MS, TokenSubject};
    use crate::execution::facts::{Facts, PullRequest, Trigger};
    use crate::ids::{ExecutionId, JobId};
    use crate::time::Timestamp;
    use uuid::Uuid;

    fn claims(facts: &Facts, timeout_s: u64) -> Claims {
        let of = TokenSubject {
            repo: "https://git.example.org/team/app.git",
            facts,
            pipeline: "ci",
            execution: ExecutionId(Uuid::from_u128(1)),
            job: JobId(Uuid::from_u128(2)),
            name: "deploy",
            environment: Some("production"),
            timeout_s,
        };
        Claims::new("https://ci.example.org/api/oidc", of, vec!["a".into()], "id".into(), Timestamp(1_999))
    }

    #[test]
    fn claims_are_those_of_the_job() {
        let main = Some("main".to_owned());
        let facts = Facts {
            trigger: Trigger::Push,
            branch: main.clone(),
            default_branch: main,
            commit: Some("0123".into()),
            ..Facts::default()
        };
        let pushed = claims(&facts, 60);
        assert_eq!(pushed.sub, "repo:git.example.org/team/app:event:push:ref_type:branch:ref:main");
        assert_eq!((pushed.ref_protected, pushed.sha.as_str(), pushed.event), ("true", "0123", "push"));
        assert_eq!((pushed.iat, pushed.nbf, pushed.exp), (1, -4, 361));
        assert_eq!(claims(&facts, u64::MAX).exp, 1 + 24 * 3_600);
        for unverified in
            [Facts { is_assumed: true, ..facts.clone() }, Facts { is_claimed: true, ..facts.clone() }]
        {
            let claims = claims(&unverified, 60);
            assert_eq!((claims.event, claims.sub.contains(":event:manual:")), ("manual", true));
        }
        let tagged = claims(&Facts { tag: Some("v1".into()), ..facts.clone() }, 60);
        assert_eq!(tagged.sub, "repo:git.example.org/team/app:event:tag:ref_type:tag:ref:v1");
        assert_eq!(tagged.ref_protected, "false");
        let request = Facts {
            trigger: Trigger::PullRequest,
            pull_request: Some(PullRequest { number: 3, ..PullRequest::default() }),
            ..facts
        };
        let requested = claims(&request, 60);
        assert!(requested.sub.contains(":event:pull_request:") && requested.ref_protected == "false");
    }

    #[test]
    fn configuration_names_each_claim() {
        let json = serde_json::to_value(claims(&Facts::default(), 60)).unwrap();
        let mut names: Vec<String> = json.as_object().unwrap().keys().cloned().collect();
        let mut supported = OpenIdConfiguration::new("https://a", "https://a/jwks".into()).claims_supported;
        names.sort();
        supported.sort();
        assert_eq!(names, supported);
        assert_eq!(json["aud"], "a");
        let many = Audience::from(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(serde_json::to_value(many).unwrap(), serde_json::json!(["a", "b"]));
    }

    #[test]
    fn next_key_is_published_before_it_signs_and_last_key_after_it_signed() {
        let start = 7 * PERIOD_MS;
        let hour = 3_600_000;
        let at = |ms: i64| {
            let KeyPeriods { current, first, last } = KeyPeriods::at(Timestamp(ms));
            (first, current, last)
        };
        assert_eq!(at(start + PERIOD_MS / 2), (7, 7, 7));
        assert_eq!(at(start - hour), (6, 6, 7));
        assert_eq!(at(start + 25 * hour), (6, 7, 7));
        assert_eq!(at(start + 49 * hour), (7, 7, 7));
        assert_eq!(KeyPeriods::obsolete_at(6), Timestamp(start + 48 * hour));
    }
}
