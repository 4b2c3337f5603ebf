//! Logins at Amazon ECR, for which the worker's own credentials are exchanged: those of its machine's role, of a profile or of
//! its environment.
//!
//! One call of the API, `GetAuthorizationToken`, is signed here; the SDK of ECR would be a crate of its own for it.

use super::docker_config::Account;
use crate::client::{HttpClient, HttpError, format_causes, read_body};
use aws_config::{Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningError, SigningSettings, sign},
    sign::v4,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Request, header::CONTENT_TYPE};
use serde::Deserialize;
use std::time::{Duration, SystemTime};

/// The operation, as ECR expects it.
const TARGET: (&str, &str) = ("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken");
const JSON: &str = "application/x-amz-json-1.1";
/// Maximum time for credentials and the call.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of a reply in bytes.
const MAX_REPLY_BYTES: u64 = 64 << 10;
/// Maximum characters of a message of ECR that are shown.
const MAX_MESSAGE_CHARS: usize = 300;

/// Why ECR gave no login. Never contains a part of a login.
#[derive(Debug, thiserror::Error)]
pub enum EcrError {
    /// There are none, or their source does not answer.
    #[error("this worker has no credentials of AWS: {0}")]
    Credentials(String),
    /// The request could not be signed.
    #[error("the request for a login could not be signed: {0}")]
    Signing(String),
    /// ECR did not answer.
    #[error("Amazon ECR cannot be reached: {0}")]
    Http(#[from] HttpError),
    /// It took too long.
    #[error("Amazon ECR gave no login within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// ECR refused.
    #[error("Amazon ECR refused a login with status {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The message of ECR.
        message: String,
    },
    /// The reply has no login.
    #[error("the reply of Amazon ECR has no login")]
    Garbage,
}

impl From<SigningError> for EcrError {
    fn from(error: SigningError) -> Self {
        Self::Signing(format_causes(&error))
    }
}

/// A private registry of ECR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EcrRegistry {
    account: String,
    region: String,
    endpoint: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    authorization_data: Vec<Authorization>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authorization {
    authorization_token: String,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(alias = "Message")]
    message: String,
}

impl EcrRegistry {
    /// Returns the registry at `host`, as in `111122223333.dkr.ecr.eu-west-1.amazonaws.com`; `None` if it is another one.
    pub fn of_host(host: &str) -> Option<Self> {
        let mut parts = host.splitn(5, '.');
        let (account, dkr, service, region, domain) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        let is_region = region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let prefix = match service {
            "ecr" => "api.ecr",
            "ecr-fips" => "ecr-fips",
            _ => return None,
        };
        let is_of_aws = matches!(domain, "amazonaws.com" | "amazonaws.com.cn");
        (is_account && dkr == "dkr" && is_region && is_of_aws).then(|| Self {
            account: account.to_owned(),
            region: region.to_owned(),
            endpoint: format!("https://{prefix}.{region}.{domain}/"),
        })
    }

    /// Exchanges the credentials of `aws`, by default those of the process, for a login.
    pub async fn login(&self, aws: Option<&SdkConfig>) -> Result<Account, EcrError> {
        let exchange = async {
            match aws {
                Some(aws) => self.exchange(aws).await,
                None => self.exchange(&self.load_config().await).await,
            }
        };
        tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| EcrError::Timeout)?
    }

    async fn load_config(&self) -> SdkConfig {
        use aws_smithy_http_client::{Builder, tls};
        let http = Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .build_https();
        aws_config::from_env().http_client(http).region(Region::new(self.region.clone())).load().await
    }

    async fn exchange(&self, aws: &SdkConfig) -> Result<Account, EcrError> {
        let provider = aws.credentials_provider();
        let provider = provider.ok_or_else(|| EcrError::Credentials("none are configured".to_owned()))?;
        let credentials = provider.provide_credentials().await;
        let identity = credentials.map_err(|error| EcrError::Credentials(format_causes(&error)))?.into();
        let url = aws.endpoint_url().unwrap_or(&self.endpoint);
        let body = serde_json::json!({ "registryIds": [self.account] }).to_string();
        let headers = [(CONTENT_TYPE.as_str(), JSON), TARGET];
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("ecr")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| EcrError::Signing(format_causes(&error)))?
            .into();
        let signable =
            SignableRequest::new("POST", url, headers.into_iter(), SignableBody::Bytes(body.as_bytes()))?;
        let (signature, _) = sign(signable, &params)?.into_parts();
        let mut request = Request::post(url);
        for (name, value) in headers.into_iter().chain(signature.headers()) {
            request = request.header(name, value);
        }
        let request = request.body(body.into()).map_err(|_| EcrError::Http(HttpError::Address))?;
        let reply = HttpClient::new(None).send(request).await?;
        let status = reply.status();
        let body = read_body(reply, MAX_REPLY_BYTES).await?;
        if !status.is_success() {
            let refusal = serde_json::from_slice::<Refusal>(&body).ok();
            let message = refusal.map_or_else(|| "no reason".to_owned(), |refusal| refusal.message);
            let message = message.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE_CHARS).collect();
            return Err(EcrError::Refused { status: status.as_u16(), message });
        }
        account_of(&body).ok_or(EcrError::Garbage)
    }
}

/// Returns the login in a reply: the base64 of a user and a password.
fn account_of(body: &[u8]) -> Option<Account> {
    let reply: Reply = serde_json::from_slice(body).ok()?;
    let token = STANDARD.decode(&reply.authorization_data.first()?.authorization_token).ok()?;
    let (username, password) = std::str::from_utf8(&token).ok()?.split_once(':')?;
    let is_complete = !username.is_empty() && !password.is_empty();
    is_complete.then(|| Account::Password { username: username.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Account, EcrRegistry, account_of};

    #[test]
    fn only_private_registries_of_ecr_are_recognized() {
        for (host, endpoint) in [
            ("111122223333.dkr.ecr.eu-west-1.amazonaws.com", "https://api.ecr.eu-west-1.amazonaws.com/"),
            (
                "111122223333.dkr.ecr-fips.us-east-1.amazonaws.com",
                "https://ecr-fips.us-east-1.amazonaws.com/",
            ),
            (
                "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn",
                "https://api.ecr.cn-north-1.amazonaws.com.cn/",
            ),
        ] {
            let registry = EcrRegistry::of_host(host).unwrap();
            assert_eq!((registry.account.as_str(), registry.endpoint.as_str()), ("111122223333", endpoint));
        }
        for host in [
            "public.ecr.aws",
            "1111.dkr.ecr.eu-west-1.amazonaws.com",
            "111122223333.dkr.ecr.eu-west-1.amazonaws.com.example.org",
            "111122223333.dkr.ecr.evil/x.amazonaws.com",
            "111122223333.dkr.s3.eu-west-1.amazonaws.com",
            "docker.io",
            "127.0.0.1:5000",
        ] {
            assert_eq!(EcrRegistry::of_host(host), None, "{host}");
        }
    }

    #[test]
    fn reply_without_a_whole_login_is_refused() {
        let reply = |token: &str| format!(r#"{{"authorizationData":[{{"authorizationToken":"{token}"}}]}}"#);
        let account = account_of(reply("QVdTOnRva2Vu").as_bytes());
        let expected = Account::Password { username: "AWS".into(), password: "token".into() };
        assert!(account == Some(expected));
        for reply in
            [reply("QVdTOg=="), reply("?"), reply(""), "{\"authorizationData\":[]}".into(), "{}".into()]
        {
            assert!(account_of(reply.as_bytes()).is_none(), "{reply}");
        }
    }
}
