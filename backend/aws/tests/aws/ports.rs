//! The AWS adapters keep the ports' contract, against an emulator over HTTP.
//!
//! `TIDEMILL_TEST_AWS_ENDPOINT` names it (`scripts/test` starts one). Each check has an account of its own there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use tidemill_testkit::cloud;

use tidemill_testkit::conformance::StoresUnderTest;

/// Set where the emulator has no DynamoDB: only the checks of queue and objects can be run there.
const WITHOUT_TABLE: &str = "TIDEMILL_TEST_AWS_WITHOUT_TABLE";

async fn subject() -> StoresUnderTest {
    let account = cloud::Account::new();
    let has_table = std::env::var_os(WITHOUT_TABLE).is_none();
    let names = if has_table { account.make().await } else { account.names().await };
    let sdk = account.sdk();
    StoresUnderTest::new(move |clock| {
        let stores = tidemill_aws::open_at(&sdk, names.clone(), clock).0;
        Box::pin(async move { stores })
    })
    .in_real_time()
}

/// Skips where there is no emulator, and says so.
macro_rules! with_emulator {
    () => {
        if !cloud::is_there() {
            return;
        }
    };
}

tidemill_testkit::conformance_suite!(@async subject().await, with_emulator!());
