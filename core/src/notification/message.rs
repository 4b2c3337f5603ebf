//! Messages as they are sent.

use serde_json::Value;
use std::fmt;

/// The method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `POST`.
    Post,
    /// `PUT`, whose repetition changes nothing.
    Put,
}

/// An HTTP request that delivers a commit status or a notification.
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
