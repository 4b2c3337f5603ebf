//! Signatures of webhooks.

use super::event::{Headers, Provider, WebhookError};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Returns the HMAC-SHA256 of `bytes` in hex.
#[must_use]
pub fn sign(secret: &[u8], bytes: &[u8]) -> String {
    let Some(mac) = mac(secret, bytes) else { return String::new() };
    HEXLOWER.encode(&mac.finalize().into_bytes())
}

/// Creates the MAC; a key of any length is valid.
fn mac(secret: &[u8], bytes: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(bytes);
    Some(mac)
}

/// Returns the provider's signature header, and the prefix of the digits.
const fn header(provider: Provider) -> (&'static str, &'static str) {
    match provider {
        Provider::Github => ("X-Hub-Signature-256", "sha256="),
        Provider::Bitbucket => ("X-Hub-Signature", "sha256="),
        Provider::Gitea => ("X-Gitea-Signature", ""),
        Provider::Gitlab => ("X-Gitlab-Token", ""),
    }
}

pub(super) fn header_value(provider: Provider, headers: Headers<'_>) -> Result<&str, WebhookError> {
    let (name, _) = header(provider);
    headers(&name.to_ascii_lowercase()).ok_or(WebhookError::MissingSignature(name))
}

pub(super) fn verify(
    provider: Provider,
    secret: &[u8],
    headers: Headers<'_>,
    body: &[u8],
) -> Result<(), WebhookError> {
    let (name, prefix) = header(provider);
    let signature = header_value(provider, headers)?;
    let wrong = || WebhookError::WrongSignature(name);
    if secret.is_empty() {
        return Err(wrong());
    }
    if provider == Provider::Gitlab {
        // Hashes are compared, so that the duration reveals neither the length nor the position of a difference.
        let received = mac(signature.as_bytes(), b"").ok_or_else(wrong)?.finalize().into_bytes();
        return mac(secret, b"").ok_or_else(wrong)?.verify_slice(&received).map_err(|_| wrong());
    }
    let received = signature
        .strip_prefix(prefix)
        .and_then(|digits| HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok())
        .ok_or_else(wrong)?;
    mac(secret, body).ok_or_else(wrong)?.verify_slice(&received).map_err(|_| wrong())
}
