//! The messenger port: outgoing requests and their replies.

use async_trait::async_trait;
use std::fmt;
use tidemill_core::notification::message::{OutgoingMail, OutgoingReply, OutgoingRequest};

/// Sends requests to addresses that administrators of a repository configured.
#[async_trait]
pub trait Messenger: Send + Sync {
    /// Sends a request, with a timeout of some seconds, without following redirects, and with a limit of the reply's size. Returns the
    /// reply, or why there is none.
    async fn send(&self, request: &OutgoingRequest) -> Result<OutgoingReply, String>;
}

/// Sends e-mails to addresses that administrators of a repository configured.
#[async_trait]
pub trait MailSender: fmt::Debug + Send + Sync {
    /// Hands an e-mail over to the mail server, within some seconds. Returns why it was not accepted.
    async fn send(&self, mail: &OutgoingMail) -> Result<(), String>;
}
