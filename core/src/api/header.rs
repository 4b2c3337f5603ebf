//! Headers of the API beside those of HTTP itself.

/// Header whose value makes a POST to execute happen once, however often it is sent.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Header that carries a trace from the CLI to the server (W3C Trace Context); the queue's messages carry it on.
pub const TRACEPARENT: &str = "traceparent";

/// Header of a log reply: the offset after its last byte.
pub const LOG_NEXT: &str = "x-tidemill-log-next";

/// Header of a log reply: `true` when no more bytes will come.
pub const LOG_END: &str = "x-tidemill-log-end";
