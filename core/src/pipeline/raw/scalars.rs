//! Scalar values of a pipeline file, each read from its literal text.

use schemars::JsonSchema;

use super::field::FromScalar;
use crate::execution::failure::FailureKind;
use crate::pipeline::finding::{Fault, quoted};
use crate::pipeline::model::{
    ArtifactsWhen, CachePolicy, DeploymentTier, EnvironmentAction, MAX_JOB_GROUP_LIMIT, PullPolicy,
    RuleOutcome, When,
};
use crate::text::suggest;

/// A string, number or boolean, used as it is written.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Text(#[schemars(schema_with = "text_schema")] pub(crate) String);

/// `true` or `false`.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Flag(pub(crate) bool);

/// How many times to retry a failed job.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Retry(#[schemars(range(min = 0, max = 10))] pub(crate) u32);

/// How many times a job runs side by side.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct ParallelCount(#[schemars(range(min = 1, max = 256))] pub(crate) u32);

/// How many jobs of a concurrency group run at the same time.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct GroupLimit(#[schemars(range(min = 1, max = 256))] pub(crate) u32);

/// The number of a rule.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct RuleNumber(#[schemars(range(min = 0, max = 2000))] pub(crate) u32);

/// A kind of failure to retry after.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct RetryKind(#[schemars(schema_with = "retry_kind_schema")] pub(crate) FailureKind);

/// An exit code of a script.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct ExitCode(#[schemars(range(min = 1, max = 255))] pub(crate) i32);

/// After which outcomes of a job its files are stored.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct ArtifactsWhenValue(pub(crate) ArtifactsWhen);

/// What a job does with its environment.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct EnvironmentActionValue(pub(crate) EnvironmentAction);

/// What an environment is for.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct DeploymentTierValue(pub(crate) DeploymentTier);

/// When to pull an image.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct PullPolicyValue(pub(crate) PullPolicy);

/// When to run a job, given how its dependencies ended.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct RunWhenValue(pub(crate) When);

/// When to run a job if a rule matches.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct RuleThenValue(#[schemars(schema_with = "rule_run_schema")] pub(crate) RuleOutcome);

/// Whether to download a cache, upload it, or both.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct CachePolicyValue(pub(crate) CachePolicy);

/// Whose variables a child pipeline gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forward {
    Job,
    Run,
}

/// Whose variables a child pipeline gets.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct ForwardValue(#[schemars(schema_with = "forward_schema")] pub(crate) Forward);

/// A TCP port.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Port(#[schemars(range(min = 1))] pub(crate) u16);

/// The values of `when` of a job.
const WHEN_VALUES: [(&str, When); 4] = [
    ("on_success", When::OnSuccess),
    ("on_failure", When::OnFailure),
    ("always", When::Always),
    ("manual", When::Manual),
];

fn rule_run_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "enum": ["on_success", "on_failure", "always", "manual", "never"] })
}

/// Kinds of failure to retry after, by their names in reports.
const RETRY_KINDS: [(&str, FailureKind); 17] = [
    ("script_failed", FailureKind::ScriptFailed),
    ("timed_out", FailureKind::TimedOut),
    ("preparation_timed_out", FailureKind::PreparationTimedOut),
    ("out_of_memory", FailureKind::OutOfMemory),
    ("image_unavailable", FailureKind::ImageUnavailable),
    ("image_pull_failed", FailureKind::ImagePullFailed),
    ("source_unavailable", FailureKind::SourceUnavailable),
    ("artifact_failed", FailureKind::ArtifactFailed),
    ("service_failed", FailureKind::ServiceFailed),
    ("engine_failed", FailureKind::EngineFailed),
    ("disk_full", FailureKind::DiskFull),
    ("worker_failed", FailureKind::WorkerFailed),
    ("log_limit", FailureKind::LogLimit),
    ("artifact_limit", FailureKind::ArtifactLimit),
    ("workspace_limit", FailureKind::WorkspaceLimit),
    ("worker_lost", FailureKind::WorkerLost),
    ("internal", FailureKind::Internal),
];

fn retry_kind_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "enum": RETRY_KINDS.map(|(name, _)| name) })
}

fn forward_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "enum": ["job", "run"] })
}

fn text_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": ["string", "number", "boolean"] })
}

impl FromScalar for Text {
    const EXPECTED: &'static str = "text";
    fn from_text(text: &str) -> Result<Self, Fault> {
        if text.contains('\0') {
            return Err(Fault::new("bad-text", "holds a NUL character, which no shell can take"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromScalar for Flag {
    const EXPECTED: &'static str = "`true` or `false`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let wrong = || Fault::new("wrong-type", format!("takes {}, not {}", Self::EXPECTED, quoted(text)));
        match text {
            "true" | "True" | "TRUE" => Ok(Self(true)),
            "false" | "False" | "FALSE" => Ok(Self(false)),
            _ if matches!(text.to_ascii_lowercase().as_str(), "yes" | "on" | "y") => {
                Err(wrong().help("write `true`"))
            }
            _ if matches!(text.to_ascii_lowercase().as_str(), "no" | "off" | "n") => {
                Err(wrong().help("write `false`"))
            }
            _ => Err(wrong()),
        }
    }
}

impl FromScalar for Retry {
    const EXPECTED: &'static str = "a number from 0 to 10";
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.parse::<i128>() {
            Ok(count @ 0..=10) => Ok(Self(u32::try_from(count).unwrap_or(0))),
            Ok(_) => Err(Fault::new("out-of-range", format!("must be from 0 to 10, not {}", quoted(text)))
                .help("this is the number of attempts after the first one")),
            Err(_) => {
                Err(Fault::new("wrong-type", format!("takes {}, not {}", Self::EXPECTED, quoted(text))))
            }
        }
    }
}

impl FromScalar for ParallelCount {
    const EXPECTED: &'static str = "a number from 1 to 256";
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.parse::<u32>() {
            Ok(count @ 1..=256) => Ok(Self(count)),
            _ => Err(Fault::new("wrong-type", format!("takes {}, not {}", Self::EXPECTED, quoted(text)))
                .help("a mapping of variables to values is a `matrix`")),
        }
    }
}

impl FromScalar for GroupLimit {
    const EXPECTED: &'static str = "a number from 1 to 256";
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.parse::<u32>() {
            Ok(limit @ 1..=MAX_JOB_GROUP_LIMIT) => Ok(Self(limit)),
            _ => Err(Fault::new("wrong-type", format!("takes {}, not {}", Self::EXPECTED, quoted(text)))),
        }
    }
}

impl FromScalar for RuleNumber {
    const EXPECTED: &'static str = "a number from 0 to 2000";
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.parse::<u32>() {
            Ok(number @ 0..=2000) => Ok(Self(number)),
            _ => Err(Fault::new("wrong-type", format!("takes {}, not {}", Self::EXPECTED, quoted(text)))),
        }
    }
}

impl FromScalar for RetryKind {
    const EXPECTED: &'static str = "a kind of failure, such as `script_failed` or `timed_out`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        choose(text, Self::EXPECTED, &RETRY_KINDS).map(Self).map_err(|fault| {
            let names = RETRY_KINDS.map(|(name, _)| name);
            if fault.help.is_some() { fault } else { fault.help(format!("one of {}", names.join(", "))) }
        })
    }
}

impl FromScalar for ExitCode {
    const EXPECTED: &'static str = "an exit code from 1 to 255";
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.parse::<i32>() {
            Ok(code @ 1..=255) => Ok(Self(code)),
            Ok(_) => Err(Fault::new("out-of-range", format!("must be from 1 to 255, not {}", quoted(text)))
                .help("a script that ends with 0 has not failed")),
            Err(_) => {
                Err(Fault::new("wrong-type", format!("takes {}, not {}", Self::EXPECTED, quoted(text))))
            }
        }
    }
}

impl FromScalar for ArtifactsWhenValue {
    const EXPECTED: &'static str = "`on_success`, `on_failure` or `always`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        choose(
            text,
            Self::EXPECTED,
            &[
                ("on_success", ArtifactsWhen::OnSuccess),
                ("on_failure", ArtifactsWhen::OnFailure),
                ("always", ArtifactsWhen::Always),
            ],
        )
        .map(Self)
    }
}

impl FromScalar for PullPolicyValue {
    const EXPECTED: &'static str = "`if-not-present`, `always`, `always-or-present` or `never`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        choose(
            text,
            Self::EXPECTED,
            &[
                ("if-not-present", PullPolicy::IfNotPresent),
                ("always", PullPolicy::Always),
                ("always-or-present", PullPolicy::AlwaysOrPresent),
                ("never", PullPolicy::Never),
            ],
        )
        .map(Self)
    }
}

impl FromScalar for RunWhenValue {
    const EXPECTED: &'static str = "`on_success`, `on_failure`, `always` or `manual`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        choose(text, Self::EXPECTED, &WHEN_VALUES).map(Self).map_err(|fault| match text {
            "never" => fault
                .help("`never` is for rules; to take a job out, put it in a comment or make it a template"),
            "delayed" => fault.help("remove it: `start_in` alone makes a job wait, such as `start_in: 30m`"),
            _ => fault,
        })
    }
}

impl FromScalar for RuleThenValue {
    const EXPECTED: &'static str = "`on_success`, `on_failure`, `always`, `manual` or `never`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let runs = WHEN_VALUES.map(|(name, when)| (name, RuleOutcome::When(when)));
        let choices = [runs.as_slice(), &[("never", RuleOutcome::Never)]].concat();
        choose(text, Self::EXPECTED, &choices).map(Self)
    }
}

impl FromScalar for CachePolicyValue {
    const EXPECTED: &'static str = "`pull-push`, `pull` or `push`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        choose(text, Self::EXPECTED, &CachePolicy::ALL).map(Self)
    }
}

impl FromScalar for EnvironmentActionValue {
    const EXPECTED: &'static str = "`start`, `stop`, `prepare`, `verify` or `access`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        choose(text, Self::EXPECTED, &EnvironmentAction::ALL).map(Self)
    }
}

impl FromScalar for DeploymentTierValue {
    const EXPECTED: &'static str = "`production`, `staging`, `testing`, `development` or `other`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        choose(text, Self::EXPECTED, &DeploymentTier::ALL).map(Self)
    }
}

impl FromScalar for ForwardValue {
    const EXPECTED: &'static str = "`job` or `run`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        choose(text, Self::EXPECTED, &[("job", Forward::Job), ("run", Forward::Run)]).map(Self)
    }
}

impl FromScalar for Port {
    const EXPECTED: &'static str = "a port from 1 to 65535";
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.parse::<u16>() {
            Ok(port @ 1..) => Ok(Self(port)),
            _ => Err(Fault::new("wrong-type", format!("takes {}, not {}", Self::EXPECTED, quoted(text)))),
        }
    }
}

/// Returns the choice whose name is `text`.
pub(super) fn choose<T: Copy>(text: &str, expected: &str, choices: &[(&str, T)]) -> Result<T, Fault> {
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let fault = Fault::new("unknown-value", format!("takes {expected}, not {}", quoted(text)));
    Err(match suggest::nearest(text, choices.iter().map(|(name, _)| *name)) {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None => fault,
    })
}
