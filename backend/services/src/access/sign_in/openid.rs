//! An OpenID provider: its configuration and keys, and what it states about a person (OpenID Connect Core and Discovery).

use super::{
    failure::{ProviderError, SignInError},
    settings::ProviderSettings,
    signature::{PublishedKey, SignatureError, read_keys, verified_claims},
};
use crate::ports::{ProviderClient, ProviderReply, ProviderRequest, is_provider_address};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tidemill_core::{
    access::{
        roles::Person,
        sign_in::{ExpectedClaims, PendingSignIn, check_claims},
    },
    time::Timestamp,
};
use tokio::{sync::Mutex, time::Instant};
use url::form_urlencoded;

/// How long the configuration and the keys are cached.
const CACHE_TTL: Duration = Duration::from_secs(3_600);
/// Minimum time between two reads, so that neither callers nor unknown keys cause many requests.
const READ_INTERVAL: Duration = Duration::from_secs(10);

/// What a provider says about itself.
#[derive(Debug, Clone, Deserialize)]
pub struct Configuration {
    issuer: String,
    pub authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// Configuration and keys, with the time they were read.
#[derive(Debug, Clone)]
struct Known {
    read_at: Instant,
    configuration: Arc<Configuration>,
    keys: Arc<Vec<PublishedKey>>,
}

/// What was read, and the failure of the last attempt.
#[derive(Debug, Default)]
struct LastRead {
    known: Option<Known>,
    failed: Option<(Instant, ProviderError)>,
}

/// What to do when configuration and keys are needed.
#[derive(Debug)]
enum NextStep {
    Use(Known),
    Fail(ProviderError),
    Read,
}

impl LastRead {
    /// A failed attempt counts for some seconds, so that requests do not reach a provider that is away. What was read before it stays
    /// known until it is too old.
    fn next_step(&self, now: Instant, max_age: Duration) -> NextStep {
        let is_within = |at: Instant, age: Duration| now.saturating_duration_since(at) <= age;
        if let Some(known) = &self.known
            && is_within(known.read_at, max_age.max(READ_INTERVAL))
        {
            return NextStep::Use(known.clone());
        }
        match &self.failed {
            Some((at, error)) if is_within(*at, READ_INTERVAL) => NextStep::Fail(error.clone()),
            _ => NextStep::Read,
        }
    }

    fn record(&mut self, now: Instant, read: &Result<Known, ProviderError>) {
        match read {
            Ok(known) => *self = Self { known: Some(known.clone()), failed: None },
            Err(error) => self.failed = Some((now, error.clone())),
        }
    }
}

/// An OpenID provider.
#[derive(Debug)]
pub struct OpenIdProvider {
    settings: ProviderSettings,
    /// Held while reading, so that one request at a time reads.
    last: Mutex<LastRead>,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: Option<String>,
}

impl OpenIdProvider {
    pub fn new(settings: ProviderSettings) -> Self {
        Self { settings, last: Mutex::default() }
    }

    /// Returns the configuration, and the scopes to request.
    pub async fn configuration(
        &self,
        client: &dyn ProviderClient,
    ) -> Result<(Arc<Configuration>, &'static str), SignInError> {
        let configuration = self.known(client, CACHE_TTL).await?.configuration;
        let has_groups = configuration.scopes_supported.iter().any(|scope| scope == "groups");
        Ok((configuration, if has_groups { "openid profile email groups" } else { "openid profile email" }))
    }

    /// Returns configuration and keys that are at most `max_age` old.
    async fn known(&self, client: &dyn ProviderClient, max_age: Duration) -> Result<Known, SignInError> {
        let mut last = self.last.lock().await;
        match last.next_step(Instant::now(), max_age) {
            NextStep::Use(known) => Ok(known),
            NextStep::Fail(error) => Err(error.into()),
            NextStep::Read => {
                let read = self.read(client).await;
                last.record(Instant::now(), &read);
                Ok(read?)
            }
        }
    }

    async fn read(&self, client: &dyn ProviderClient) -> Result<Known, ProviderError> {
        let issuer = &self.settings.url;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let configuration: Configuration = json(&get(client, &url, None).await?)?;
        if configuration.issuer != *issuer {
            return Err(ProviderError::Issuer { url, issuer: configuration.issuer });
        }
        let endpoints = [
            Some(&configuration.authorization_endpoint),
            Some(&configuration.token_endpoint),
            Some(&configuration.jwks_uri),
            configuration.userinfo_endpoint.as_ref(),
        ];
        if let Some(insecure) = endpoints.into_iter().flatten().find(|url| !is_provider_address(url)) {
            return Err(ProviderError::NoTls(insecure.clone()));
        }
        let keys = get(client, &configuration.jwks_uri, None).await?;
        let keys = read_keys(&keys).map_err(|error| ProviderError::Keys(error.to_string()))?;
        let (configuration, keys) = (Arc::new(configuration), Arc::new(keys));
        Ok(Known { read_at: Instant::now(), configuration, keys })
    }

    /// Exchanges the code of a sign-in for the statements about the person, and checks them.
    pub async fn person(
        &self,
        client: &dyn ProviderClient,
        pending: &PendingSignIn,
        code: &str,
        redirect_uri: &str,
        now: Timestamp,
    ) -> Result<Person, SignInError> {
        let known = self.known(client, CACHE_TTL).await?;
        let tokens = self.exchange(client, &known.configuration, pending, code, redirect_uri).await?;
        let claims = match verified_claims(&tokens.id_token, &known.keys) {
            // The provider may have a new key.
            Err(SignatureError::UnknownKey) => {
                let newest = self.known(client, Duration::ZERO).await?;
                verified_claims(&tokens.id_token, &newest.keys)
            }
            claims => claims,
        };
        let mut claims = claims.map_err(|error| SignInError::rejected(error.to_string()))?;
        let expected = ExpectedClaims {
            issuer: &self.settings.url,
            client_id: &self.settings.client_id,
            nonce: &pending.nonce,
            now,
        };
        let subject =
            check_claims(&claims, &expected).map_err(|error| SignInError::rejected(error.to_string()))?;
        let subject = subject.to_owned();
        if let (Some(url), Some(token)) = (&known.configuration.userinfo_endpoint, &tokens.access_token) {
            let info = get(client, url, Some(format!("Bearer {token}"))).await?;
            let info: Value = json(&info)?;
            if info.get("sub").and_then(Value::as_str) != Some(&subject) {
                return Err(SignInError::rejected("the details of the person are of another subject"));
            }
            if let (Some(claims), Some(info)) = (claims.as_object_mut(), info.as_object()) {
                // Whether an address is verified is stated with the address.
                if info.contains_key("email") {
                    claims.remove("email_verified");
                }
                claims.extend(info.clone());
            }
        }
        Ok(Person::from_claims(&subject, &claims, &self.settings.groups_claim))
    }

    async fn exchange(
        &self,
        client: &dyn ProviderClient,
        configuration: &Configuration,
        pending: &PendingSignIn,
        code: &str,
        redirect_uri: &str,
    ) -> Result<Tokens, SignInError> {
        let mut form = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.to_owned()),
            ("redirect_uri", redirect_uri.to_owned()),
            ("code_verifier", pending.verifier.clone()),
        ];
        let methods = configuration.token_endpoint_auth_methods_supported.as_ref();
        // RFC 8414: without a list, it is the header.
        let accepts_header = methods.is_none_or(|all| all.iter().any(|one| one == "client_secret_basic"));
        let client_id = &self.settings.client_id;
        let authorization = match &self.settings.client_secret {
            Some(secret) if accepts_header => {
                let encoded =
                    |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = format!("{}:{}", encoded(client_id), encoded(secret.expose()));
                Some(format!("Basic {}", STANDARD.encode(pair)))
            }
            Some(secret) => {
                form.push(("client_id", client_id.clone()));
                form.push(("client_secret", secret.expose().to_owned()));
                None
            }
            None => {
                form.push(("client_id", client_id.clone()));
                None
            }
        };
        let url = configuration.token_endpoint.clone();
        post(client, &ProviderRequest { url, form: Some(form), authorization }).await
    }
}

/// Reads something from a provider.
pub async fn get(
    client: &dyn ProviderClient,
    url: &str,
    authorization: Option<String>,
) -> Result<Vec<u8>, ProviderError> {
    let request = ProviderRequest { url: url.to_owned(), form: None, authorization };
    let url = request.url.clone();
    let reply = match client.send(&request).await {
        Ok(reply) => reply,
        Err(error) => return Err(ProviderError::Request { url, error }),
    };
    if reply.status == 200 {
        Ok(reply.body)
    } else {
        Err(ProviderError::Status { url, status: reply.status })
    }
}

/// Exchanges a code. The provider says which code is valid, and that it is the first use of it.
pub async fn post<T: DeserializeOwned>(
    client: &dyn ProviderClient,
    request: &ProviderRequest,
) -> Result<T, SignInError> {
    let url = &request.url;
    let reply =
        client.send(request).await.map_err(|error| ProviderError::Request { url: url.clone(), error })?;
    match reply.status {
        200 => json(&reply.body)
            .map_err(|error| SignInError::rejected(refusal(&reply).unwrap_or_else(|| error.to_string()))),
        400..500 => {
            let why = refusal(&reply).unwrap_or_else(|| "no reason given".to_owned());
            Err(SignInError::rejected(format!("{url} replied with {}: {why}", reply.status)))
        }
        status => Err(ProviderError::Status { url: url.clone(), status }.into()),
    }
}

/// Returns the error that the provider names (RFC 6749, section 5.2).
fn refusal(reply: &ProviderReply) -> Option<String> {
    let body: Value = serde_json::from_slice(&reply.body).ok()?;
    let error = body.get("error")?.as_str()?;
    Some(tidemill_core::text::printable(&error.chars().take(100).collect::<String>()))
}

/// Parses a reply. The reply itself may have tokens, and is in no error.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ProviderError> {
    let read = serde_json::from_slice(body);
    read.map_err(|error| ProviderError::Reply { line: error.line(), column: error.column() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{CACHE_TTL, Known, LastRead, NextStep, ProviderError, READ_INTERVAL};
    use serde_json::json;
    use std::{sync::Arc, time::Duration};
    use tokio::time::Instant;

    fn away() -> ProviderError {
        ProviderError::Status { url: "u".to_owned(), status: 503 }
    }

    fn known(read_at: Instant) -> Known {
        let configuration = serde_json::from_value(json!({
            "issuer": "i", "authorization_endpoint": "a", "token_endpoint": "t", "jwks_uri": "k",
        }));
        Known { read_at, configuration: Arc::new(configuration.unwrap()), keys: Arc::default() }
    }

    #[test]
    fn provider_that_is_away_is_asked_at_intervals() {
        let (start, mut last) = (Instant::now(), LastRead::default());
        let second = Duration::from_secs(1);
        assert!(matches!(last.next_step(start, CACHE_TTL), NextStep::Read));
        last.record(start, &Ok(known(start)));
        assert!(matches!(last.next_step(start + CACHE_TTL, CACHE_TTL), NextStep::Use(_)));
        // A token with an unknown key asks for newer keys, but not at any rate.
        assert!(matches!(last.next_step(start + READ_INTERVAL, Duration::ZERO), NextStep::Use(_)));
        let later = start + READ_INTERVAL + second;
        assert!(matches!(last.next_step(later, Duration::ZERO), NextStep::Read));
        last.record(later, &Err(away()));
        assert!(
            matches!(last.next_step(later + second, Duration::ZERO), NextStep::Fail(error) if error == away())
        );
        assert!(matches!(last.next_step(later + second, CACHE_TTL), NextStep::Use(_)), "it is still known");
        let late = start + CACHE_TTL + second;
        assert!(matches!(last.next_step(late, CACHE_TTL), NextStep::Read));
        last.record(late, &Err(away()));
        assert!(matches!(last.next_step(late + READ_INTERVAL, CACHE_TTL), NextStep::Fail(_)));
        let again = late + READ_INTERVAL + second;
        assert!(matches!(last.next_step(again, CACHE_TTL), NextStep::Read));
        last.record(again, &Ok(known(again)));
        assert!(matches!(last.next_step(again, CACHE_TTL), NextStep::Use(_)));
    }
}
