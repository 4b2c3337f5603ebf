//! Trace contexts (W3C Trace Context), and the ids of spans.
//!
//! The ids follow from those of the execution, so that a job knows its span before it is exported, and an export that is repeated
//! changes nothing.

use crate::ids::ExecutionId;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::fmt;

/// The variable of a job with the trace context of its attempt.
pub const TRACEPARENT_VARIABLE: &str = "TRACEPARENT";

/// The bit of the flags that says that the caller records its trace.
const SAMPLED: u8 = 1;

/// Id of a span; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub u64);

/// Where a span belongs: a trace, and the span above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// Id of the trace; never 0.
    pub trace_id: u128,
    /// The span above.
    pub parent: SpanId,
    /// Whether the trace is recorded. Spans of other traces are not exported.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads the value of a `traceparent` header; `None` if it is invalid, in which case it is to be ignored.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let parts: Vec<&str> = header.trim().split('-').collect();
        let (fixed, more) = parts.split_at_checked(4)?;
        let [version, trace, parent, flags] = fixed else { return None };
        let version = hex::<1>(version)?[0];
        // Later versions may have more fields.
        if version == u8::MAX || (version == 0 && !more.is_empty()) {
            return None;
        }
        let trace_id = u128::from_be_bytes(hex::<16>(trace)?);
        let parent = SpanId(u64::from_be_bytes(hex::<8>(parent)?));
        let flags = hex::<1>(flags)?[0];
        (trace_id != 0 && parent.0 != 0).then_some(Self { trace_id, parent, sampled: flags & SAMPLED != 0 })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.parent.0, u8::from(self.sampled))
    }
}

/// Decodes lowercase hex of exactly `N` bytes.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// A span of an execution.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Execution,
    Job(u32),
    Attempt(u32, u32),
    /// A phase of an attempt; attempt 0 is the time before the first one.
    Phase(u32, u32, &'static str),
    Command(u32, u32, u32),
}

/// Returns the id of a span of an execution.
pub(super) fn span_id(execution: ExecutionId, part: Part) -> SpanId {
    let name = match part {
        Part::Execution => "execution".to_owned(),
        Part::Job(job) => format!("job {job}"),
        Part::Attempt(job, attempt) => format!("job {job} attempt {attempt}"),
        Part::Phase(job, attempt, phase) => format!("job {job} attempt {attempt} {phase}"),
        Part::Command(job, attempt, command) => format!("job {job} attempt {attempt} command {command}"),
    };
    let digest = Sha256::new().chain_update(execution.0.as_bytes()).chain_update(name).finalize();
    let first = digest.iter().take(8).fold(0, |id, byte| (id << 8) | u64::from(*byte));
    SpanId(first.max(1))
}

/// Returns the trace of an execution and the caller's span, if it has one. `trace` is the `traceparent` that it was started with;
/// without one, the id of the trace is that of the execution.
pub(super) fn trace_of(execution: ExecutionId, trace: Option<&str>) -> (u128, Option<SpanId>, bool) {
    match trace.and_then(TraceContext::parse) {
        Some(caller) => (caller.trace_id, Some(caller.parent), caller.sampled),
        None => (execution.0.as_u128().max(1), None, true),
    }
}

fn context(execution: ExecutionId, trace: Option<&str>, part: Part) -> TraceContext {
    let (trace_id, _, sampled) = trace_of(execution, trace);
    TraceContext { trace_id, parent: span_id(execution, part), sampled }
}

/// Returns the context of what is part of an execution. `trace` is the `traceparent` that the execution was started with.
#[must_use]
pub fn execution_context(execution: ExecutionId, trace: Option<&str>) -> TraceContext {
    context(execution, trace, Part::Execution)
}

/// Returns the context of what the job at `ix` starts, such as a child execution.
#[must_use]
pub fn job_context(execution: ExecutionId, trace: Option<&str>, ix: u32) -> TraceContext {
    context(execution, trace, Part::Job(ix))
}

/// Returns the context of the programs of an attempt.
#[must_use]
pub fn attempt_context(execution: ExecutionId, trace: Option<&str>, ix: u32, attempt: u32) -> TraceContext {
    context(execution, trace, Part::Attempt(ix, attempt))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{TraceContext, attempt_context, execution_context, job_context};
    use crate::ids::ExecutionId;
    use std::collections::HashSet;
    use uuid::Uuid;

    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const EXECUTION: ExecutionId = ExecutionId(Uuid::from_u128(0x0190_f3c4_1111_7abc_b234_5678_9abc_def0));

    #[test]
    fn header_is_read_and_written() {
        let context = TraceContext::parse(HEADER).unwrap();
        assert_eq!((context.to_string().as_str(), context.sampled), (HEADER, true));
        let unsampled = HEADER.replace("-01", "-00");
        assert!(!TraceContext::parse(&unsampled).unwrap().sampled);
        let later = format!("{}-more", HEADER.replacen("00", "01", 1));
        assert_eq!(TraceContext::parse(&later), Some(context), "a later version may have more fields");
        for invalid in [
            "",
            "00",
            "something-else",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn parts_of_an_execution_have_different_spans_of_its_trace() {
        let mut spans = HashSet::new();
        for trace in [None, Some(HEADER), Some("invalid")] {
            let expected = match trace {
                Some(HEADER) => TraceContext::parse(HEADER).unwrap().trace_id,
                _ => EXECUTION.0.as_u128(),
            };
            let contexts = [
                execution_context(EXECUTION, trace),
                job_context(EXECUTION, trace, 0),
                job_context(EXECUTION, trace, 1),
                attempt_context(EXECUTION, trace, 0, 1),
                attempt_context(EXECUTION, trace, 0, 2),
                attempt_context(EXECUTION, trace, 1, 1),
            ];
            for context in contexts {
                assert_eq!((context.trace_id, context.sampled), (expected, true));
                assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
                spans.insert(context.parent);
            }
        }
        assert_eq!(spans.len(), 6, "ids of spans do not depend on the caller's trace");
        let other = ExecutionId(Uuid::from_u128(1));
        assert!(!spans.contains(&execution_context(other, None).parent));
    }

    #[test]
    fn trace_that_the_caller_does_not_record_stays_so() {
        let unsampled = HEADER.replace("-01", "-00");
        let context = attempt_context(EXECUTION, Some(&unsampled), 0, 1);
        assert!(!context.sampled);
        assert!(context.to_string().ends_with("-00"), "{context}");
    }
}
