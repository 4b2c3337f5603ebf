//! Wiring that the Lambda functions share: settings from the environment, the services over AWS, logs and metrics.

pub mod capacity;
pub mod settings;
pub mod telemetry;
pub mod wiring;

pub use settings::{Settings, SettingsError};
pub use wiring::FunctionContext;
