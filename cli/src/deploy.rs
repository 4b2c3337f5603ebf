//! Creates, updates and deletes deployments on AWS, with the user's credentials. Nothing else in Tidemill calls CloudFormation, and
//! nothing here reads or writes records.

pub mod account;
pub mod addresses;
pub mod adoption;
pub mod code;
pub mod data;
pub mod functions;
pub mod package;
pub mod parameters;
pub mod policy;
pub mod preflight;
pub mod preview;
pub mod program;
pub mod prompt;
mod signed;
pub mod stack;
pub mod tokens;
