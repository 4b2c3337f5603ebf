//! Wiring that the functions share.
