//! Ports that the machine itself implements: clock, random ids and HTTP.

pub(crate) mod clock;
pub(crate) mod ids;
pub(crate) mod messenger;
