//! The suite on deployments: a server on this machine, and one in the cloud.

mod server {
    crate::suite!(server, Some(crate::support::Backend::Server));
}

mod cloud {
    crate::suite!(cloud, crate::support::Backend::cloud());
}
