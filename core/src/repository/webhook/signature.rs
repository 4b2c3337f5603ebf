//! Signatures of webhooks.

use super::event::{Headers, Provider, Refusal};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The HMAC-SHA256 of `bytes` in hex.
#[must_use]
pub fn sign(secret: &[u8], bytes: &[u8]) -> String {
    let Some(mac) = mac(secret, bytes) else { return String::new() };
    HEXLOWER.encode(&mac.finalize().into_bytes())
}

/// A key of any length makes one.
fn mac(secret: &[u8], bytes: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(bytes);
    Some(mac)
}

/// Where a provider puts its signature, in its own spelling, and what comes before the digits.
const fn header(provider: Provider) -> (&'static str, &'static str) {
    match provider {
        Provider::Github => ("X-Hub-Signature-256", "sha256="),
        Provider::Bitbucket => ("X-Hub-Signature", "sha256="),
        Provider::Gitea => ("X-Gitea-Signature", ""),
        Provider::Gitlab => ("X-Gitlab-Token", ""),
    }
}

pub(super) fn given(provider: Provider, headers: Headers<'_>) -> Result<&str, Refusal> {
    let (name, _) = header(provider);
    headers(&name.to_ascii_lowercase()).ok_or(Refusal::Unsigned(name))
}

pub(super) fn verify(
    provider: Provider,
    secret: &[u8],
    headers: Headers<'_>,
    body: &[u8],
) -> Result<(), Refusal> {
    let (name, prefix) = header(provider);
    let given = given(provider, headers)?;
    let wrong = || Refusal::WrongSignature(name);
    if secret.is_empty() {
        return Err(wrong());
    }
    if provider == Provider::Gitlab {
        // Of hashes of both, neither where they differ nor how long they are shows in the time.
        let theirs = mac(given.as_bytes(), b"").ok_or_else(wrong)?.finalize().into_bytes();
        return mac(secret, b"").ok_or_else(wrong)?.verify_slice(&theirs).map_err(|_| wrong());
    }
    let theirs = given
        .strip_prefix(prefix)
        .and_then(|digits| HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok())
        .ok_or_else(wrong)?;
    mac(secret, body).ok_or_else(wrong)?.verify_slice(&theirs).map_err(|_| wrong())
}
