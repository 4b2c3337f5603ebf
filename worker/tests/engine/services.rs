//! Readiness and names of services.

use super::{Bench, docker, job, kind, service};
use tidemill_core::{
    execution::{
        assignment::{PullPolicy, Service},
        failure::FailureKind,
    },
    pipeline::Health,
};

/// Returns an image of the test image with these lines of a Dockerfile.
fn image(name: &str, lines: &str) -> String {
    let base = job(&[]).preparation.image;
    let tag = format!("tidemill-test-{name}:1");
    let file = tempfile::tempdir().unwrap();
    std::fs::write(file.path().join("Dockerfile"), format!("FROM {base}\n{lines}\n")).unwrap();
    docker(&["build", "-q", "-t", &tag, file.path().to_str().unwrap()]);
    tag
}

/// Returns a service of the image's own command.
fn of_image(image: &str, alias: &[&str]) -> Service {
    Service {
        image: image.to_owned(),
        alias: alias.iter().map(|&name| name.to_owned()).collect(),
        ready_within_s: 30,
        ..Service::default()
    }
}

fn web(port: u16, delay: &str) -> String {
    format!("sleep {delay}; mkdir -p /w; echo page >/w/index.html; exec httpd -f -p {port} -h /w")
}

#[tokio::test]
async fn exposed_port_of_an_image_is_awaited() {
    let mut bench = Bench::start().await;
    let slow = image("exposed", &format!("EXPOSE 8080\nCMD [\"sh\", \"-c\", \"{}\"]", web(8080, "2")));
    let mut served = job(&["wget -qO- http://web:8080/"]);
    served.extras.services = vec![of_image(&slow, &["web"])];
    let (end, log) = bench.run(served).await;
    assert!(end.failure.is_none() && log.contains("page\n") && !log.contains("warning"), "{log}");

    // One of its two ports is never open.
    let half = image("half", &format!("EXPOSE 8080 9090\nCMD [\"sh\", \"-c\", \"{}\"]", web(9090, "1")));
    let mut served = job(&["wget -qO- http://web:9090/"]);
    served.extras.services = vec![of_image(&half, &["web"])];
    let (end, log) = bench.run(served).await;
    assert!(end.failure.is_none() && log.contains("page\n") && !log.contains("warning"), "{log}");
    bench.stop().await;
}

#[tokio::test]
async fn failing_health_check_of_an_image_outweighs_its_open_port() {
    let mut bench = Bench::start().await;
    let command = "httpd -p 8080 -h /; sleep 3; touch /passes; exec sleep 60";
    let checked = image(
        "checked",
        &format!(
            "EXPOSE 8080\nHEALTHCHECK --interval=1s CMD test -e /passes\nCMD [\"sh\", \"-c\", \"sleep 1.5; {command}\"]"
        ),
    );
    let mut served = job(&["wget -qO- http://web:8080/passes && echo passed"]);
    served.extras.services = vec![of_image(&checked, &["web"])];
    let (end, log) = bench.run(served).await;
    assert!(end.failure.is_none() && log.contains("passed\n"), "{log}");
    bench.stop().await;
}

#[tokio::test]
async fn services_reach_each_other_by_name() {
    let mut bench = Bench::start().await;
    let asks = "for i in $(seq 100); do nc second 5000 </dev/null && break; sleep 0.1; done; echo asked; exec sleep 60";
    let answers = "while :; do echo answer | nc -l -p 5000; done";
    let mut first = service("first", asks, None);
    first.command = Some(vec!["-c".into(), format!("({asks}) >/tmp/log 2>&1 & exec httpd -f -p 80 -h /tmp")]);
    let second = service("second", answers, None);
    let mut served = job(&[
        "for i in $(seq 100); do wget -qO- http://first/log 2>/dev/null | grep asked && break; sleep 0.1; done",
        "wget -qO- http://first/log; nc team__second 5000 </dev/null",
    ]);
    served.extras.services =
        vec![first, Service { alias: vec!["second".into(), "team__second".into()], ..second }];
    let (end, log) = bench.run(served).await;
    assert_eq!(end.exit_code, Some(0), "{log}");
    assert!(log.contains("asked\n") && log.matches("answer\n").count() >= 2, "{log}");
    bench.stop().await;
}

#[tokio::test]
async fn service_that_ends_while_the_script_runs_is_a_warning_or_an_error() {
    let mut bench = Bench::start().await;
    let ends = service("db", "sleep 1; echo oh no; exit 3", None);
    let script = ["sleep 3; echo done"];
    let mut warned = job(&script);
    warned.extras.services = vec![Service { required: false, ..ends.clone() }];
    let (end, log) = bench.run(warned).await;
    assert!(end.failure.is_none(), "{end:?} {log}");
    let (_, after) = log.split_once("done\n").unwrap();
    assert!(after.contains("warning: the service `db` ended with exit code 3 while the script ran"), "{log}");
    assert!(after.contains("oh no\n"), "{log}");

    let mut fails = job(&script);
    fails.extras.services = vec![ends.clone()];
    let (end, log) = bench.run(fails).await;
    assert_eq!(kind(&end), Some(FailureKind::ServiceFailed), "{log}");
    assert!(log.contains("done\n") && log.matches("oh no\n").count() == 1, "{log}");

    // The failure of the script is the job's.
    let mut both = job(&["sleep 3; exit 4"]);
    both.extras.services = vec![ends];
    let (end, log) = bench.run(both).await;
    assert_eq!((kind(&end), end.exit_code), (Some(FailureKind::ScriptFailed), Some(4)), "{log}");
    assert_eq!(
        (log.matches("while the script ran").count(), log.matches("oh no\n").count()),
        (1, 1),
        "{log}"
    );
    bench.stop().await;
}

#[tokio::test]
async fn service_with_a_missing_program_names_it() {
    let mut bench = Bench::start().await;
    let mut fails = job(&["echo never"]);
    fails.extras.services =
        vec![Service { entrypoint: Some(vec!["no-such-program".into()]), ..service("db", "", None) }];
    let (end, log) = bench.run(fails).await;
    assert_eq!(kind(&end), Some(FailureKind::ServiceFailed), "{log}");
    let message = end.failure.unwrap().message;
    assert!(message.contains("the service `db`") && message.contains("no-such-program"), "{message}");
    bench.stop().await;
}

#[tokio::test]
async fn service_runs_as_its_user_and_only_on_its_platform() {
    let mut bench = Bench::start().await;
    let command =
        "mkdir /tmp/w && id -u >/tmp/w/user && id -g >/tmp/w/group && exec httpd -f -p 8080 -h /tmp/w";
    let web = Service { user: Some("1234:4321".into()), ..service("web", command, Some(Health::Port(8080))) };
    let mut served = job(&["wget -qO- http://web:8080/user; wget -qO- http://web:8080/group"]);
    served.extras.services = vec![web.clone()];
    let (end, log) = bench.run(served).await;
    assert!(end.failure.is_none() && log.ends_with("1234\n4321\n"), "{log}");

    let mut unknown = job(&["echo never"]);
    unknown.extras.services = vec![Service { user: Some("nobody-knows".into()), ..web.clone() }];
    let (end, log) = bench.run(unknown).await;
    assert_eq!(kind(&end), Some(FailureKind::ServiceFailed), "{log}");
    let message = end.failure.unwrap().message;
    assert!(message.contains("the service `web`") && message.contains("nobody-knows"), "{message}");

    let mut foreign = job(&["echo never"]);
    let (platform, pull_policy) = (Some("linux/s390x".into()), Some(PullPolicy::Never));
    foreign.extras.services = vec![Service { platform, pull_policy, ..web }];
    let (end, log) = bench.run(foreign).await;
    assert_eq!(kind(&end), Some(FailureKind::ImageUnavailable), "{log}");
    let message = end.failure.unwrap().message;
    assert!(message.contains("not for `linux/s390x`"), "{message}");
    bench.stop().await;
}
