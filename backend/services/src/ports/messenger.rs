//! The messenger port: outgoing requests and their replies.

use async_trait::async_trait;
use std::{fmt, time::Duration};
use tidemill_core::notification::message::{OutgoingMail, OutgoingReply, OutgoingRequest};

/// Why there is no reply to a request. No text has the address, which may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There was no answer within the limit.
    #[error("there was no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The reply is larger than the limit, in bytes.
    #[error("the reply has more than {0} bytes")]
    TooLarge(usize),
    /// The request has secrets, and the address does not use TLS.
    #[error("the address does not use TLS")]
    NoTls,
    /// The client cannot be set up: TLS or the certificate authorities of the system.
    #[error("{0}")]
    Client(String),
    /// No connection, or one that failed: name, network, certificate or protocol.
    #[error("{0}")]
    Connection(String),
}

/// Why an e-mail was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// An address is not that of a mailbox.
    #[error("`{}` is not a mailbox", .0.escape_debug())]
    Mailbox(String),
    /// The e-mail cannot be written.
    #[error("cannot write the e-mail: {0}")]
    Message(String),
    /// The mail server is not reachable, or it rejected the e-mail.
    #[error("the mail server did not accept it: {0}")]
    Server(String),
}

/// Sends requests to addresses that administrators of a repository configured.
#[async_trait]
pub trait Messenger: Send + Sync {
    /// Sends a request, with a timeout of some seconds, without following redirects, and with a limit of the reply's size. Returns the
    /// reply, or why there is none.
    async fn send(&self, request: &OutgoingRequest) -> Result<OutgoingReply, RequestError>;
}

/// Sends e-mails to addresses that administrators of a repository configured.
#[async_trait]
pub trait MailSender: fmt::Debug + Send + Sync {
    /// Hands an e-mail over to the mail server, within some seconds. Returns why it was not accepted.
    async fn send(&self, mail: &OutgoingMail) -> Result<(), MailError>;
}
