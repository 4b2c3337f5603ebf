//! What `deploy` and `destroy` do on AWS, with the credentials of whoever runs them. Nothing else of Tidemill calls
//! CloudFormation, and nothing here touches records: this makes, changes and removes what those live in.

pub mod account;
pub mod code;
pub mod data;
pub mod functions;
pub mod package;
pub mod parameters;
pub mod program;
pub mod prompt;
pub mod stack;
pub mod tokens;
