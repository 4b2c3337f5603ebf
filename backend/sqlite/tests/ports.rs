//! The embedded adapters keep the ports' contract.

#![allow(clippy::unwrap_used)]

use tidemill_testkit::conformance::StoresUnderTest;

fn subject() -> StoresUnderTest {
    let directory = tempfile::tempdir().unwrap();
    StoresUnderTest::new(move |clock| {
        let stores = tidemill_sqlite::open_at(directory.path(), clock).unwrap();
        Box::pin(async move { stores })
    })
}

tidemill_testkit::conformance_suite!(subject());
tidemill_testkit::exact_queue_suite!(subject());
