//! The adapters in memory keep the ports' contract, so that what is simulated over them holds elsewhere.

use tidemill_services::Stores;
use tidemill_testkit::conformance::StoresUnderTest;
use tidemill_testkit::memory;

fn subject() -> StoresUnderTest {
    // All opens are of one place.
    let place: std::sync::Arc<std::sync::OnceLock<Stores>> = std::sync::Arc::default();
    StoresUnderTest::new(move |clock| {
        let stores = place.get_or_init(|| memory::open(clock)).clone();
        Box::pin(async move { stores })
    })
}

tidemill_testkit::conformance_suite!(subject());
