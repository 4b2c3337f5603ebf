//! The deployment's keys in Systems Manager's Parameter Store, as a SecureString: encrypted by KMS under the account's own key
//! for the Parameter Store, which costs nothing.

use super::failure::failed;
use async_trait::async_trait;
use aws_sdk_ssm::{
    Client,
    operation::{get_parameter::GetParameterError, put_parameter::PutParameterError},
    types::ParameterType,
};
use tidemill_services::error::{Error, Result};
use tidemill_services::ports::{Key, KeyStore, Keys};

/// Keys in a parameter, as [`Keys::read`] has them; it is made when it is first asked for.
#[derive(Debug, Clone)]
pub struct ParameterKeyStore {
    client: Client,
    name: Option<String>,
}

impl ParameterKeyStore {
    /// The keys in the parameter of this name; `None`: this deployment has none, and keeps no secrets.
    pub(super) const fn new(client: Client, name: Option<String>) -> Self {
        Self { client, name }
    }

    async fn read(&self, name: &str) -> Result<Option<Keys>> {
        let doing = "reading the key of secrets from the Parameter Store";
        let reply = match self.client.get_parameter().name(name).with_decryption(true).send().await {
            Ok(reply) => reply,
            Err(error) if error.as_service_error().is_some_and(GetParameterError::is_parameter_not_found) => {
                return Ok(None);
            }
            Err(error) => return Err(failed(doing, error)),
        };
        let text = reply.parameter.and_then(|parameter| parameter.value).unwrap_or_default();
        Keys::read(&text).map(Some).map_err(|wrong| Error::storage(doing, wrong))
    }
}

#[async_trait]
impl KeyStore for ParameterKeyStore {
    async fn keys(&self) -> Result<Keys> {
        let doing = "making the key of secrets in the Parameter Store";
        let Some(name) = &self.name else {
            return Err(Error::Invalid(
                "this deployment has no key for secrets; deploy its template again".into(),
            ));
        };
        if let Some(keys) = self.read(name).await? {
            return Ok(keys);
        }
        let key = Key::random().map_err(|error| Error::storage(doing, error))?;
        let put = self.client.put_parameter().name(name).r#type(ParameterType::SecureString);
        match put.value(Keys::from(key).text()).overwrite(false).send().await {
            Ok(_) => {}
            // Another function was faster, and its key counts.
            Err(error)
                if error.as_service_error().is_some_and(PutParameterError::is_parameter_already_exists) => {}
            Err(error) => return Err(failed(doing, error)),
        }
        self.read(name).await?.ok_or_else(|| Error::storage(doing, "it is gone again"))
    }
}
