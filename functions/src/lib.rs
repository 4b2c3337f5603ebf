//! Wiring that the Lambda functions share: settings from the environment, the services over AWS, logs and metrics.

pub mod authorizer;
pub mod settings;
pub mod telemetry;
pub mod wiring;
pub mod worker_group;

pub use settings::{Settings, SettingsError};
pub use wiring::FunctionContext;
