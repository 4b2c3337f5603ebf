//! Runs the conformance suite with the embedded adapters.

#![allow(clippy::unwrap_used)]

use tidemill_testkit::conformance::StoresUnderTest;

fn stores_under_test() -> StoresUnderTest {
    let directory = tempfile::tempdir().unwrap();
    StoresUnderTest::new(move |clock| {
        let stores = tidemill_sqlite::open_at(directory.path(), clock).unwrap();
        Box::pin(async move { stores })
    })
}

tidemill_testkit::conformance_suite!(stores_under_test());
tidemill_testkit::exact_queue_suite!(stores_under_test());
