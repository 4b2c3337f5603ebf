//! GitHub Apps of repositories: their keys, sealed like other secrets, and the tokens that the keys sign.

use super::{
    record::{Repository, StoredApp, sealing_place},
    service::RepositoryService,
};
use crate::error::{Error, Result};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::json;
use tidemill_core::{
    repository::{
        github_app::{GithubApp, GithubAppChange, MAX_APP_KEY_LEN},
        registration::RepositoryRequest,
        webhook::Provider,
    },
    time::Timestamp,
};

/// The secret that the key of an App is sealed as.
pub(super) const SEALED_AS: &str = "app";
/// How long a token that the key signs is valid; GitHub accepts ten minutes, and its clock may be behind.
const VALIDITY_S: i64 = 8 * 60;
/// How much earlier a token was issued, as it says, because GitHub's clock may be behind.
const CLOCK_SKEW_S: i64 = 60;

impl RepositoryService {
    /// Returns the App of the repository of this name after `request`.
    pub(super) async fn updated_app(
        &self,
        name: &str,
        request: &RepositoryRequest,
        old: Option<&StoredApp>,
    ) -> Result<Option<StoredApp>> {
        let app = match &request.app {
            Some(GithubAppChange::Remove) => return Ok(None),
            None => old.cloned(),
            Some(GithubAppChange::Set(app)) => {
                let GithubApp { app_id, installation_id, private_key } = app;
                check_key(private_key)?;
                let sealed = self.seal.seal(&sealing_place(name, SEALED_AS), private_key.as_bytes()).await?;
                Some(StoredApp { app_id: *app_id, installation_id: *installation_id, sealed })
            }
        };
        if app.is_some() && request.provider != Provider::Github {
            return Err(Error::Invalid(format!(
                "a GitHub App is for repositories at GitHub, and this one is at {}",
                request.provider
            )));
        }
        Ok(app)
    }

    /// Returns a token with which the App of a repository gets tokens of its installations.
    pub(crate) async fn app_token(&self, of: &Repository, app: &StoredApp) -> Result<String> {
        let key = self.seal.open(&sealing_place(&of.name(), SEALED_AS), &app.sealed).await?;
        sign(&key, app.app_id, self.context.now())
    }
}

fn check_key(key: &str) -> Result<()> {
    if key.len() > MAX_APP_KEY_LEN {
        return Err(Error::Invalid(format!("the key of a GitHub App has at most {MAX_APP_KEY_LEN} bytes")));
    }
    key_pair(key.as_bytes()).map(drop).ok_or_else(|| Error::Invalid(NOT_A_KEY.into()))
}

const NOT_A_KEY: &str =
    "the key of the GitHub App is not an RSA key in PEM; generate one on the page of the App";

fn key_pair(pem: &[u8]) -> Option<RsaKeyPair> {
    match PrivateKeyDer::from_pem_slice(pem).ok()? {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).ok(),
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok(),
        _ => None,
    }
}

/// Signs a JSON Web Token as GitHub expects it
/// (<https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app>).
fn sign(pem: &[u8], app_id: u64, now: Timestamp) -> Result<String> {
    let pair = key_pair(pem).ok_or_else(|| Error::CannotOpen(NOT_A_KEY.into()))?;
    let now_s = now.0.div_euclid(1_000);
    let header = json!({ "alg": "RS256", "typ": "JWT" });
    let claims = json!({ "iat": now_s - CLOCK_SKEW_S, "exp": now_s + VALIDITY_S, "iss": app_id.to_string() });
    let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|error| Error::storage("signing a token of a GitHub App", error.to_string()))?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
