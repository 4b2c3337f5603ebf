//! ID tokens that a job asks for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum number of ID tokens of a job, and of audiences of one.
pub const MAX_ID_TOKENS: usize = 10;

/// Maximum length of an audience in bytes.
pub const MAX_AUDIENCE_LEN: usize = 500;

/// An ID token that a job asks for: the server signs it when the job starts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct IdTokenRequest {
    /// The environment variable that holds it.
    pub variable: String,
    /// For whom it is. Each may hold `${NAME}` references that are known when the execution is planned.
    pub aud: Vec<String>,
}
