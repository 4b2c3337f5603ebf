//! Runs the conformance suite on the adapters in memory, so that simulations over them apply to other adapters.

use tidemill_services::Stores;
use tidemill_testkit::conformance::StoresUnderTest;
use tidemill_testkit::memory;

fn subject() -> StoresUnderTest {
    // All handles share one set of stores.
    let shared: std::sync::Arc<std::sync::OnceLock<Stores>> = std::sync::Arc::default();
    StoresUnderTest::new(move |clock| {
        let stores = shared.get_or_init(|| memory::open(clock)).clone();
        Box::pin(async move { stores })
    })
}

tidemill_testkit::conformance_suite!(subject());

#[tokio::test]
async fn undeletable_cache_does_not_stop_eviction() {
    // Not among the checks of all adapters, some of which share a store.
    let subject = subject();
    Box::pin(tidemill_testkit::conformance::caches::undeletable_cache_does_not_stop_eviction(&subject)).await;
}
