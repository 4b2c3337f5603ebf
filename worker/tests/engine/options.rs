//! What jobs ask of their containers, and what every job of a worker gets.

use super::{Bench, docker, job, jobs_of_execution, kind, service};
use tidemill_core::execution::{
    assignment::{Assignment, ContainerOptions, Origin, PullPolicy},
    failure::FailureKind,
};
use tidemill_worker::policy::{
    Allowance, HostMount, JobSettings, Permissions, Proxies, SeccompProfile, TrustedRepositories,
};

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nOUR-OWN\n-----END CERTIFICATE-----\n";

/// The bit of the capability `NET_RAW`, capabilities(7). It is one that an engine in a container has as well.
const NET_RAW: u64 = 1 << 13;

/// Returns a job with these options.
fn asking(options: serde_json::Value, script: &[&str]) -> Assignment {
    let mut asking = job(script);
    asking.preparation.container = serde_json::from_value(options).unwrap();
    asking
}

fn origin(repository: &str, is_fork: bool) -> Origin {
    Origin { repository: repository.into(), is_fork }
}

#[tokio::test]
async fn safe_options_apply_to_the_container() {
    let mut bench = Bench::start().await;
    let options = serde_json::json!({
        "shm_bytes": 128 << 20,
        "tmpfs": { "/fast": 16 << 20 },
        "ulimits": { "nofile": { "soft": 1234, "hard": 2345 } },
        "extra_hosts": { "db.corp": "10.9.8.7" },
        "dns": ["10.9.8.6"],
    });
    let script = [
        "grep -E ' (/dev/shm|/fast) ' /proc/mounts",
        "ulimit -S -n; ulimit -H -n",
        "cat /etc/hosts /etc/resolv.conf",
        "echo '#!/bin/sh' >/fast/x; chmod +x /fast/x; /fast/x && echo ran",
    ];
    let (end, log) = bench.run(asking(options, &script)).await;
    assert!(end.failure.is_none(), "{log}");
    for expected in
        ["size=131072k", "size=16384k", "\n1234\n2345\n", "10.9.8.7\tdb.corp", "10.9.8.6", "\nran\n"]
    {
        assert!(log.contains(expected), "{expected:?} in {log}");
    }
    let (end, log) =
        bench.run(asking(serde_json::json!({ "network": "none" }), &["ls /sys/class/net"])).await;
    assert!(end.failure.is_none() && log.ends_with("\nlo\n"), "{log}");
    bench.stop().await;
}

#[tokio::test]
async fn job_that_asks_for_more_fails_before_it_starts() {
    let mut bench = Bench::start().await;
    for (options, key) in [
        (serde_json::json!({ "privileged": true }), "privileged: true"),
        (serde_json::json!({ "cap_add": ["ALL"] }), "cap_add: [ALL]"),
        (serde_json::json!({ "network": "host" }), "network: host"),
        (serde_json::json!({ "gpus": "all" }), "gpus"),
    ] {
        let (end, log) = bench.run(asking(options.clone(), &["echo never"])).await;
        assert_eq!(kind(&end), Some(FailureKind::NotAllowed), "{log}");
        assert!(log.contains(key) && log.contains("[allow]") && !log.contains("never"), "{log}");
        // The same for a service.
        let mut served = job(&["echo never"]);
        served.extras.services = vec![service("db", "sleep 60", None)];
        served.extras.services[0].container = serde_json::from_value(options).unwrap();
        let (end, log) = bench.run(served).await;
        assert_eq!(kind(&end), Some(FailureKind::NotAllowed), "{log}");
        assert!(log.contains("of the service `db`") && !log.contains("never"), "{log}");
    }
    assert!(!FailureKind::NotAllowed.is_retryable() && !FailureKind::NotAllowed.is_infrastructure());
    bench.stop().await;
}

#[tokio::test]
async fn user_that_is_not_allowed_is_chosen_by_no_container() {
    let mut bench = Bench::start_configured(|config| {
        let all = Allowance { users: Some(vec!["1000".to_owned()]), ..Allowance::default() };
        config.permissions = Permissions { all, ..Permissions::default() };
    })
    .await;
    let with_user = |user: &str| {
        let mut asking = job(&["echo \"user $(id -u)\""]);
        asking.preparation.image_options.user = Some(user.to_owned());
        asking
    };
    let (end, log) = bench.run(with_user("1000")).await;
    assert!(end.failure.is_none() && log.contains("user 1000\n"), "{log}");
    let (end, log) = bench.run(with_user("1001")).await;
    assert_eq!(kind(&end), Some(FailureKind::NotAllowed), "{log}");
    assert!(log.contains("`user: 1001` of its image") && log.contains("users = [\"1001\"]"), "{log}");
    let mut served = job(&["echo never"]);
    served.extras.services = vec![service("db", "sleep 60", None)];
    served.extras.services[0].user = Some("root".to_owned());
    let (end, log) = bench.run(served).await;
    assert_eq!(kind(&end), Some(FailureKind::NotAllowed), "{log}");
    assert!(log.contains("`user: root` of the service `db`") && !log.contains("never"), "{log}");
    bench.stop().await;
}

#[tokio::test]
async fn allowance_holds_for_its_repositories_and_for_no_fork() {
    let trusted = TrustedRepositories {
        repositories: vec!["example.org/team/*".into()],
        allowance: Allowance { cap_add: ["NET_RAW".to_owned()].into(), ..Allowance::none() },
    };
    let mut bench = Bench::start_configured(|config| {
        config.permissions = Permissions { trusted: vec![trusted], ..Permissions::default() };
    })
    .await;
    let with_raw_sockets = |origin: Origin| {
        let mut asking =
            asking(serde_json::json!({ "cap_add": ["NET_RAW"] }), &["grep CapEff /proc/self/status"]);
        asking.preparation.origin = origin;
        asking
    };
    let ordinary = bench.run(job(&["grep CapEff /proc/self/status"])).await.1;
    let capabilities = |log: &str| {
        let line = log.lines().find(|line| line.starts_with("CapEff:")).unwrap_or_else(|| panic!("{log}"));
        u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap()
    };
    let (end, log) = bench.run(with_raw_sockets(origin("example.org/team/app", false))).await;
    assert!(end.failure.is_none(), "{log}");
    assert_eq!(capabilities(&log), capabilities(&ordinary) | NET_RAW, "{log}{ordinary}");
    for denied in [origin("example.org/team/app", true), origin("example.org/other/app", false)] {
        // A standby container is not created for it either.
        bench.server.upcoming.lock().unwrap().push(with_raw_sockets(denied.clone()).preparation);
        let (end, log) = bench.run(with_raw_sockets(denied)).await;
        assert_eq!(kind(&end), Some(FailureKind::NotAllowed), "{log}");
    }
    bench.run(job(&["sleep 1"])).await;
    for container in docker(&["ps", "-aq", "--filter", &bench.label()]) {
        // Prints nothing if the container was removed meanwhile.
        let mut inspect = std::process::Command::new("docker");
        inspect.args(["inspect", "--format", "{{.HostConfig.CapAdd}}", &container]);
        let added = String::from_utf8(inspect.output().unwrap().stdout).unwrap();
        assert!(!added.contains("NET_RAW"), "{added}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn every_job_gets_the_settings_of_its_worker() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("tool"), "a tool\n").unwrap();
    let mount = HostMount {
        source: directory.path().display().to_string(),
        target: "/tools".into(),
        read_only: true,
        forks: false,
    };
    let mut bench = Bench::start_configured(|config| {
        config.jobs = JobSettings {
            environment: [("SITE".to_owned(), "lab".to_owned()), ("GREETING".to_owned(), "no".to_owned())]
                .into(),
            proxies: Proxies { http: Some("http://proxy.invalid:3128".into()), ..Proxies::default() },
            mounts: vec![mount],
            extra_hosts: [("db.corp".to_owned(), "10.9.8.7".to_owned())].into(),
            ..JobSettings::default()
        };
    })
    .await;
    let script = [
        "echo site=$SITE $GREETING $http_proxy $HTTP_PROXY",
        "cat /tools/tool; touch /tools/x 2>/dev/null || echo read only",
        "grep db.corp /etc/hosts",
    ];
    let (end, log) = bench.run(job(&script)).await;
    assert!(end.failure.is_none(), "{log}");
    let proxy = "http://proxy.invalid:3128";
    assert!(log.contains(&format!("site=lab it's here {proxy} {proxy}\n")), "{log}");
    assert!(log.contains("a tool\nread only\n") && log.contains("10.9.8.7"), "{log}");
    let mut of_fork = job(&["ls /tools || echo nothing"]);
    of_fork.preparation.origin = origin("example.org/a", true);
    assert!(bench.run(of_fork).await.1.ends_with("nothing\n"), "a fork gets no directory of the machine");

    // Jobs of one execution share a network, with the same names in it.
    for job in
        jobs_of_execution(&bench, &[&["true"], &["grep db.corp /etc/hosts"], &["grep db.corp /etc/hosts"]])
    {
        let (end, log) = bench.run(job).await;
        assert!(end.failure.is_none(), "{log}");
    }
    bench.server.upcoming.lock().unwrap().clear();

    // Its services are reached without the proxy.
    // The program of the test image knows no `no_proxy`.
    let mut served = job(&["wget -Y off -qO- http://web:8080/word; echo none=$no_proxy"]);
    let serve = "mkdir /w; echo direct >/w/word; exec httpd -f -p 8080 -h /w";
    served.extras.services = vec![service("web", serve, Some(tidemill_core::pipeline::Health::Port(8080)))];
    let (end, log) = bench.run(served).await;
    assert!(end.failure.is_none() && log.contains("direct\nnone=localhost,127.0.0.1,::1,web\n"), "{log}");
    bench.stop().await;
}

#[tokio::test]
async fn image_of_any_user_trusts_the_authorities_of_its_worker() {
    let base = job(&[]).preparation.image;
    let file = tempfile::tempdir().unwrap();
    let lines = "RUN mkdir -p /etc/ssl/certs && echo THEIRS >/etc/ssl/certs/ca-certificates.crt\nUSER 1000\n";
    std::fs::write(file.path().join("Dockerfile"), format!("FROM {base}\n{lines}")).unwrap();
    docker(&["build", "-q", "-t", "tidemill-test-certificates:1", file.path().to_str().unwrap()]);
    let mut bench = Bench::start_configured(|config| {
        config.jobs = JobSettings { ca_certificates: Some(CERTIFICATE.into()), ..JobSettings::default() };
    })
    .await;
    // The second job finds the files in the worker's cache.
    for _ in 0..2 {
        let mut trusting = job(&[
            "id -u; cat /etc/ssl/certs/ca-certificates.crt; cat /usr/local/share/ca-certificates/tidemill-1.crt",
            "grep -c OUR-OWN \"$SSL_CERT_FILE\" \"$NODE_EXTRA_CA_CERTS\" \"$REQUESTS_CA_BUNDLE\"",
        ]);
        trusting.preparation.image = "tidemill-test-certificates:1".into();
        let (end, log) = bench.run(trusting).await;
        assert!(end.failure.is_none(), "{log}");
        assert!(log.contains(&format!("1000\nTHEIRS\n\n{CERTIFICATE}{CERTIFICATE}")), "{log}");
    }
    // An image without any certificates.
    let (end, log) = bench.run(job(&["cat \"$SSL_CERT_FILE\""])).await;
    assert!(end.failure.is_none() && log.contains("OUR-OWN"), "{log}");
    bench.stop().await;
}

#[tokio::test]
async fn job_and_services_join_the_network_that_the_job_chooses() {
    let name = format!("tidemill-test-{}", uuid::Uuid::now_v7().simple());
    docker(&["network", "create", "--label", "tidemill.test=1", &name]);
    let mut bench = Bench::start_configured(|config| {
        config.permissions.all.networks.insert(name.clone());
    })
    .await;
    let mut served = asking(serde_json::json!({ "network": name }), &["nc db 5000 </dev/null"]);
    let serve = "while :; do echo found | nc -l -p 5000; done";
    served.extras.services = vec![service("db", serve, Some(tidemill_core::pipeline::Health::Port(5000)))];
    let (end, log) = bench.run(served).await;
    assert!(end.failure.is_none() && log.contains("found\n"), "{log}");
    bench.stop().await;
    docker(&["network", "rm", &name]);
}

#[tokio::test]
async fn pull_policy_that_is_not_allowed_fails_the_job() {
    let mut bench = Bench::start_configured(|config| {
        config.permissions.pull_policies = vec![PullPolicy::Always, PullPolicy::IfNotPresent];
    })
    .await;
    let (end, log) = bench.run(job(&["echo never"])).await;
    assert_eq!(kind(&end), Some(FailureKind::NotAllowed), "{log}");
    assert!(log.contains("`pull_policy: never`") && log.contains("always, if-not-present"), "{log}");
    let mut unset = job(&["echo ran"]);
    unset.preparation.pull_policy = None;
    unset.preparation.container = ContainerOptions::default();
    assert!(bench.run(unset).await.1.contains("ran\n"));
    bench.stop().await;
}

#[tokio::test]
async fn system_calls_of_a_job_are_those_that_the_operator_chose_for_its_repository() {
    let profile = r#"{
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["symlink", "symlinkat"], "action": "SCMP_ACT_ERRNO" }]
    }"#;
    let trusted = [
        ("example.org/profile", SeccompProfile::parse(profile).unwrap()),
        ("example.org/all", SeccompProfile::Unconfined),
    ];
    let trusted = trusted.map(|(repository, profile)| TrustedRepositories {
        repositories: vec![repository.into()],
        allowance: Allowance { seccomp: Some(profile), ..Allowance::none() },
    });
    let permissions = Permissions { trusted: trusted.into(), ..Permissions::default() };
    let mut bench = Bench::start_configured(|config| config.permissions = permissions).await;
    let script = [
        "grep Seccomp: /proc/self/status",
        "ln -s x /tmp/link 2>/dev/null && echo linked || true",
        "unshare -U true 2>/dev/null && echo unshared || true",
    ];
    for (repository, is_fork, mode, linked, unshared) in [
        ("example.org/other", false, "2", true, false),
        ("example.org/profile", false, "2", false, true),
        ("example.org/all", false, "0", true, true),
        ("example.org/all", true, "2", true, false),
    ] {
        let mut asking = job(&script);
        asking.preparation.origin = origin(repository, is_fork);
        let (end, log) = bench.run(asking).await;
        assert!(end.failure.is_none(), "{log}");
        assert!(log.contains(&format!("\nSeccomp:\t{mode}\n")), "{repository}: {log}");
        let has = |line: &str| log.lines().any(|shown| shown == line);
        assert_eq!((has("linked"), has("unshared")), (linked, unshared), "{repository}: {log}");
    }
    bench.stop().await;
}
