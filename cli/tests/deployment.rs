//! The suite on deployments: a server on this machine, and one in the cloud.

mod server {
    crate::suite!(Some(crate::support::Backend::Server));
}

mod cloud {
    crate::suite!(crate::support::Backend::cloud());
}
