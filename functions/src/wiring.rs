//! The services over AWS, created once per process.

use crate::{
    settings::{
        DEAD_LETTER_QUEUE_URL, MAIL_FROM, PUBLIC_URL, SMTP_PASSWORD, SMTP_URL, Settings, SettingsError,
        variable,
    },
    worker_group::scale_on_groups,
};
use std::sync::Arc;
use tidemill_aws::{DeadLetterQueue, Meter};
use tidemill_core::execution::attempt::ReportPace;
use tidemill_mail::{MailSettings, SmtpSender};
use tidemill_services::ports::MailSender;
use tidemill_services::{Notifiers, Services, Settings as ServiceSettings, SourcePolicy};
use tokio_util::sync::CancellationToken;

/// Maximum number of log bytes per reply: a function's replies are limited to 6 MB in base64.
const MAX_LOG_REPLY: usize = 4 << 20;

/// How long a looked-up token is cached: a revocation takes effect in every container within this time.
const TOKEN_CACHE_MS: u64 = 5_000;

/// The services of a function.
#[derive(Debug, Clone)]
pub struct FunctionContext {
    /// The services.
    pub services: Services,
    /// Counts their usage.
    pub meter: Meter,
    /// The dead-letter queue, in the function that reads it.
    pub dead_letters: Option<DeadLetterQueue>,
}

impl FunctionContext {
    /// Reads the settings and creates the clients.
    pub async fn load() -> Result<Self, SettingsError> {
        let settings = Settings::from_environment()?;
        let sdk = tidemill_aws::load_sdk_config().await;
        let (stores, meter) = tidemill_aws::open(&sdk, settings.names);
        let service_settings = ServiceSettings {
            lease_ttl_ms: settings.lease_ttl_ms,
            report_pace: ReportPace::BATCHED,
            // Waiting is billed like computing.
            max_wait_ms: 0,
            max_log_reply_bytes: MAX_LOG_REPLY,
            max_file_reply_bytes: MAX_LOG_REPLY as u64,
            token_cache_ttl_ms: TOKEN_CACHE_MS,
            gateway_requires_credential: true,
            // The function that reads the table's stream continues.
            continues_after_reply: false,
            ..ServiceSettings::default()
        };
        let notifiers =
            Notifiers { public_url: variable(PUBLIC_URL), mail: mail_sender(), ..Notifiers::default() };
        let services = Services::new(stores, service_settings, CancellationToken::new())
            .with_notifiers(notifiers)
            .with_source_policy(SourcePolicy { addresses: settings.addresses, snapshots: false });
        scale_on_groups(&services, &sdk)?;
        let dead_letters =
            variable(DEAD_LETTER_QUEUE_URL).map(|url| DeadLetterQueue::new(&sdk, url, meter.clone()));
        Ok(Self { services, meter, dead_letters })
    }
}

/// Returns the sender of e-mails, if there is a mail server. Settings that are not valid stop no execution: they are logged, and each e-mail
/// fails with a reason.
fn mail_sender() -> Option<Arc<dyn MailSender>> {
    let (url, from) = (variable(SMTP_URL)?, variable(MAIL_FROM).unwrap_or_default());
    match SmtpSender::new(&MailSettings { url, password: variable(SMTP_PASSWORD), from }) {
        Ok(sender) => Some(Arc::new(sender)),
        Err(error) => {
            tracing::error!(%error, "the settings of e-mails are not valid; none are sent");
            None
        }
    }
}
