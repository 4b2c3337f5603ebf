//! Runs the conformance suite on the AWS adapters, against an emulator over HTTP.
//!
//! `TIDEMILL_TEST_AWS_ENDPOINT` is the emulator's endpoint (`scripts/test` starts one). Each check uses its own account.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use tidemill_testkit::cloud;

use tidemill_testkit::conformance::StoresUnderTest;

async fn subject() -> StoresUnderTest {
    let account = cloud::Account::new();
    let names = account.create_resources().await;
    let sdk = account.sdk();
    StoresUnderTest::new(move |clock| {
        let stores = tidemill_aws::open_with_clock(&sdk, names.clone(), clock).0;
        Box::pin(async move { stores })
    })
    .in_real_time()
}

/// Skips the test without an emulator.
macro_rules! with_emulator {
    () => {
        if !cloud::is_available() {
            return;
        }
    };
}

tidemill_testkit::conformance_suite!(@async subject().await, with_emulator!());
