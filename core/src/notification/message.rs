//! Messages as they are sent, and replies to them.

use crate::time::Timestamp;
use serde_json::Value;
use std::fmt;

/// Maximum time that a reply can delay the next request.
const MAX_PAUSE_MS: u64 = 2 * 3_600_000;

/// The method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`, without a body.
    Get,
    /// `PATCH`.
    Patch,
    /// `POST`.
    Post,
    /// `PUT`, whose repetition changes nothing.
    Put,
}

/// An HTTP request to a git provider or a receiver of notifications.
#[derive(Clone, PartialEq, Eq)]
pub struct OutgoingRequest {
    /// The method.
    pub method: Method,
    /// The target.
    pub url: String,
    /// Headers in addition to the content type; some contain secrets.
    pub headers: Vec<(&'static str, String)>,
    /// JSON body.
    pub body: String,
}

/// The reply to a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutgoingReply {
    /// HTTP status.
    pub status: u16,
    /// Value of the header `Retry-After`.
    pub retry_after: Option<String>,
    /// When the receiver accepts requests again, in seconds since the Unix epoch, if the limit of this hour is used up.
    pub limit_reset: Option<u64>,
    /// Body.
    pub body: Vec<u8>,
}

impl OutgoingReply {
    /// Creates a reply with a status and nothing else.
    #[must_use]
    pub fn with_status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Whether the request succeeded.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    /// Whether the receiver says that there were too many requests.
    #[must_use]
    pub const fn is_rate_limited(&self) -> bool {
        let says_when = self.retry_after.is_some() || self.limit_reset.is_some();
        self.status == 429 || (self.status == 403 && says_when)
    }

    /// Returns how long the receiver asks to wait before the next request, within a limit.
    #[must_use]
    pub fn pause_ms(&self, now: Timestamp) -> Option<u64> {
        let until = |at: i64| u64::try_from(at.saturating_sub(now.0)).unwrap_or_default();
        let from_header = |text: &str| {
            let seconds = text.trim().parse::<u64>().ok().map(|seconds| seconds.saturating_mul(1_000));
            let date = || {
                let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
                Some(until(date.as_millisecond()))
            };
            seconds.or_else(date)
        };
        let of_header = self.retry_after.as_deref().and_then(from_header);
        let of_limit = || {
            let reset = i64::try_from(self.limit_reset?).ok()?;
            Some(until(reset.saturating_mul(1_000)))
        };
        Some(of_header.or_else(of_limit)?.min(MAX_PAUSE_MS))
    }
}

impl OutgoingRequest {
    /// Creates a `POST` request.
    pub fn post(url: impl Into<String>, headers: Vec<(&'static str, String)>, body: &Value) -> Self {
        Self { method: Method::Post, url: url.into(), headers, body: body.to_string() }
    }
}

/// An e-mail in plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingMail {
    /// Addresses of its receivers.
    pub to: Vec<String>,
    /// Its subject, one line.
    pub subject: String,
    /// Its text.
    pub text: String,
    /// The left part of its message id, which is the same when it is sent again.
    pub id: String,
}

/// A message of either kind.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// By HTTP.
    Request(OutgoingRequest),
    /// By SMTP.
    Mail(OutgoingMail),
}

impl fmt::Debug for OutgoingRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_PAUSE_MS, OutgoingReply};
    use crate::time::Timestamp;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: Timestamp = Timestamp(784_111_777_000);

    #[test]
    fn pause_is_that_of_the_reply_within_a_limit() {
        let after = |text: &str| OutgoingReply {
            retry_after: Some(text.to_owned()),
            ..OutgoingReply::with_status(429)
        };
        for (text, expected) in [
            ("0", Some(0)),
            (" 7 ", Some(7_000)),
            ("99999999999999999999", None),
            ("999999999", Some(MAX_PAUSE_MS)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60_000)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
        ] {
            assert_eq!(after(text).pause_ms(NOW), expected, "{text}");
        }
        let reset = OutgoingReply { limit_reset: Some(784_111_787), ..OutgoingReply::with_status(403) };
        assert_eq!(reset.pause_ms(NOW), Some(10_000));
        assert!(reset.is_rate_limited() && after("1").is_rate_limited());
        let forbidden = OutgoingReply::with_status(403);
        assert!(!forbidden.is_rate_limited() && forbidden.pause_ms(NOW).is_none());
    }
}
