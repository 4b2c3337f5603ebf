//! Spans as messages of OTLP.

use super::messages::{KIND_INTERNAL, STATUS_ERROR, STATUS_OK, SpanMessage, Status, Value, attribute};
use tidemill_core::{
    time::Timestamp,
    trace::spans::{AttributeValue, Span, SpanOutcome},
};

/// Converts a span.
pub fn span_message(span: Span) -> SpanMessage {
    let attributes = span.attributes.into_iter().map(|(key, value)| {
        let value = match value {
            AttributeValue::Text(text) => Value::Text(text),
            AttributeValue::Number(number) => Value::Number(number),
            AttributeValue::Flag(flag) => Value::Flag(flag),
        };
        attribute(key, value)
    });
    SpanMessage {
        trace_id: span.trace_id.to_be_bytes().to_vec(),
        span_id: span.id.0.to_be_bytes().to_vec(),
        parent_span_id: span.parent.map(|parent| parent.0.to_be_bytes().to_vec()).unwrap_or_default(),
        name: span.name,
        kind: KIND_INTERNAL,
        start_time_unix_nano: nanoseconds(span.start),
        end_time_unix_nano: nanoseconds(span.end),
        attributes: attributes.collect(),
        status: match span.outcome {
            SpanOutcome::Unset => None,
            SpanOutcome::Ok => Some(Status { message: String::new(), code: STATUS_OK }),
            SpanOutcome::Error(message) => Some(Status { message, code: STATUS_ERROR }),
        },
    }
}

fn nanoseconds(at: Timestamp) -> u64 {
    at.since_ms(Timestamp(0)).saturating_mul(1_000_000)
}
