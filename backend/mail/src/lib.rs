//! Sends e-mails by SMTP: to a mail server of the team's, or to Amazon SES by its SMTP interface.

use async_trait::async_trait;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    address::Envelope,
    message::{Mailbox, header::ContentType},
    transport::smtp::authentication::Credentials,
};
use std::{fmt, time::Duration};
use tidemill_core::notification::message::OutgoingMail;
use tidemill_services::ports::{MailError, MailSender};

/// Maximum time for a command of the conversation.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of the mail server.
#[derive(Clone)]
pub struct MailSettings {
    /// `smtps://HOST[:PORT]` with TLS from the start, `smtp://HOST[:PORT]?tls=required` with STARTTLS, or `smtp://HOST[:PORT]` without
    /// encryption; a user's name may stand before the host (`smtps://user@host`).
    pub url: String,
    /// The user's password.
    pub password: Option<String>,
    /// The address that mails come from.
    pub from: String,
}

impl fmt::Debug for MailSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailSettings").field("from", &self.from).finish_non_exhaustive()
    }
}

/// What is wrong in the settings of the mail server. No text has the address, which may have a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MailSettingsError {
    /// The address that mails come from is not that of a mailbox.
    #[error("the address that mails come from is not one")]
    From,
    /// The address of the mail server has another scheme.
    #[error("the address of the mail server must start with smtps:// or smtp://")]
    Scheme,
    /// The address of the mail server is not valid.
    #[error("the address of the mail server is not valid")]
    Address,
    /// The address of the mail server has a password, which would be seen in the list of processes.
    #[error("the password of the mail server belongs into a file (--smtp-password-file)")]
    PasswordInAddress,
    /// There is a password and no user.
    #[error("a password needs a user in the address of the mail server: smtps://user@host")]
    NoUser,
    /// There is a password, and the connection may be without TLS.
    #[error("a password is sent by TLS only: smtps://, or smtp:// with ?tls=required")]
    NoTls,
}

/// Sends e-mails through one mail server. It keeps connections open for the next mails.
#[derive(Debug)]
pub struct SmtpSender {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Address,
}

impl SmtpSender {
    /// Creates the sender. It connects with the first mail.
    ///
    /// # Errors
    /// Returns what is wrong in the settings.
    pub fn new(settings: &MailSettings) -> Result<Self, MailSettingsError> {
        let MailSettings { url, password, from } = settings;
        let from = from.parse().map_err(|_| MailSettingsError::From)?;
        let user = user_of(url)?;
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
            .map_err(|_| MailSettingsError::Address)?
            .timeout(Some(TIMEOUT));
        if let (Some(user), Some(password)) = (user, password) {
            builder = builder.credentials(Credentials::new(user, password.clone()));
        } else if password.is_some() {
            return Err(MailSettingsError::NoUser);
        }
        if password.is_some() && url.starts_with("smtp:") && !url.contains("tls=required") {
            return Err(MailSettingsError::NoTls);
        }
        Ok(Self { transport: builder.build(), from })
    }
}

/// Returns the user in a URL.
fn user_of(url: &str) -> Result<Option<String>, MailSettingsError> {
    let rest = url.strip_prefix("smtps://").or_else(|| url.strip_prefix("smtp://"));
    let rest = rest.ok_or(MailSettingsError::Scheme)?;
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let Some((user, _)) = authority.rsplit_once('@') else { return Ok(None) };
    if user.contains(':') {
        return Err(MailSettingsError::PasswordInAddress);
    }
    Ok(Some(user.replace("%40", "@")))
}

#[async_trait]
impl MailSender for SmtpSender {
    async fn send(&self, mail: &OutgoingMail) -> Result<(), MailError> {
        let mut to = Vec::with_capacity(mail.to.len());
        for address in &mail.to {
            let address: Address = address.parse().map_err(|_| MailError::Mailbox(address.clone()))?;
            to.push(address);
        }
        let mut message = Message::builder()
            .from(Mailbox::new(Some("Tidemill".to_owned()), self.from.clone()))
            .message_id(Some(format!("<{}@{}>", mail.id, self.from.domain())))
            .subject(mail.subject.clone())
            .header(ContentType::TEXT_PLAIN);
        for address in &to {
            message = message.to(Mailbox::new(None, address.clone()));
        }
        let message =
            message.body(mail.text.clone()).map_err(|error| MailError::Message(error.to_string()))?;
        let envelope = Envelope::new(Some(self.from.clone()), to)
            .map_err(|error| MailError::Message(error.to_string()))?;
        let sent = self.transport.send_raw(&envelope, &message.formatted()).await;
        sent.map(drop).map_err(|error| MailError::Server(error.to_string()))
    }
}
