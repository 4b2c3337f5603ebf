//! The embedded adapters keep the ports' contract.

#![allow(clippy::unwrap_used)]

use tidemill_backend::{conformance::Subject, embedded};

fn subject() -> Subject {
    let directory = tempfile::tempdir().unwrap();
    Subject::new(move |clock| {
        let stores = embedded::open_at(directory.path(), clock).unwrap();
        Box::pin(async move { stores })
    })
}

tidemill_backend::conformance_suite!(subject());
tidemill_backend::exact_queue_suite!(subject());
