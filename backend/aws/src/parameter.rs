//! Stores the deployment's keys in the Parameter Store of Systems Manager, as a SecureString. KMS encrypts it under the
//! account's key for the Parameter Store, which is free of charge.

use super::failure::storage_error;
use async_trait::async_trait;
use aws_sdk_ssm::{
    Client,
    operation::{get_parameter::GetParameterError, put_parameter::PutParameterError},
    types::ParameterType,
};
use tidemill_services::error::{Error, Result};
use tidemill_services::ports::{Key, KeyStore, Keys};

/// Keys in a parameter, in the format of [`Keys::read`]. The parameter is created on first use.
#[derive(Debug, Clone)]
pub struct ParameterKeyStore {
    client: Client,
    name: Option<String>,
}

impl ParameterKeyStore {
    /// Creates a store over the parameter with this name; `None`: the deployment has no parameter and stores no secrets.
    pub(super) const fn new(client: Client, name: Option<String>) -> Self {
        Self { client, name }
    }

    async fn read(&self, name: &str) -> Result<Option<Keys>> {
        let doing = "reading the encryption key from the Parameter Store";
        let reply = match self.client.get_parameter().name(name).with_decryption(true).send().await {
            Ok(reply) => reply,
            Err(error) if error.as_service_error().is_some_and(GetParameterError::is_parameter_not_found) => {
                return Ok(None);
            }
            Err(error) => return Err(storage_error(doing, error)),
        };
        let text = reply.parameter.and_then(|parameter| parameter.value).unwrap_or_default();
        Keys::parse(&text).map(Some).map_err(|error| Error::storage(doing, error))
    }
}

#[async_trait]
impl KeyStore for ParameterKeyStore {
    async fn keys(&self) -> Result<Keys> {
        let doing = "creating the encryption key in the Parameter Store";
        let Some(name) = &self.name else {
            return Err(Error::Invalid(
                "this deployment has no parameter for the encryption key of secrets; run `tidemill deploy` to update it".into(),
            ));
        };
        if let Some(keys) = self.read(name).await? {
            return Ok(keys);
        }
        let key = Key::random().map_err(|error| Error::storage(doing, error))?;
        let put = self.client.put_parameter().name(name).r#type(ParameterType::SecureString);
        match put.value(Keys::from(key).to_text()).overwrite(false).send().await {
            Ok(_) => {}
            // Another process created the key first; its key is used.
            Err(error)
                if error.as_service_error().is_some_and(PutParameterError::is_parameter_already_exists) => {}
            Err(error) => return Err(storage_error(doing, error)),
        }
        self.read(name)
            .await?
            .ok_or_else(|| Error::storage(doing, "the parameter was deleted after its creation"))
    }
}
