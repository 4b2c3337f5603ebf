//! Headers of the API in addition to those of HTTP.

/// Idempotency key of a POST: repeated requests with the same value create only one execution.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Trace context (W3C) from the CLI to the server; queue messages carry it further.
pub const TRACEPARENT: &str = "traceparent";

/// In a log reply: the offset after its last byte.
pub const LOG_NEXT: &str = "x-tidemill-log-next";

/// In a log reply: `true` if no more bytes will follow.
pub const LOG_END: &str = "x-tidemill-log-end";

/// In a log reply: the number of bytes that are stored of the attempt's log.
pub const LOG_SIZE: &str = "x-tidemill-log-size";

/// In a log reply: the milliseconds after which there may be more bytes. Asking earlier is useless, as the worker reports no sooner.
/// Absent if the server holds a reply until there are some, or if no more will follow.
pub const LOG_POLL: &str = "x-tidemill-log-poll-ms";

/// In a log reply: `true` if the attempt has ended, so that [`LOG_SIZE`] is the size of the whole log.
pub const LOG_COMPLETE: &str = "x-tidemill-log-complete";
