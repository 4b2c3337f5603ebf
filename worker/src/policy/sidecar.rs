//! A Docker engine of a job's own: how the job reaches it.

use super::{
    job_settings::HostMount,
    permissions::{Permissions, is_sidecar},
};
use indexmap::IndexMap;
use tidemill_core::execution::{
    assignment::{Assignment, Origin, Service},
    failure::{FailureKind, FailureReason},
};
use tidemill_core::pipeline::is_docker_engine;

/// The port at which a Docker engine listens without TLS.
const PORT: u16 = 2375;
/// The variable by which an engine's image decides whether it listens with TLS; an empty value: without.
const TLS_DIRECTORY: &str = "DOCKER_TLS_CERTDIR";

impl Permissions {
    /// Connects a job with its Docker engine, if it has one and the worker allows it as a sidecar: they share a network and no
    /// directory with certificates, so that the engine listens without TLS and the job's variables say where. A job whose
    /// `DOCKER_HOST` names another engine is left as it is.
    pub fn connect_sidecar(&self, assignment: &mut Assignment) {
        let Some(engine) = self.sidecar(assignment) else { return };
        let (aliases, image) = (engine.alias.clone(), engine.image.clone());
        let Some(name) = aliases.first() else { return };
        let variables = &mut assignment.variables;
        if variables.get("DOCKER_HOST").is_some_and(|host| !names_one_of(host, &aliases)) {
            return;
        }
        connect(variables, name);
        let services = assignment.extras.services.iter_mut();
        for engine in services.filter(|service| service.image == image && service.alias == aliases) {
            engine.variables.insert(TLS_DIRECTORY.to_owned(), String::new());
        }
    }

    /// Returns why a job may not have the first of its `services` that is a Docker engine without the rights that it needs.
    pub fn denied_engine(&self, services: &[Service], origin: &Origin) -> Option<FailureReason> {
        services.iter().filter(|service| is_sidecar(service)).find_map(|service| {
            let whose = format!(" of the service `{}`", service.alias.first().unwrap_or(&service.image));
            self.check_sidecar(&service.container, origin, &whose).err()
        })
    }

    /// Returns the failure of a job whose Docker engine would be in the network `chosen`, where other jobs reach it without TLS.
    pub fn check_sidecar_network(
        &self,
        assignment: &Assignment,
        chosen: Option<&str>,
    ) -> Result<(), FailureReason> {
        let (Some(engine), Some(network)) = (self.sidecar(assignment), chosen) else { return Ok(()) };
        let (key, remedy) = if assignment.preparation.container.network.is_some() {
            (
                format!("`container: {{ network: {network} }}` of the job"),
                "remove it from the job, or the service".to_owned(),
            )
        } else {
            (
                format!("`network = \"{network}\"` under `[jobs]` in {}", self.file()),
                "remove it there, or choose another worker with `runs_on`".to_owned(),
            )
        };
        let name = engine.alias.first().unwrap_or(&engine.image);
        let message = format!(
            "the service `{name}` is a Docker engine without TLS, and {key} would let other jobs in that network control it; \
             {remedy}: the engine then has a network of its own"
        );
        Err(FailureReason::new(FailureKind::NotAllowed, message))
    }
}

fn connect(variables: &mut IndexMap<String, String>, engine: &str) {
    for name in ["DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
        variables.shift_remove(name);
    }
    variables.insert("DOCKER_HOST".to_owned(), format!("tcp://{engine}:{PORT}"));
    variables.insert(TLS_DIRECTORY.to_owned(), String::new());
    // Testcontainers connects to the ports that it publishes on this host.
    variables.entry("TESTCONTAINERS_HOST_OVERRIDE".to_owned()).or_insert_with(|| engine.to_owned());
}

/// Whether an address in the form of `DOCKER_HOST` is at one of these host names.
fn names_one_of(address: &str, names: &[String]) -> bool {
    let host = address.strip_prefix("tcp://").and_then(|rest| rest.split([':', '/']).next());
    host.is_some_and(|host| names.iter().any(|name| name == host))
}

/// Commands of `docker` that need an engine.
const ENGINE_COMMANDS: [&str; 7] = ["build", "buildx", "compose", "run", "push", "pull", "ps"];

/// Returns what to tell a job that failed although it calls `docker` and has no Docker engine; `None` if it does not, or has one:
/// a service, one that a variable names, or the socket of one among the worker's `mounts`.
pub fn missing_engine(assignment: &Assignment, mounts: &[HostMount]) -> Option<String> {
    let has_service = assignment.extras.services.iter().any(|service| is_docker_engine(&service.image));
    let is_named = assignment.variables.contains_key("DOCKER_HOST")
        || assignment.extras.secrets.iter().any(|secret| secret.variable == "DOCKER_HOST");
    let is_mounted = mounts.iter().any(|mount| mount.target.contains("docker"));
    if has_service || is_named || is_mounted {
        return None;
    }
    let called = assignment.script.iter().flat_map(|item| item.lines()).find_map(docker_command)?;
    Some(format!(
        "note: the job calls `docker {called}` and has no Docker engine: `build` in a native file builds images without one, and a \
         service such as `docker:dind` is one where the worker's worker.toml has `docker = \"sidecar\"` for the repository"
    ))
}

/// Returns the command of `docker` that a line of a script calls.
fn docker_command(line: &str) -> Option<&'static str> {
    let words: Vec<&str> = line.split(|c: char| c.is_whitespace() || ";&|()".contains(c)).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    if words.first().is_some_and(|first| first.starts_with('#') || matches!(*first, "echo" | "printf")) {
        return None;
    }
    let mut pairs = words.windows(2).filter(|pair| pair[0] == "docker");
    pairs.find_map(|pair| ENGINE_COMMANDS.into_iter().find(|name| *name == pair[1]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::missing_engine;
    use crate::policy::{Allowance, HostMount, Permissions};
    use tidemill_core::execution::assignment::{Assignment, ContainerOptions, Service};

    /// Returns a job with a Docker engine, and these variables.
    fn job(variables: &[(&str, &str)]) -> Assignment {
        let json = serde_json::json!({
            "preparation": {
                "job_id": uuid::Uuid::nil(),
                "execution_id": uuid::Uuid::nil(),
                "image": "docker:27",
                "source": { "kind": "none" },
                "origin": { "repository": "example.org/a" },
            },
            "job_name": "pack", "stage": "build", "attempt": 1,
            "lease": { "token": uuid::Uuid::nil(), "ttl_ms": 1000, "report_interval_ms": 1000 },
            "script": ["docker build ."], "variables": {}, "timeout_s": 60,
        });
        let mut job: Assignment = serde_json::from_value(json).unwrap();
        job.variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        job.extras.services = vec![Service {
            image: "docker:27-dind".into(),
            alias: vec!["docker".into(), "engine".into()],
            container: ContainerOptions { privileged: true, ..ContainerOptions::default() },
            variables: [(super::TLS_DIRECTORY.to_owned(), "/certs".to_owned())].into_iter().collect(),
            ..Service::default()
        }];
        job
    }

    fn with_sidecars() -> Permissions {
        Permissions {
            all: Allowance { docker_sidecar: true, ..Allowance::default() },
            ..Permissions::default()
        }
    }

    #[test]
    fn engine_of_a_job_is_allowed_where_the_operator_says_so_and_nothing_else_is() {
        let message = |permissions: &Permissions, job: &Assignment| {
            permissions.check(job).err().map(|reason| reason.message).unwrap_or_default()
        };
        let denied = message(&Permissions::default(), &job(&[]));
        for part in ["of the service `docker`", "`docker = \"sidecar\"` or `privileged = true`"] {
            assert!(denied.contains(part), "{denied}");
        }
        let allowed = with_sidecars();
        assert_eq!(message(&allowed, &job(&[])), "");
        let privileged = Allowance { privileged: true, ..Allowance::default() };
        assert_eq!(message(&Permissions { all: privileged, ..Permissions::default() }, &job(&[])), "");
        // The job itself, another service, and what an engine asks for besides.
        let mut itself = job(&[]);
        itself.preparation.container.privileged = true;
        let mut other = job(&[]);
        other.extras.services[0].image = "postgres:17".into();
        let mut on_host = job(&[]);
        on_host.extras.services[0].container.network = Some("host".into());
        let mut of_fork = job(&[]);
        of_fork.preparation.origin.is_fork = true;
        for (job, key) in
            [(itself, "privileged"), (other, "privileged"), (on_host, "network: host"), (of_fork, "fork")]
        {
            assert!(message(&allowed, &job).contains(key), "{key}");
        }
    }

    #[test]
    fn job_that_calls_docker_without_an_engine_gets_a_note() {
        let note = |script: &[&str], variables: &[(&str, &str)], mounts: &[HostMount]| {
            let mut job = job(variables);
            job.extras.services[0].image = "postgres:17".into();
            job.script = script.iter().map(|item| (*item).to_owned()).collect();
            missing_engine(&job, mounts)
        };
        for (script, called) in [
            ("docker build -t app .", "build"),
            ("cd app && docker compose up -d", "compose"),
            ("docker login -u a\nif docker buildx ls; then", "buildx"),
        ] {
            let text = note(&[script], &[], &[]).unwrap();
            assert!(text.contains(&format!("`docker {called}`")), "{text}");
            assert!(text.contains("docker = \"sidecar\""), "{text}");
        }
        for script in ["echo docker build", "# docker build", "make docker-build", "docker login", "true"] {
            assert_eq!(note(&[script], &[], &[]), None, "{script}");
        }
        let build = ["docker build ."];
        assert_eq!(note(&build, &[("DOCKER_HOST", "tcp://builder:2376")], &[]), None);
        let socket = HostMount {
            source: "/run/docker.sock".into(),
            target: "/var/run/docker.sock".into(),
            read_only: false,
            forks: false,
        };
        assert_eq!(note(&build, &[], &[socket]), None);
        assert_eq!(missing_engine(&job(&[]), &[]), None, "a service is its engine");
    }

    #[test]
    fn engine_of_a_job_is_in_no_network_that_other_jobs_may_join() {
        let message = |permissions: &Permissions, job: &Assignment, chosen| {
            let failure = permissions.check_sidecar_network(job, chosen).err();
            failure.map(|reason| reason.message).unwrap_or_default()
        };
        let allowed = with_sidecars();
        let of_worker = message(&allowed, &job(&[]), Some("ci"));
        assert!(of_worker.contains("`network = \"ci\"` under `[jobs]`"), "{of_worker}");
        let mut chosen = job(&[]);
        chosen.preparation.container.network = Some("ci".into());
        let of_job = message(&allowed, &chosen, Some("ci"));
        assert!(of_job.contains("`container: { network: ci }` of the job"), "{of_job}");
        assert_eq!(message(&allowed, &job(&[]), None), "");
        assert_eq!(message(&Permissions::default(), &job(&[]), Some("ci")), "", "no sidecar of the worker");
        let mut other = job(&[]);
        other.extras.services[0].image = "postgres:17".into();
        assert_eq!(message(&allowed, &other, Some("ci")), "");
    }

    #[test]
    fn job_reaches_its_engine_without_tls_unless_it_names_another_one() {
        let connected = |permissions: &Permissions, variables: &[(&str, &str)]| {
            let mut job = job(variables);
            permissions.connect_sidecar(&mut job);
            let mut all: Vec<String> =
                job.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
            all.push(job.extras.services[0].variables[super::TLS_DIRECTORY].clone());
            all
        };
        let tls = [
            ("DOCKER_HOST", "tcp://engine:2376"),
            ("DOCKER_TLS_CERTDIR", "/certs"),
            ("DOCKER_TLS_VERIFY", "1"),
            ("DOCKER_CERT_PATH", "/certs/client"),
        ];
        let expected = [
            "DOCKER_HOST=tcp://docker:2375",
            "DOCKER_TLS_CERTDIR=",
            "TESTCONTAINERS_HOST_OVERRIDE=docker",
            "",
        ];
        assert_eq!(connected(&with_sidecars(), &tls), expected);
        assert_eq!(connected(&with_sidecars(), &[]), expected);
        let other = [("DOCKER_HOST", "tcp://builder.example.org:2376")];
        assert_eq!(
            connected(&with_sidecars(), &other),
            ["DOCKER_HOST=tcp://builder.example.org:2376", "/certs"]
        );
        assert_eq!(connected(&Permissions::default(), &[]), ["/certs"]);
    }
}
