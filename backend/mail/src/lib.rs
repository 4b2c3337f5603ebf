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
use tidemill_services::ports::MailSender;

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
    /// Returns what is wrong in the settings, for a user.
    pub fn new(settings: &MailSettings) -> Result<Self, String> {
        let MailSettings { url, password, from } = settings;
        let from = from.parse().map_err(|_| "the address that mails come from is not one".to_owned())?;
        let user = user_of(url)?;
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
            // The error may repeat the address, which may have a password.
            .map_err(|_| "the address of the mail server is not valid".to_owned())?
            .timeout(Some(TIMEOUT));
        if let (Some(user), Some(password)) = (user, password) {
            builder = builder.credentials(Credentials::new(user, password.clone()));
        } else if password.is_some() {
            return Err("a password needs a user in the address of the mail server: smtps://user@host".into());
        }
        if password.is_some() && url.starts_with("smtp:") && !url.contains("tls=required") {
            return Err("a password is sent by TLS only: smtps://, or smtp:// with ?tls=required".into());
        }
        Ok(Self { transport: builder.build(), from })
    }
}

/// Returns the user in a URL. A password there would be seen in the list of processes.
fn user_of(url: &str) -> Result<Option<String>, String> {
    let rest = url.strip_prefix("smtps://").or_else(|| url.strip_prefix("smtp://"));
    let rest = rest.ok_or("the address of the mail server must start with smtps:// or smtp://")?;
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let Some((user, _)) = authority.rsplit_once('@') else { return Ok(None) };
    if user.contains(':') {
        return Err("the password of the mail server belongs into a file (--smtp-password-file)".into());
    }
    Ok(Some(user.replace("%40", "@")))
}

#[async_trait]
impl MailSender for SmtpSender {
    async fn send(&self, mail: &OutgoingMail) -> Result<(), String> {
        let mut to = Vec::with_capacity(mail.to.len());
        for address in &mail.to {
            let address: Address =
                address.parse().map_err(|_| format!("`{}` is not a mailbox", address.escape_debug()))?;
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
            message.body(mail.text.clone()).map_err(|error| format!("cannot write the e-mail: {error}"))?;
        let envelope = Envelope::new(Some(self.from.clone()), to)
            .map_err(|error| format!("cannot address the e-mail: {error}"))?;
        let sent = self.transport.send_raw(&envelope, &message.formatted()).await;
        sent.map(drop).map_err(|error| format!("the mail server did not accept it: {error}"))
    }
}
