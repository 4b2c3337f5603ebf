//! Traces: the ids that an execution and its parts have in a trace, and the spans of an ended execution.

mod context;
mod spans;

pub use context::{
    SpanId, TRACEPARENT_VARIABLE, TraceContext, attempt_context, execution_context, job_context,
};
pub use spans::{AttributeValue, MAX_SPANS, Span, SpanOutcome, execution_spans};
