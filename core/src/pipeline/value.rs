//! Single values of a pipeline file, each read from its literal text.

use schemars::JsonSchema;

use super::field::{Scalar, readable_scalar};
use super::finding::{Fault, quoted};
use super::job_parts::CachePolicy;
use super::model::{ArtifactsWhen, PullPolicy};
use super::rules::{RuleThen, RunWhen};
use super::suggest;
use crate::failure::FailureKind;

/// Text, a number or a truth value, taken as it is written.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(inline)]
pub(super) struct Text(#[schemars(schema_with = "text_schema")] pub(super) String);

/// `true` or `false`.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct Flag(pub(super) bool);

/// How many more times a failed job is tried.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct Retry(#[schemars(range(min = 0, max = 10))] pub(super) u32);

/// A kind of failure that a job is tried again after.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct RetryKind(#[schemars(schema_with = "retry_kind_schema")] pub(super) FailureKind);

/// An exit code of a script.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct ExitCode(#[schemars(range(min = 1, max = 255))] pub(super) i32);

/// A time span such as `20m`, `1h 30m` or `7 days`; a bare number is seconds.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct Span(#[schemars(schema_with = "number_or_text_schema")] pub(super) u64);

/// An amount of memory such as `512m` or `2GiB`; a bare number is bytes.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct Bytes(#[schemars(schema_with = "number_or_text_schema")] pub(super) u64);

/// A number of processors such as `2` or `0.5`.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct Cpus(#[schemars(range(min = 0.01, max = 1024.0))] pub(super) f64);

readable_scalar!(
    Text, Flag, Retry, RetryKind, ExitCode, Span, Bytes, Cpus, WhenKept, Pull, Run, RuleRun, Policy, Port
);

/// When artifacts are kept.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct WhenKept(pub(super) ArtifactsWhen);

/// When the image is pulled.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct Pull(pub(super) PullPolicy);

/// On what end of what it waits for a job runs.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct Run(pub(super) RunWhen);

/// How a job takes part when a rule holds.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct RuleRun(#[schemars(schema_with = "rule_run_schema")] pub(super) RuleThen);

/// What a job does with a cache.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct Policy(pub(super) CachePolicy);

/// A TCP port.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct Port(#[schemars(range(min = 1))] pub(super) u16);

/// The ends that a job may run on, as they are written.
const RUNS: [(&str, RunWhen); 4] = [
    ("on_success", RunWhen::OnSuccess),
    ("on_failure", RunWhen::OnFailure),
    ("always", RunWhen::Always),
    ("manual", RunWhen::Manual),
];

fn rule_run_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "enum": ["on_success", "on_failure", "always", "manual", "never"] })
}

/// The failures that a job may be tried again after, as they are written; the words are those of reports.
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
    schemars::json_schema!({ "type": "string", "enum": RETRY_KINDS.map(|(word, _)| word) })
}

fn text_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": ["string", "number", "boolean"] })
}

fn number_or_text_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": ["string", "integer"] })
}

impl Scalar for Text {
    const EXPECTED: &'static str = "text";
    fn from_text(text: &str) -> Result<Self, Fault> {
        if text.contains('\0') {
            return Err(Fault::new("bad-text", "holds a NUL character, which no shell can take"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Scalar for Flag {
    const EXPECTED: &'static str = "`true` or `false`";
    const OF_BOOL: bool = true;
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

impl Scalar for Retry {
    const EXPECTED: &'static str = "a number from 0 to 10";
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.parse::<i128>() {
            Ok(count @ 0..=10) => Ok(Self(u32::try_from(count).unwrap_or(0))),
            Ok(_) => Err(Fault::new("out-of-range", format!("must be from 0 to 10, not {}", quoted(text)))
                .help("these are tries after the first one")),
            Err(_) => {
                Err(Fault::new("wrong-type", format!("takes {}, not {}", Self::EXPECTED, quoted(text))))
            }
        }
    }
}

impl Scalar for RetryKind {
    const EXPECTED: &'static str = "a kind of failure, such as `script_failed` or `timed_out`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        if let Some((_, kind)) = RETRY_KINDS.iter().find(|(word, _)| *word == text) {
            return Ok(Self(*kind));
        }
        let words = RETRY_KINDS.map(|(word, _)| word);
        let fault = one_of(text, Self::EXPECTED, &words);
        Err(if fault.help.is_some() { fault } else { fault.help(format!("one of {}", words.join(", "))) })
    }
}

impl Scalar for ExitCode {
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

impl Scalar for Cpus {
    const EXPECTED: &'static str = "a number of processors, such as `2` or `0.5`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.parse::<f64>() {
            Ok(cpus) if (0.01..=1024.0).contains(&cpus) => Ok(Self(cpus)),
            Ok(_) => {
                Err(Fault::new("out-of-range", format!("must be from 0.01 to 1024, not {}", quoted(text))))
            }
            Err(_) => {
                Err(Fault::new("wrong-type", format!("takes {}, not {}", Self::EXPECTED, quoted(text))))
            }
        }
    }
}

impl Scalar for WhenKept {
    const EXPECTED: &'static str = "`on_success`, `on_failure` or `always`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "on_success" => Ok(Self(ArtifactsWhen::OnSuccess)),
            "on_failure" => Ok(Self(ArtifactsWhen::OnFailure)),
            "always" => Ok(Self(ArtifactsWhen::Always)),
            _ => Err(one_of(text, Self::EXPECTED, &["on_success", "on_failure", "always"])),
        }
    }
}

impl Scalar for Pull {
    const EXPECTED: &'static str = "`if-not-present`, `always` or `never`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "if-not-present" => Ok(Self(PullPolicy::IfNotPresent)),
            "always" => Ok(Self(PullPolicy::Always)),
            "never" => Ok(Self(PullPolicy::Never)),
            _ => Err(one_of(text, Self::EXPECTED, &["if-not-present", "always", "never"])),
        }
    }
}

impl Scalar for Run {
    const EXPECTED: &'static str = "`on_success`, `on_failure`, `always` or `manual`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        if let Some((_, when)) = RUNS.iter().find(|(word, _)| *word == text) {
            return Ok(Self(*when));
        }
        let fault = one_of(text, Self::EXPECTED, &RUNS.map(|(word, _)| word));
        Err(match text {
            "never" => fault
                .help("`never` is for rules; to take a job out, put it in a comment or make it a template"),
            "delayed" => fault.help("a job cannot be delayed; use `manual`, or wait in its script"),
            _ => fault,
        })
    }
}

impl Scalar for RuleRun {
    const EXPECTED: &'static str = "`on_success`, `on_failure`, `always`, `manual` or `never`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        if text == "never" {
            return Ok(Self(RuleThen::Never));
        }
        match RUNS.iter().find(|(word, _)| *word == text) {
            Some((_, when)) => Ok(Self(RuleThen::When(*when))),
            None => {
                Err(one_of(text, Self::EXPECTED, &["on_success", "on_failure", "always", "manual", "never"]))
            }
        }
    }
}

impl Scalar for Policy {
    const EXPECTED: &'static str = "`pull-push`, `pull` or `push`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "pull-push" => Ok(Self(CachePolicy::PullPush)),
            "pull" => Ok(Self(CachePolicy::Pull)),
            "push" => Ok(Self(CachePolicy::Push)),
            _ => Err(one_of(text, Self::EXPECTED, &["pull-push", "pull", "push"])),
        }
    }
}

impl Scalar for Port {
    const EXPECTED: &'static str = "a port from 1 to 65535";
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.parse::<u16>() {
            Ok(port @ 1..) => Ok(Self(port)),
            _ => Err(Fault::new("wrong-type", format!("takes {}, not {}", Self::EXPECTED, quoted(text)))),
        }
    }
}

fn one_of(text: &str, expected: &str, choices: &[&str]) -> Fault {
    let fault = Fault::new("unknown-value", format!("takes {expected}, not {}", quoted(text)));
    match suggest::nearest(text, choices.iter().copied()) {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None => fault,
    }
}

impl Scalar for Span {
    const EXPECTED: &'static str = "a duration, such as `20m`, `1h 30m` or `7 days`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let bad = || {
            Fault::new("bad-duration", format!("takes {}, not {}", Self::EXPECTED, quoted(text)))
                .help("units are s, m, h, d and w; a bare number is seconds")
        };
        let mut total = Some(0_u64);
        let mut rest = text.trim();
        if let Ok(seconds) = rest.parse::<u64>() {
            return Ok(Self(seconds));
        }
        if rest.is_empty() {
            return Err(bad());
        }
        while !rest.is_empty() {
            let (number, after) = split_while(rest, |c| c.is_ascii_digit());
            let (unit, after) = split_while(after.trim_start(), char::is_alphabetic);
            let number = if number.is_empty() { return Err(bad()) } else { number.parse::<u64>().ok() };
            let scale: u64 = match unit.to_ascii_lowercase().as_str() {
                "s" | "sec" | "secs" | "second" | "seconds" => 1,
                "m" | "min" | "mins" | "minute" | "minutes" => 60,
                "h" | "hr" | "hrs" | "hour" | "hours" => 3_600,
                "d" | "day" | "days" => 86_400,
                "w" | "week" | "weeks" => 604_800,
                _ => return Err(bad()),
            };
            let part = number.and_then(|n| n.checked_mul(scale));
            total = total.zip(part).and_then(|(total, part)| total.checked_add(part));
            rest = after.trim_start();
            rest = rest.strip_prefix("and ").unwrap_or(rest).trim_start();
        }
        total.map(Self).ok_or_else(|| Fault::new("out-of-range", format!("is too long: {}", quoted(text))))
    }
}

impl Scalar for Bytes {
    const EXPECTED: &'static str = "a size, such as `512m` or `2GiB`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let bad = || {
            Fault::new("bad-size", format!("takes {}, not {}", Self::EXPECTED, quoted(text)))
                .help("units are k, m, g and t (or KiB, MiB, GiB, TiB), each 1024 of the one before")
        };
        let (number, unit) = split_while(text.trim(), |c| c.is_ascii_digit() || c == '.');
        let unit = unit.trim_start().to_ascii_lowercase();
        let shift = match unit.as_str() {
            "" | "b" => 0,
            "k" | "ki" | "kb" | "kib" => 10,
            "m" | "mi" | "mb" | "mib" => 20,
            "g" | "gi" | "gb" | "gib" => 30,
            "t" | "ti" | "tb" | "tib" => 40,
            _ => return Err(bad()),
        };
        let too_large = || Fault::new("out-of-range", format!("is too large: {}", quoted(text)));
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(1_u64 << shift).map(Self).ok_or_else(too_large);
        }
        // A fraction: exact in thousandths, which is finer than anyone asks for.
        let (whole, fraction) = number.split_once('.').ok_or_else(bad)?;
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 3 || shift == 0 {
            return Err(bad());
        }
        let thousandths: u64 = format!("{whole}{fraction:0<3}").parse().map_err(|_| too_large())?;
        let bytes = u128::from(thousandths) * (1_u128 << shift) / 1000;
        u64::try_from(bytes).map(Self).map_err(|_| too_large())
    }
}

fn split_while(text: &str, keep: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !keep(c)).unwrap_or(text.len()))
}
