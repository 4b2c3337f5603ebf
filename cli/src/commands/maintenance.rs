//! Commands that keep a server running for years.

pub mod backup;
pub mod doctor;
pub mod gc;
pub mod pins;
pub mod retention;
