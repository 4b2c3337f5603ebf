//! The two steps of a sign-in: the browser goes to the provider, and comes back with a code.

use super::{
    failure::{ProviderError, SignInError},
    git_provider::GitProvider,
    openid::OpenIdProvider,
    settings::ProviderSettings,
};
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{ProviderClient, is_provider_address},
    seal::SecretSealer,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use std::{
    fmt,
    sync::{Arc, OnceLock},
};
use subtle::ConstantTimeEq;
use tidemill_core::{
    access::{
        provider::ProviderKind,
        roles::Person,
        sessions::challenge_of,
        sign_in::{PendingSignIn, ProviderView, SignInFailure, return_path},
    },
    api::path,
    text::printable,
};
use url::Url;

/// The place that the cookie of a sign-in is sealed for.
const SEALED_FOR: &str = "sign-in";
/// Maximum length of a code in bytes.
const MAX_CODE_LEN: usize = 4_096;

/// What a provider adds to the address of [`path::SIGN_IN_REPLY`].
#[derive(Debug, Default, Deserialize)]
pub struct ProviderAnswer {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

/// How a sign-in begins.
#[derive(Debug)]
pub struct BegunSignIn {
    /// The address at the provider.
    pub address: String,
    /// Value of the cookie that the browser keeps until it comes back.
    pub cookie: String,
}

enum Provider {
    OpenId(OpenIdProvider),
    Git(GitProvider),
}

struct Configured {
    providers: Vec<(ProviderSettings, Provider)>,
    client: Arc<dyn ProviderClient>,
}

/// Service for signing in.
#[derive(Clone)]
pub struct SignInService {
    context: Arc<Context>,
    seal: SecretSealer,
    configured: Arc<OnceLock<Configured>>,
}

impl fmt::Debug for SignInService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignInService")
    }
}

impl SignInService {
    pub(crate) fn new(context: Arc<Context>, seal: SecretSealer) -> Self {
        Self { context, seal, configured: Arc::default() }
    }

    /// Lets people sign in with these providers; only the first call has an effect.
    pub(crate) fn enable(
        &self,
        providers: Vec<ProviderSettings>,
        client: Arc<dyn ProviderClient>,
    ) -> Result<()> {
        let Some(address) = self.context.public_url() else {
            return Err(Error::Invalid(
                "the server has no public address, which signing in needs; set --public-url".into(),
            ));
        };
        // Codes and cookies travel to this address.
        if !is_server_address(address) {
            return Err(Error::Invalid(format!(
                "people cannot sign in at `{address}`: set --public-url to an https:// address, or to an http:// address of this \
                 machine"
            )));
        }
        let providers = providers.into_iter().map(|settings| {
            let provider = match settings.kind {
                ProviderKind::Oidc => Provider::OpenId(OpenIdProvider::new(settings.clone())),
                ProviderKind::Github | ProviderKind::Gitlab | ProviderKind::Gitea => {
                    Provider::Git(GitProvider::new(settings.clone()))
                }
            };
            (settings, provider)
        });
        let _ = self.configured.set(Configured { providers: providers.collect(), client });
        Ok(())
    }

    /// Returns the ways to sign in.
    pub fn providers(&self) -> Vec<ProviderView> {
        let all = self.configured.get().map(|configured| configured.providers.as_slice()).unwrap_or_default();
        all.iter().map(|(settings, _)| ProviderView { id: settings.kind, name: settings.name() }).collect()
    }

    /// Returns the address of this server, without a slash at its end, if people can sign in there: it uses TLS, or is one of this
    /// machine.
    pub(crate) fn public_url(&self) -> Result<&str> {
        let address = self.configured.get().and_then(|_| self.context.public_url());
        address.ok_or_else(|| {
            Error::NotFound("this server has no way to sign in; use a token, or configure a provider".into())
        })
    }

    fn provider(&self, kind: ProviderKind) -> Result<(&Configured, &ProviderSettings, &Provider)> {
        let found = self.configured.get().and_then(|configured| {
            let (settings, provider) = configured.providers.iter().find(|(one, _)| one.kind == kind)?;
            Some((configured, settings, provider))
        });
        found.ok_or_else(|| Error::NotFound(format!("this server has no sign-in with {}", kind.as_str())))
    }

    fn redirect_uri(&self) -> Result<String> {
        Ok(format!("{}{}", self.public_url()?, path::SIGN_IN_REPLY))
    }

    /// Begins a sign-in. The browser goes to the address, and keeps the cookie.
    pub(crate) async fn begin(
        &self,
        kind: ProviderKind,
        return_to: Option<&str>,
    ) -> Result<BegunSignIn, SignInError> {
        let (configured, settings, provider) = self.provider(kind).map_err(SignInError::Service)?;
        let (endpoint, scopes) = match provider {
            Provider::OpenId(provider) => {
                let (configuration, scopes) = provider.configuration(&*configured.client).await?;
                (configuration.authorization_endpoint.clone(), scopes)
            }
            Provider::Git(provider) => provider.authorization(),
        };
        let random = || random_text().map_err(SignInError::Service);
        let pending = PendingSignIn {
            provider: kind,
            state: random()?,
            nonce: random()?,
            verifier: random()?,
            return_to: return_path(return_to).to_owned(),
            began_at: self.context.now(),
        };
        let redirect_uri = self.redirect_uri().map_err(SignInError::Service)?;
        let mut address = Url::parse(&endpoint).map_err(|_| ProviderError::Address(endpoint.clone()))?;
        address
            .query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &settings.client_id)
            .append_pair("redirect_uri", &redirect_uri)
            .append_pair("scope", scopes)
            .append_pair("state", &pending.state)
            .append_pair("code_challenge", &challenge_of(&pending.verifier))
            .append_pair("code_challenge_method", "S256");
        if kind == ProviderKind::Oidc {
            address.query_pairs_mut().append_pair("nonce", &pending.nonce);
        }
        let plain = serde_json::to_vec(&pending)
            .map_err(|error| SignInError::Service(Error::storage("sealing a sign-in", error)))?;
        let cookie = self.seal.seal(SEALED_FOR, &plain).await.map_err(SignInError::Service)?;
        Ok(BegunSignIn { address: address.into(), cookie })
    }

    /// Ends a sign-in: returns the person, and the path to go to.
    pub(crate) async fn finish(
        &self,
        cookie: Option<&str>,
        answer: &ProviderAnswer,
    ) -> Result<(Person, String), SignInError> {
        let failed = |failure, detail: &str| SignInError::Failed(failure, detail.to_owned());
        let cookie = cookie.ok_or_else(|| {
            failed(
                SignInFailure::Expired,
                "the browser sent no cookie of a sign-in, or another address of the server was used",
            )
        })?;
        let pending = self.pending(cookie).await?;
        if pending.is_expired(self.context.now()) {
            return Err(failed(SignInFailure::Expired, "the sign-in took more than 10 minutes"));
        }
        let state = answer.state.as_deref().unwrap_or_default();
        if !bool::from(state.as_bytes().ct_eq(pending.state.as_bytes())) {
            return Err(failed(SignInFailure::Mismatch, "the state is not that of the browser's sign-in"));
        }
        let (configured, settings, provider) =
            self.provider(pending.provider).map_err(SignInError::Service)?;
        // RFC 9207: the reply of another provider.
        if settings.kind == ProviderKind::Oidc && answer.iss.as_ref().is_some_and(|iss| *iss != settings.url)
        {
            return Err(failed(SignInFailure::Mismatch, "the reply is of another issuer"));
        }
        if let Some(error) = &answer.error {
            let error = printable(&error.chars().take(100).collect::<String>());
            return Err(SignInError::Failed(
                SignInFailure::Denied,
                format!("the provider replied with `{error}`"),
            ));
        }
        let code = answer.code.as_deref().filter(|code| (1..=MAX_CODE_LEN).contains(&code.len()));
        let code = code.ok_or_else(|| failed(SignInFailure::Provider, "the provider sent no code"))?;
        let redirect_uri = self.redirect_uri().map_err(SignInError::Service)?;
        let client = &*configured.client;
        let person = match provider {
            Provider::OpenId(provider) => {
                provider.person(client, &pending, code, &redirect_uri, self.context.now()).await?
            }
            Provider::Git(provider) => provider.person(client, &pending, code, &redirect_uri).await?,
        };
        Ok((person, pending.return_to))
    }

    async fn pending(&self, cookie: &str) -> Result<PendingSignIn, SignInError> {
        let plain = match self.seal.open(SEALED_FOR, cookie).await {
            Ok(plain) => plain,
            Err(Error::CannotOpen(detail)) => {
                return Err(SignInError::Failed(
                    SignInFailure::Expired,
                    format!("the browser's cookie: {detail}"),
                ));
            }
            Err(error) => return Err(SignInError::Service(error)),
        };
        serde_json::from_slice(&plain).map_err(|error| {
            SignInError::Failed(
                SignInFailure::Expired,
                format!("the browser's cookie is of another version: {error}"),
            )
        })
    }
}

/// Whether cookies may be sent to a server at this address.
fn is_server_address(address: &str) -> bool {
    is_provider_address(address) && Url::parse(address).is_ok_and(|url| url.query().is_none())
}

/// Returns 256 random bits in base64url.
fn random_text() -> Result<String> {
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random).map_err(|error| Error::storage("beginning a sign-in", error))?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}
