//! The suite where jobs run on a deployment: a server of this machine, and one in a cloud.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod suite;
mod support;

mod server {
    crate::suite!(Some(crate::support::Backend::Server));
}

mod cloud {
    crate::suite!(crate::support::Backend::cloud());
}
