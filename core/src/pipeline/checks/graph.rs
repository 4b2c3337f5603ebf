//! Checks which jobs wait for which.

mod cycles;
pub(crate) mod dependencies;
pub(crate) mod environments;
pub(crate) mod needs;
pub(crate) mod outputs;
