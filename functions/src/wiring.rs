//! The services over AWS, made once for a process.

use crate::settings::{PUBLIC_URL, Settings, SettingsError};
use tidemill_aws::{self, Meter};
use tidemill_services::services::{Outside, Services, Settings as ServiceSettings, SourcePolicy};
use tokio_util::sync::CancellationToken;

/// The most bytes of a log in one reply: a function's reply has at most 6 MB, and bytes go as base64.
const MOST_LOG_REPLY: usize = 4 << 20;

/// How long a token that was looked up is believed: a revocation acts in every container within this time.
const TOKEN_KEPT_MS: u64 = 5_000;

/// What a function works with.
#[derive(Debug, Clone)]
pub struct Wiring {
    /// The services.
    pub services: Services,
    /// Counts what they use.
    pub meter: Meter,
}

impl Wiring {
    /// Reads the settings and makes the clients.
    pub async fn load() -> Result<Self, SettingsError> {
        let settings = Settings::of_environment()?;
        let sdk = aws::load_sdk_config().await;
        let (stores, meter) = aws::open(&sdk, settings.names);
        let of_services = ServiceSettings {
            lease_ttl_ms: settings.lease_ttl_ms,
            // A function that waits is paid for as if it worked.
            longest_wait_ms: 0,
            most_log_reply: MOST_LOG_REPLY,
            gives_any_job: false,
            token_kept_ms: TOKEN_KEPT_MS,
            ..ServiceSettings::default()
        };
        let public_url = std::env::var(PUBLIC_URL).ok().filter(|url| !url.is_empty());
        let outside = Outside { public_url, ..Outside::default() };
        let services = Services::new(stores, of_services, CancellationToken::new())
            .reaching(outside)
            .taking(SourcePolicy { addresses: settings.addresses, snapshots: false });
        Ok(Self { services, meter })
    }
}
