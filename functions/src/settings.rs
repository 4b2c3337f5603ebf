//! Settings: each comes from one environment variable, which the template sets.

use serde::Deserialize;
use std::{collections::BTreeMap, env, str::FromStr};
use tidemill_aws::ResourceNames;
use tidemill_core::access::provider::ProviderKind;
use tidemill_core::pipeline::labels::{self, Labels};
use tidemill_core::repository::AddressPolicy;
use tidemill_services::{ProviderOptions, ProviderSettings};

/// The table's name.
pub const TABLE: &str = "TIDEMILL_TABLE";
/// The job queue's URL.
pub const QUEUE_URL: &str = "TIDEMILL_QUEUE_URL";
/// URLs of the queues for jobs that require labels of their worker, as a JSON object by labels:
/// `{"arch=arm64,gpu=true": "https://..."}`; absent: none.
pub const LABELLED_QUEUES: &str = "TIDEMILL_LABELLED_QUEUES";
/// The dead-letter queue's URL; absent: the function does not read it.
pub const DEAD_LETTER_QUEUE_URL: &str = "TIDEMILL_DEAD_LETTER_QUEUE_URL";
/// The name of the Parameter Store's parameter that holds the key of secrets.
pub const KEY_PARAMETER: &str = "TIDEMILL_KEY_PARAMETER";
/// The bucket's name.
pub const BUCKET: &str = "TIDEMILL_BUCKET";
/// Milliseconds that a lease lasts without a report; default 60,000.
pub const LEASE_TTL_MS: &str = "TIDEMILL_LEASE_TTL_MS";
/// Days after which records are removed by the table; absent or 0: never.
pub const RECORD_DAYS: &str = "TIDEMILL_RECORD_DAYS";
/// SHA-256, hex, of users' tokens, separated by commas.
pub const ADMIN_TOKEN_SHA256: &str = "TIDEMILL_ADMIN_TOKEN_SHA256";
/// SHA-256, hex, of workers' tokens, separated by commas.
pub const WORKER_TOKEN_SHA256: &str = "TIDEMILL_WORKER_TOKEN_SHA256";
/// Requests per second of one user's token, per container; default 50, 0: unlimited.
pub const RATE_LIMIT: &str = "TIDEMILL_RATE_LIMIT";
/// Public URL of the deployment, for links in commit statuses and notifications; absent or empty: no links.
pub const PUBLIC_URL: &str = "TIDEMILL_PUBLIC_URL";
/// The provider with which people sign in: `oidc`, `github`, `gitlab` or `gitea`; absent or empty: none.
pub const SIGN_IN_PROVIDER: &str = "TIDEMILL_SIGN_IN_PROVIDER";
/// Issuer of an OpenID provider, or address of a git provider.
pub const SIGN_IN_URL: &str = "TIDEMILL_SIGN_IN_URL";
/// Id of the deployment at the provider.
pub const SIGN_IN_CLIENT_ID: &str = "TIDEMILL_SIGN_IN_CLIENT_ID";
/// Secret of the deployment at the provider; absent or empty for a public client of an OpenID provider.
pub const SIGN_IN_CLIENT_SECRET: &str = "TIDEMILL_SIGN_IN_CLIENT_SECRET";
/// Claim in which an OpenID provider lists groups; default `groups`.
pub const SIGN_IN_GROUPS_CLAIM: &str = "TIDEMILL_SIGN_IN_GROUPS_CLAIM";
/// `true`: repositories over http may be fetched; default no.
pub const ALLOW_HTTP: &str = "TIDEMILL_ALLOW_HTTP";
/// Hosts of repositories that may have private addresses, `HOST` or `HOST:PORT`, separated by commas.
pub const ALLOW_HOSTS: &str = "TIDEMILL_ALLOW_HOSTS";
/// The Auto Scaling groups of the workers, as a JSON list: `[{"labels": "gpu=true", "group": "tidemill-workers-a", "fallback":
/// "tidemill-workers-a-on-demand", "slots": 2, "min": 0, "max": 10}]`. Absent: the function starts none.
pub const POOLS: &str = "TIDEMILL_POOLS";
/// `true`: each request writes a line of metrics; default no.
pub const REQUEST_METRICS: &str = "TIDEMILL_REQUEST_METRICS";
/// Mail server of notifications; absent: no e-mails are sent.
pub const SMTP_URL: &str = "TIDEMILL_SMTP_URL";
/// Password of its user.
pub const SMTP_PASSWORD: &str = "TIDEMILL_SMTP_PASSWORD";
/// Address that e-mails come from.
pub const MAIL_FROM: &str = "TIDEMILL_MAIL_FROM";
/// Filter of the log, as `tracing` reads it; default `info`.
pub const LOG: &str = "TIDEMILL_LOG";

/// A pool of machines for workers, as the template describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSettings {
    /// The labels of the queue whose jobs the workers run; empty: the queue of jobs that require none.
    pub labels: String,
    /// The Auto Scaling group.
    pub group: String,
    /// The Auto Scaling group of instances that are requested on demand when there are no spot instances.
    pub fallback: Option<String>,
    /// Concurrent jobs per worker.
    pub slots: u32,
    /// Minimum number of workers.
    pub min: u32,
    /// Maximum number of workers.
    pub max: u32,
}

/// Returns the pools of machines for workers.
pub fn pools() -> Result<Vec<PoolSettings>, SettingsError> {
    let value = env::var(POOLS).unwrap_or_default();
    if value.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(&value)
        .map_err(|error| SettingsError { name: POOLS, what: format!("not a JSON list of pools: {error}") })
}

impl PoolSettings {
    /// Returns the labels.
    pub fn labels(&self) -> Result<Labels, SettingsError> {
        labels::parse(&self.labels).map_err(|error| SettingsError { name: POOLS, what: error.to_string() })
    }
}

/// A setting is missing or invalid: the template and the functions are of different versions, or were changed.
#[derive(Debug, thiserror::Error)]
#[error("the function's environment variable {name} is {what}; deploy the template again")]
pub struct SettingsError {
    name: &'static str,
    what: String,
}

/// The settings of every function.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names of the deployment's resources.
    pub names: ResourceNames,
    /// Milliseconds that a lease lasts.
    pub lease_ttl_ms: u64,
    /// Hosts of repositories that may be fetched in addition to public ones.
    pub addresses: AddressPolicy,
}

impl Settings {
    /// Reads the settings from the environment.
    pub fn from_environment() -> Result<Self, SettingsError> {
        let keep_days = number_or(RECORD_DAYS, 0_u32)?;
        Ok(Self {
            names: ResourceNames {
                table: text(TABLE)?,
                queue_url: text(QUEUE_URL)?,
                labelled_queues: queues(LABELLED_QUEUES)?,
                key_parameter: variable(KEY_PARAMETER),
                bucket: text(BUCKET)?,
                keep_days: (keep_days > 0).then_some(keep_days),
            },
            lease_ttl_ms: number_or(LEASE_TTL_MS, 60_000)?,
            addresses: addresses()?,
        })
    }
}

/// Returns the provider with which people sign in, if there is one.
pub fn sign_in() -> Result<Option<ProviderSettings>, SettingsError> {
    let Some(provider) = variable(SIGN_IN_PROVIDER) else { return Ok(None) };
    let invalid = |what: String| SettingsError { name: SIGN_IN_PROVIDER, what };
    let kind = ProviderKind::parse(&provider)
        .ok_or_else(|| invalid(format!("`{provider}`, which is none of oidc, github, gitlab and gitea")))?;
    let options = ProviderOptions {
        url: variable(SIGN_IN_URL),
        client_id: variable(SIGN_IN_CLIENT_ID),
        client_secret: variable(SIGN_IN_CLIENT_SECRET),
        groups_claim: variable(SIGN_IN_GROUPS_CLAIM),
    };
    ProviderSettings::new(kind, options).map(Some).map_err(|error| invalid(format!("not usable: {error}")))
}

fn addresses() -> Result<AddressPolicy, SettingsError> {
    let host = |text: String| {
        text.parse().map_err(|error| SettingsError { name: ALLOW_HOSTS, what: format!("`{text}`: {error}") })
    };
    Ok(AddressPolicy {
        allow_http: number_or(ALLOW_HTTP, false)?,
        hosts: list(ALLOW_HOSTS).into_iter().map(host).collect::<Result<_, _>>()?,
        any_host: false,
    })
}

fn queues(name: &'static str) -> Result<BTreeMap<Labels, String>, SettingsError> {
    let value = env::var(name).unwrap_or_default();
    if value.is_empty() {
        return Ok(BTreeMap::new());
    }
    let invalid = |what: String| SettingsError { name, what };
    let by_labels: BTreeMap<String, String> = serde_json::from_str(&value)
        .map_err(|error| invalid(format!("not a JSON object of URLs: {error}")))?;
    by_labels
        .into_iter()
        .map(|(labels, url)| Ok((labels::parse(&labels).map_err(|error| invalid(error.to_string()))?, url)))
        .collect()
}

/// Returns the value of a variable that is set and not empty.
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// A required variable.
pub fn text(name: &'static str) -> Result<String, SettingsError> {
    variable(name).ok_or_else(|| SettingsError { name, what: "not set".to_owned() })
}

/// A required variable that must be a number.
pub fn number<T: FromStr>(name: &'static str) -> Result<T, SettingsError> {
    let value = text(name)?;
    value.parse().map_err(|_| SettingsError { name, what: format!("`{value}`, which is not a number") })
}

/// An optional variable that must be a number.
pub fn number_or<T: FromStr>(name: &'static str, default: T) -> Result<T, SettingsError> {
    if env::var_os(name).is_none_or(|value| value.is_empty()) { Ok(default) } else { number(name) }
}

/// The comma-separated parts of an optional variable.
#[must_use]
pub fn list(name: &'static str) -> Vec<String> {
    let value = env::var(name).unwrap_or_default();
    value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}
