//! Logins at Amazon ECR with the worker's own credentials, on an emulator.
#![cfg(all(feature = "ecr", feature = "sqs"))]

use crate::support::ministack::MiniStack;
use tidemill_worker::engine::{JobLogins, RegistrySettings};

const IMAGE: &str = "000000000000.dkr.ecr.us-east-1.amazonaws.com/team/app:1";

#[tokio::test]
async fn credentials_of_the_worker_are_exchanged_for_a_login_at_ecr() {
    let Some(stack) = MiniStack::start().await else { return };
    let mut settings =
        RegistrySettings { aws: Some(stack.config().await.into()), ..RegistrySettings::default() };
    let search = settings.search(&JobLogins::default(), IMAGE).await;
    let login = search.login.unwrap_or_else(|| panic!("{:?}", search.problems));
    assert_eq!((login.user(), login.origin.as_str()), ("AWS", "the worker's credentials of AWS"));
    let password = login.credentials().password.unwrap();
    assert!(!password.is_empty() && !format!("{login:?}").contains(&password));

    // Any other login of the image takes precedence, and no other registry is given one.
    let own = r#"{"auths":{"000000000000.dkr.ecr.us-east-1.amazonaws.com":{"auth":"bWlsbDpzZWNyZXQ="}}}"#;
    settings.auth_config = Some(own.into());
    let search = settings.search(&JobLogins::default(), IMAGE).await;
    assert_eq!(search.login.unwrap().user(), "mill");
    let search = settings.search(&JobLogins::default(), "registry.example.org/team/app:1").await;
    assert!(search.login.is_none() && search.problems.is_empty(), "{:?}", search.problems);
}

#[tokio::test]
async fn ecr_that_does_not_answer_is_a_problem_and_no_login() {
    let Some(stack) = MiniStack::start().await else { return };
    let aws = stack.config().await.to_builder().endpoint_url("http://127.0.0.1:1/").build();
    let settings = RegistrySettings { aws: Some(aws.into()), ..RegistrySettings::default() };
    let search = settings.search(&JobLogins::default(), IMAGE).await;
    assert!(search.login.is_none());
    assert!(search.problems[0].starts_with("Amazon ECR cannot be reached"), "{:?}", search.problems);
}
