//! The embedded adapters keep the ports' contract.

#![allow(clippy::unwrap_used)]

use tidemill_sqlite as embedded;
use tidemill_testkit::conformance::Subject;

fn subject() -> Subject {
    let directory = tempfile::tempdir().unwrap();
    Subject::new(move |clock| {
        let stores = embedded::open_at(directory.path(), clock).unwrap();
        Box::pin(async move { stores })
    })
}

tidemill_testkit::conformance_suite!(subject());
tidemill_testkit::exact_queue_suite!(subject());
