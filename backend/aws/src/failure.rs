//! Converts errors of the AWS SDKs to errors of the ports.

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use std::error::Error as StdError;
use tidemill_services::error::Error;

/// Returns a storage error for an SDK error; `doing` names the operation.
pub fn storage_error<E, R>(doing: &str, error: SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let code = error.code().map(|code| format!(" ({code})")).unwrap_or_default();
    Error::storage(format!("{doing}{code}"), DisplayErrorContext(error).to_string())
}
