//! Reads EC2 notices from a fake metadata service, as the real one exists only on EC2.

use crate::support::metadata::Metadata;
use axum::http::StatusCode;
use std::time::Duration;
use tidemill_core::time::Timestamp;
use tidemill_worker::notices::{MetadataError, TerminationNotice, TerminationNotices};

async fn notices(metadata: &Metadata) -> TerminationNotices {
    TerminationNotices::connect(&metadata.url).await.unwrap().with_interval(Duration::from_millis(10))
}

async fn next(notices: &mut TerminationNotices) -> TerminationNotice {
    tokio::time::timeout(Duration::from_secs(60), notices.next()).await.expect("a notice arrives")
}

fn in_two_minutes() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(now.as_millis()).unwrap() + 120_000)
}

#[tokio::test]
async fn spot_notice_has_an_action_and_a_time() {
    let metadata = Metadata::start().await;
    let mut notices = notices(&metadata).await;
    let silence = tokio::time::timeout(Duration::from_millis(200), notices.next());
    assert!(silence.await.is_err(), "no notice yet");
    assert!(metadata.calls() >= 4, "the service is polled");
    metadata
        .set("spot/instance-action", &format!(r#"{{"action":"terminate","time":"{}"}}"#, in_two_minutes()));
    let notice = next(&mut notices).await;
    let remaining = notice.time_left().unwrap().as_secs();
    assert!((30..=120).contains(&remaining), "{notice:?}");
    assert!(notice.to_string().starts_with("EC2 will terminate this spot instance in"), "{notice}");
}

#[tokio::test]
async fn scale_in_is_the_target_state_terminated_only() {
    let metadata = Metadata::start().await;
    metadata.set("autoscaling/target-lifecycle-state", "InService");
    let mut notices = notices(&metadata).await;
    assert!(tokio::time::timeout(Duration::from_millis(200), notices.next()).await.is_err());
    metadata.set("autoscaling/target-lifecycle-state", "Terminated");
    assert_eq!(next(&mut notices).await, TerminationNotice::ScaleIn);
}

#[tokio::test]
async fn expired_session_is_renewed_and_errors_are_retried() {
    let metadata = Metadata::start().await;
    let mut notices = notices(&metadata).await;
    metadata.end_sessions();
    metadata.answer(Some(StatusCode::INTERNAL_SERVER_ERROR));
    assert!(tokio::time::timeout(Duration::from_millis(200), notices.next()).await.is_err());
    metadata.answer(None);
    metadata.set("autoscaling/target-lifecycle-state", "Terminated");
    assert_eq!(next(&mut notices).await, TerminationNotice::ScaleIn);
    assert!(metadata.sessions() >= 2);
}

#[tokio::test]
async fn missing_metadata_service_is_an_error_within_seconds() {
    let started = std::time::Instant::now();
    let error = TerminationNotices::connect("http://127.0.0.1:1").await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1/latest/api/token"), "{error}");
    // A server that accepts the connection and sends nothing, as on some networks.
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let error =
        TerminationNotices::connect(&format!("http://{}", silent.local_addr().unwrap())).await.unwrap_err();
    assert!(matches!(error, MetadataError::Timeout(_)), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30));
}
