//! Log events of this process as messages of OTLP, with the fields of the spans that they are in.

use super::messages::{AnyValue, KeyValue, LogMessage, Value, attribute};
use std::{
    fmt::{Debug, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};
use tidemill_core::text::prefix;
use tokio::sync::mpsc;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// Maximum number of events that wait for their export.
const MAX_WAITING: usize = 4_096;
/// Maximum number of attributes of an event.
const MAX_ATTRIBUTES: usize = 32;
/// Maximum length of a value, in bytes. The same text is in the process's own log in full.
const MAX_VALUE_LEN: usize = 4_096;
/// The export reports its own failures here; exporting those would add to them.
const OWN_TARGET: &str = "tidemill_server::otlp";

/// Creates a layer that passes events on, and what receives them.
#[must_use]
pub fn log_layer() -> (LogLayer, LogRecords) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let dropped = Arc::new(AtomicU64::new(0));
    (LogLayer { sender, dropped: dropped.clone() }, LogRecords { receiver, dropped })
}

/// Passes events on to [`LogRecords`]; those that do not fit are dropped.
#[derive(Debug)]
pub struct LogLayer {
    sender: mpsc::Sender<LogMessage>,
    dropped: Arc<AtomicU64>,
}

/// The events that a [`LogLayer`] passed on.
#[derive(Debug)]
pub struct LogRecords {
    pub(super) receiver: mpsc::Receiver<LogMessage>,
    /// Number of events that did not fit.
    pub(super) dropped: Arc<AtomicU64>,
}

/// Fields of a span.
#[derive(Debug, Default)]
struct SpanFields(Fields);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = SpanFields::default();
        attributes.record(&mut fields.0);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<SpanFields>()
        {
            values.record(&mut fields.0);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target().starts_with(OWN_TARGET) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<SpanFields>() {
                for field in &of_span.0.attributes {
                    fields.add(field.clone());
                }
            }
        }
        fields.add(attribute("log.target", Value::Text(event.metadata().target().to_owned())));
        let now = now_ns();
        let (severity_number, severity_text) = severity(*event.metadata().level());
        let record = LogMessage {
            time_unix_nano: now,
            observed_time_unix_nano: now,
            severity_number,
            severity_text: severity_text.to_owned(),
            body: Some(AnyValue { value: Some(Value::Text(fields.message)) }),
            attributes: fields.attributes,
        };
        if self.sender.try_send(record).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Returns the current time in nanoseconds since 1970.
pub(super) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

const fn severity(level: Level) -> (i32, &'static str) {
    match level {
        Level::ERROR => (17, "ERROR"),
        Level::WARN => (13, "WARN"),
        Level::INFO => (9, "INFO"),
        Level::DEBUG => (5, "DEBUG"),
        Level::TRACE => (1, "TRACE"),
    }
}

/// The fields of an event or a span.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    attributes: Vec<KeyValue>,
}

impl Fields {
    /// Adds an attribute. The first value of a name counts: that of the event, then that of the innermost span.
    fn add(&mut self, new: KeyValue) {
        let is_known = self.attributes.iter().any(|known| known.key == new.key);
        if !is_known && self.attributes.len() < MAX_ATTRIBUTES {
            self.attributes.push(new);
        }
    }

    fn set(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Text(text)) => self.message = text,
            (name, value) => {
                let new = attribute(name, value);
                match self.attributes.iter_mut().find(|known| known.key == name) {
                    // A field of a span that is recorded again.
                    Some(known) => *known = new,
                    None => self.add(new),
                }
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = BoundedText::default();
        // It fails when the text is full.
        let _ = write!(text, "{value:?}");
        self.set(field, Value::Text(text.0));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut text = BoundedText::default();
        let _ = text.write_str(value);
        self.set(field, Value::Text(text.0));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Value::Number(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, Value::Number(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Value::Flag(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, Value::Real(value));
    }
}

/// A text that takes no more than [`MAX_VALUE_LEN`] bytes.
#[derive(Debug, Default)]
struct BoundedText(String);

impl std::fmt::Write for BoundedText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let left = MAX_VALUE_LEN - self.0.len();
        if text.len() <= left {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(prefix(text, left));
        Err(std::fmt::Error)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{MAX_VALUE_LEN, MAX_WAITING, log_layer};
    use crate::otlp::messages::{AnyValue, KeyValue, LogMessage, Value};
    use std::sync::atomic::Ordering;
    use tracing::{field, subscriber::with_default};
    use tracing_subscriber::layer::SubscriberExt as _;

    fn text(of: Option<&AnyValue>) -> &str {
        match of.and_then(|value| value.value.as_ref()) {
            Some(Value::Text(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    fn value<'a>(record: &'a LogMessage, key: &str) -> Option<&'a KeyValue> {
        record.attributes.iter().find(|attribute| attribute.key == key)
    }

    #[test]
    fn event_has_its_fields_and_those_of_its_spans() {
        let (layer, mut records) = log_layer();
        with_default(tracing_subscriber::registry().with(layer), || {
            let outer =
                tracing::error_span!("request", request = "r1", execution = field::Empty, attempt = 1);
            let _outer = outer.enter();
            outer.record("execution", "e1");
            let _inner = tracing::error_span!("job", attempt = 2_u64).entered();
            tracing::warn!(target: "tidemill_services", kind = ?Some(3), ok = true, "it is slow");
            tracing::error!(target: "tidemill_server::otlp::exporter", "the export failed");
            tracing::info!(target: "tidemill_services", long = "ü".repeat(MAX_VALUE_LEN), "second");
        });
        let first = records.receiver.try_recv().unwrap();
        assert_eq!((first.severity_number, first.severity_text.as_str()), (13, "WARN"));
        assert_eq!(text(first.body.as_ref()), "it is slow");
        assert_eq!(text(value(&first, "request").unwrap().value.as_ref()), "r1");
        assert_eq!(text(value(&first, "execution").unwrap().value.as_ref()), "e1");
        assert_eq!(text(value(&first, "kind").unwrap().value.as_ref()), "Some(3)");
        let attempt = value(&first, "attempt").unwrap().value.clone().unwrap();
        assert_eq!(attempt.value, Some(Value::Number(2)), "the innermost span counts");
        let second = records.receiver.try_recv().unwrap();
        assert_eq!(text(second.body.as_ref()), "second", "the export does not export its own events");
        assert_eq!(text(value(&second, "long").unwrap().value.as_ref()).len(), MAX_VALUE_LEN);
        assert!(records.receiver.try_recv().is_err());
    }

    #[test]
    fn events_that_nobody_exports_are_dropped_and_counted() {
        let (layer, records) = log_layer();
        with_default(tracing_subscriber::registry().with(layer), || {
            for number in 0..MAX_WAITING + 7 {
                tracing::info!(target: "tidemill_services", number, "event");
            }
        });
        assert_eq!((records.receiver.len(), records.dropped.load(Ordering::Relaxed)), (MAX_WAITING, 7));
    }
}
