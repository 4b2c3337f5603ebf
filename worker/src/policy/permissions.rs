//! Decides what a job may ask of its containers.

use super::{allowance::Allowance, seccomp::SeccompProfile};
use globset::{GlobBuilder, GlobMatcher};
use std::path::PathBuf;
use tidemill_core::{
    execution::{
        assignment::{Assignment, ContainerOptions, ImageBuild, Origin, PullPolicy, Service},
        failure::{FailureKind, FailureReason},
    },
    pipeline::is_docker_engine,
};

/// What the jobs of a worker may ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// What jobs of all repositories may.
    pub all: Allowance,
    /// What jobs of some repositories may in addition.
    pub trusted: Vec<TrustedRepositories>,
    /// Pull policies that jobs may choose; empty: all.
    pub pull_policies: Vec<PullPolicy>,
    /// The file that allows it, for messages; `None`: the one of the worker.
    pub file: Option<String>,
}

/// Repositories whose jobs may ask for more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedRepositories {
    /// Globs of their names.
    pub repositories: Vec<String>,
    /// What their jobs may.
    pub allowance: Allowance,
}

/// A part of `container` that is not allowed.
struct Denied {
    /// The key in the pipeline file, with its value.
    key: String,
    /// The line in `worker.toml` that allows it.
    setting: String,
    /// Whether it is never allowed to forks by default.
    is_unsafe: bool,
}

impl Permissions {
    /// Returns the failure of a job that asks for more than is allowed.
    pub fn check(&self, assignment: &Assignment) -> Result<(), FailureReason> {
        let preparation = &assignment.preparation;
        let origin = &preparation.origin;
        self.check_container(&preparation.container, origin, "")?;
        self.check_user(preparation.image_options.user.as_deref(), origin, " of its image")?;
        for service in &assignment.extras.services {
            let name = service.alias.first().unwrap_or(&service.image);
            let whose = format!(" of the service `{name}`");
            if is_sidecar(service) {
                self.check_sidecar(&service.container, origin, &whose)?;
            } else {
                self.check_container(&service.container, origin, &whose)?;
            }
            self.check_user(service.user.as_deref(), origin, &whose)?;
        }
        if let Some(build) = &assignment.extras.build {
            self.check_build(build, origin)?;
        }
        let services = assignment.extras.services.iter().filter_map(|service| service.pull_policy);
        std::iter::once(preparation.pull_policy).flatten().chain(services).try_for_each(|policy| {
            let allows = |policy: PullPolicy| self.pull_policies.contains(&policy);
            let allows_both = allows(PullPolicy::Always) && allows(PullPolicy::IfNotPresent);
            let is_both = policy == PullPolicy::AlwaysOrPresent && allows_both;
            if self.pull_policies.is_empty() || allows(policy) || is_both {
                return Ok(());
            }
            let name = |policy: PullPolicy| match policy {
                PullPolicy::IfNotPresent => "if-not-present",
                PullPolicy::Always => "always",
                PullPolicy::AlwaysOrPresent => "always-or-present",
                PullPolicy::Never => "never",
            };
            let allowed: Vec<&str> = self.pull_policies.iter().map(|policy| name(*policy)).collect();
            let message = format!(
                "the job asks for `pull_policy: {}`, and its worker allows {}; `pull_policies` under `[images]` in {} decides",
                name(policy),
                allowed.join(", "),
                self.file()
            );
            Err(FailureReason::new(FailureKind::NotAllowed, message))
        })
    }

    /// Whether a container with these options may be created.
    pub fn allows(&self, options: &ContainerOptions, origin: &Origin) -> bool {
        options.is_empty() || self.check_container(options, origin, "").is_ok()
    }

    fn check_container(
        &self,
        options: &ContainerOptions,
        origin: &Origin,
        whose: &str,
    ) -> Result<(), FailureReason> {
        if options.is_empty() {
            return Ok(());
        }
        match first_denied(options, &self.allowance(origin)) {
            Some(denied) => Err(self.denial(denied, origin, whose)),
            None => Ok(()),
        }
    }

    /// Checks the user that a job chooses for a container instead of the image's.
    fn check_user(&self, user: Option<&str>, origin: &Origin, whose: &str) -> Result<(), FailureReason> {
        let Some((user, allowed)) = user.zip(self.allowance(origin).users) else { return Ok(()) };
        if allowed.iter().any(|pattern| glob(pattern).is_ok_and(|glob| glob.is_match(user))) {
            return Ok(());
        }
        let denied = Denied {
            key: format!("user: {user}"),
            setting: format!("users = [\"{user}\"]"),
            is_unsafe: false,
        };
        Err(self.denial(denied, origin, whose))
    }

    /// Checks the options of a Docker engine of the job's own: an operator may let it be privileged, and not the job.
    pub(super) fn check_sidecar(
        &self,
        options: &ContainerOptions,
        origin: &Origin,
        whose: &str,
    ) -> Result<(), FailureReason> {
        let allowed = self.allowance(origin);
        if !allowed.docker_sidecar && !allowed.privileged {
            let denied = Denied {
                key: "container: { privileged: true }".to_owned(),
                setting: "docker = \"sidecar\"` or `privileged = true".to_owned(),
                is_unsafe: true,
            };
            return Err(self.denial(denied, origin, whose));
        }
        // What else it asks for is not a part of that.
        self.check_container(&ContainerOptions { privileged: false, ..options.clone() }, origin, whose)
    }

    /// Returns the service of the job that is its own Docker engine, if the worker connects jobs with theirs.
    pub fn sidecar<'a>(&self, assignment: &'a Assignment) -> Option<&'a Service> {
        let services = &assignment.extras.services;
        let allowed = self.allowance(&assignment.preparation.origin);
        services.iter().find(|service| is_sidecar(service)).filter(|_| allowed.docker_sidecar)
    }

    fn check_build(&self, build: &ImageBuild, origin: &Origin) -> Result<(), FailureReason> {
        let allowed = self.allowance(origin);
        let (key, setting) = if !allowed.build {
            ("build", "build = true")
        } else if build.ssh && allowed.ssh_agent.is_none() {
            ("build: { ssh: true }", "ssh_agent = \"/path/of/the/agents/socket\"")
        } else {
            return Ok(());
        };
        let denied = Denied { key: key.to_owned(), setting: setting.to_owned(), is_unsafe: true };
        Err(self.denial(denied, origin, ""))
    }

    /// Returns the socket of the SSH agent that builds of `origin` may use.
    pub fn ssh_agent(&self, origin: &Origin) -> Option<PathBuf> {
        self.allowance(origin).ssh_agent
    }

    /// Returns which system calls the containers of jobs of `origin` may use; `None`: as the engine has it.
    pub fn seccomp(&self, origin: &Origin) -> Option<SeccompProfile> {
        self.allowance(origin).seccomp
    }

    /// Returns the failure of a job that asks for what is not allowed.
    fn denial(&self, denied: Denied, origin: &Origin, whose: &str) -> FailureReason {
        let Denied { key, setting, is_unsafe } = denied;
        let (repository, file) = (&origin.repository, self.file());
        let advice = if origin.is_fork && is_unsafe {
            format!(
                "it comes from a fork, and only `forks = true` beside `{setting}` in {file} allows that; that gives the machine to \
                 anyone who can open a pull request"
            )
        } else if repository.is_empty() {
            format!("`{setting}` under `[allow]` in {file} allows it")
        } else {
            format!(
                "in {file}, `{setting}` allows it: under `[allow]` to all jobs, or under `[[trusted]]` with `repositories = \
                 [\"{repository}\"]` to those of this repository; `runs_on` chooses another worker"
            )
        };
        let message = format!("the job asks for `{key}`{whose}, which its worker does not allow; {advice}");
        FailureReason::new(FailureKind::NotAllowed, message)
    }

    /// Returns what jobs of `origin` may ask for.
    fn allowance(&self, origin: &Origin) -> Allowance {
        let of = |allowance: &Allowance| {
            if origin.is_fork { allowance.for_forks() } else { allowance.clone() }
        };
        let mut all = if origin.is_fork { self.all.of_all_for_forks() } else { self.all.clone() };
        for trusted in &self.trusted {
            // An invalid pattern matches nothing.
            let matches =
                |pattern: &String| glob(pattern).is_ok_and(|glob| glob.is_match(&origin.repository));
            if trusted.repositories.iter().any(matches) {
                all.extend(&of(&trusted.allowance));
            }
        }
        all
    }

    /// The file that decides, for messages.
    pub(super) fn file(&self) -> &str {
        self.file.as_deref().unwrap_or("the worker's worker.toml")
    }
}

/// Whether a service is a Docker engine that asks for its rights.
pub(super) fn is_sidecar(service: &Service) -> bool {
    service.container.privileged && is_docker_engine(&service.image)
}

/// Checks a glob of repositories or devices.
pub fn check_glob(pattern: &str) -> Result<(), String> {
    glob(pattern).map(drop).map_err(|error| format!("`{pattern}` is not a glob: {}", error.kind()))
}

/// Compiles a glob of repositories or devices.
fn glob(pattern: &str) -> Result<GlobMatcher, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(true).build().map(|glob| glob.compile_matcher())
}

/// Returns the first part of `options` that is not allowed.
fn first_denied(options: &ContainerOptions, allowed: &Allowance) -> Option<Denied> {
    let deny = |key: String, setting: String, is_unsafe| {
        Some(Denied { key: format!("container: {{ {key} }}"), setting, is_unsafe })
    };
    let of_safe = |key: String, setting: String| deny(key, setting, false);
    let of_unsafe = |key: String, setting: String| deny(key, setting, true);
    let ContainerOptions {
        shm_bytes,
        ulimits,
        tmpfs,
        devices,
        gpus,
        cap_add,
        privileged,
        network,
        extra_hosts,
        dns,
    } = options;
    if *privileged && !allowed.privileged {
        return of_unsafe("privileged: true".into(), "privileged = true".into());
    }
    let missing = cap_add.iter().find(|name| {
        !allowed.privileged && !allowed.cap_add.contains("ALL") && !allowed.cap_add.contains(*name)
    });
    if let Some(name) = missing {
        return of_unsafe(format!("cap_add: [{name}]"), format!("cap_add = [\"{name}\"]"));
    }
    let is_allowed = |path: &str| {
        allowed.devices.iter().any(|pattern| glob(pattern).is_ok_and(|glob| glob.is_match(path)))
    };
    if let Some(device) = devices.iter().find(|device| !allowed.privileged && !is_allowed(&device.host)) {
        let path = &device.host;
        return of_unsafe(format!("devices: [{path}]"), format!("devices = [\"{path}\"]"));
    }
    if gpus.is_some() && !allowed.gpus && !allowed.privileged {
        return of_unsafe("gpus".into(), "gpus = true".into());
    }
    if let Some(name) = network.as_ref().filter(|name| *name != "none" && !allowed.networks.contains(*name)) {
        return of_unsafe(format!("network: {name}"), format!("networks = [\"{name}\"]"));
    }
    for (name, limit) in ulimits {
        let max = allowed.ulimits.get(name).copied();
        let fits = max.is_some_and(|max| max == -1 || (limit.hard != -1 && limit.hard <= max));
        if !fits {
            let (asked, setting) = match limit.hard {
                -1 => ("unlimited".to_owned(), "\"unlimited\"".to_owned()),
                hard => (hard.to_string(), hard.to_string()),
            };
            return of_safe(
                format!("ulimits: {{ {name}: {asked} }}"),
                format!("ulimits = {{ {name} = {setting} }}"),
            );
        }
    }
    let max = allowed.memory_bytes.unwrap_or(u64::MAX);
    if allowed.memory_bytes.is_some() && tmpfs.values().any(Option::is_none) {
        return of_safe("tmpfs, without a size".into(), "memory".into());
    }
    if let Some(bytes) = shm_bytes.filter(|bytes| *bytes > max) {
        return of_safe(format!("shm_size: {bytes}"), format!("memory = {bytes}"));
    }
    let total = tmpfs.values().flatten().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
    if total > max {
        return of_safe(format!("tmpfs, {total} bytes in all"), format!("memory = {total}"));
    }
    if !extra_hosts.is_empty() && !allowed.extra_hosts {
        return of_safe("extra_hosts".into(), "extra_hosts = true".into());
    }
    if !dns.is_empty() && !allowed.dns {
        return of_safe("dns".into(), "dns = true".into());
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Allowance, Permissions, SeccompProfile, TrustedRepositories};
    use tidemill_core::execution::assignment::{ContainerOptions, ImageBuild, Origin};

    fn options(json: serde_json::Value) -> ContainerOptions {
        serde_json::from_value(json).unwrap()
    }

    fn origin(repository: &str, is_fork: bool) -> Origin {
        Origin { repository: repository.into(), is_fork }
    }

    /// Returns the message of the failure, or an empty text.
    fn denied(permissions: &Permissions, asked: serde_json::Value, origin: &Origin) -> String {
        let result = permissions.check_container(&options(asked), origin, "");
        result.err().map(|reason| reason.message).unwrap_or_default()
    }

    #[test]
    fn builds_are_allowed_except_to_forks_and_where_they_are_switched_off() {
        let is_allowed = |allowed: &Allowance, is_fork: bool, ssh: bool| {
            let permissions = Permissions { all: allowed.clone(), ..Permissions::default() };
            let build = ImageBuild { ssh, ..ImageBuild::default() };
            permissions.check_build(&build, &origin("example.org/a", is_fork)).is_ok()
        };
        let default = Allowance::default();
        assert!(is_allowed(&default, false, false));
        assert!(!is_allowed(&default, true, false));
        assert!(!is_allowed(&default, false, true));
        assert!(!is_allowed(&Allowance { build: false, ..Allowance::default() }, false, false));
        let with_agent = Allowance { ssh_agent: Some("/run/agent".into()), ..Allowance::default() };
        assert!(is_allowed(&with_agent, false, true));
        assert!(!is_allowed(&with_agent, true, true));
        assert!(is_allowed(&Allowance { forks: true, ..with_agent }, true, true));
    }

    #[test]
    fn default_allows_only_what_is_safe() {
        let (default, own) = (Permissions::default(), origin("example.org/a", false));
        for safe in [
            serde_json::json!({ "shm_bytes": 1_u64 << 40, "tmpfs": { "/tmp": 1 << 30, "/run": null } }),
            serde_json::json!({ "ulimits": { "nofile": { "soft": 1024, "hard": 1 << 20 }, "core": { "soft": 0, "hard": 0 } } }),
            serde_json::json!({ "ulimits": { "memlock": { "soft": -1, "hard": -1 } } }),
            serde_json::json!({ "network": "none", "dns": ["10.0.0.2"], "extra_hosts": { "a": "10.0.0.3" } }),
        ] {
            assert_eq!(denied(&default, safe.clone(), &own), "", "{safe}");
            assert_eq!(denied(&default, safe, &origin("example.org/a", true)), "");
        }
        for (asked, key, setting) in [
            (serde_json::json!({ "privileged": true }), "privileged: true", "privileged = true"),
            (
                serde_json::json!({ "cap_add": ["NET_ADMIN"] }),
                "cap_add: [NET_ADMIN]",
                "cap_add = [\"NET_ADMIN\"]",
            ),
            (
                serde_json::json!({ "devices": [{ "host": "/dev/kvm", "container": "/x", "permissions": "r" }] }),
                "devices: [/dev/kvm]",
                "devices = [\"/dev/kvm\"]",
            ),
            (serde_json::json!({ "gpus": "all" }), "gpus", "gpus = true"),
            (serde_json::json!({ "network": "host" }), "network: host", "networks = [\"host\"]"),
            (serde_json::json!({ "network": "bridge" }), "network: bridge", "networks = [\"bridge\"]"),
            (
                serde_json::json!({ "ulimits": { "nofile": { "soft": 1, "hard": -1 } } }),
                "nofile: unlimited",
                "nofile = \"unlimited\"",
            ),
            (
                serde_json::json!({ "ulimits": { "core": { "soft": 0, "hard": 1 } } }),
                "core: 1",
                "ulimits = { core = 1 }",
            ),
            (
                serde_json::json!({ "ulimits": { "rtprio": { "soft": 1, "hard": 1 } } }),
                "rtprio: 1",
                "ulimits = { rtprio = 1 }",
            ),
        ] {
            let message = denied(&default, asked, &own);
            assert!(message.contains(key) && message.contains(setting), "{message}");
            assert!(message.contains("repositories = [\"example.org/a\"]"), "{message}");
        }
    }

    #[test]
    fn allowance_applies_to_its_repositories_and_never_to_forks_by_default() {
        let allowance = Allowance { privileged: true, ..Allowance::none() };
        let trusted =
            TrustedRepositories { repositories: vec!["example.org/team/*".into(), "[".into()], allowance };
        let mut permissions = Permissions { trusted: vec![trusted], ..Permissions::default() };
        let asked = || serde_json::json!({ "privileged": true, "cap_add": ["SYS_ADMIN"] });
        assert_eq!(denied(&permissions, asked(), &origin("example.org/team/app", false)), "");
        for other in ["example.org/team/app/x", "example.org/teamx/app", "example.org/other", ""] {
            assert!(!denied(&permissions, asked(), &origin(other, false)).is_empty(), "{other}");
        }
        let of_fork = denied(&permissions, asked(), &origin("example.org/team/app", true));
        assert!(of_fork.contains("from a fork") && of_fork.contains("forks = true"), "{of_fork}");
        permissions.all.privileged = true;
        assert_eq!(denied(&permissions, asked(), &origin("example.org/other", false)), "");
        assert!(!denied(&permissions, asked(), &origin("example.org/other", true)).is_empty());
        permissions.all.forks = true;
        assert_eq!(denied(&permissions, asked(), &origin("example.org/other", true)), "");
    }

    #[test]
    fn profile_of_all_jobs_holds_for_forks_and_nothing_laxer_does() {
        let profile = |action: &str| SeccompProfile::Profile(format!("{{\"defaultAction\":\"{action}\"}}"));
        let (strict, other) = (profile("SCMP_ACT_ERRNO"), profile("SCMP_ACT_ALLOW"));
        let with =
            |seccomp: Option<SeccompProfile>, trusted: Option<SeccompProfile>, forks: bool| Permissions {
                all: Allowance { seccomp, ..Allowance::default() },
                trusted: vec![TrustedRepositories {
                    repositories: vec!["a".into()],
                    allowance: Allowance { seccomp: trusted, forks, ..Allowance::none() },
                }],
                ..Permissions::default()
            };
        let of_fork = |permissions: &Permissions| permissions.seccomp(&origin("a", true));
        for trusted in [None, Some(SeccompProfile::Unconfined), Some(other.clone())] {
            assert_eq!(of_fork(&with(Some(strict.clone()), trusted.clone(), false)), Some(strict.clone()));
            assert_eq!(of_fork(&with(Some(SeccompProfile::Unconfined), trusted.clone(), false)), None);
            assert_eq!(of_fork(&with(None, trusted, false)), None);
        }
        assert_eq!(of_fork(&with(Some(strict.clone()), Some(other.clone()), true)), Some(other.clone()));
        let own = with(Some(strict), Some(other.clone()), false).seccomp(&origin("a", false));
        assert_eq!(own, Some(other));
    }

    #[test]
    fn users_may_be_restricted_to_some() {
        let all = Allowance { users: Some(vec!["1000".into(), "app*".into()]), ..Allowance::default() };
        let trusted = TrustedRepositories {
            repositories: vec!["example.org/team/*".into()],
            allowance: Allowance { users: Some(vec!["root".into()]), ..Allowance::none() },
        };
        let permissions = Permissions { all, trusted: vec![trusted], ..Permissions::default() };
        let denied = |user: &str, origin: &Origin| {
            let result = permissions.check_user(Some(user), origin, " of its image");
            result.err().map(|reason| reason.message).unwrap_or_default()
        };
        let other = origin("example.org/other", false);
        for user in ["1000", "app", "app:users"] {
            assert_eq!(denied(user, &other), "", "{user}");
        }
        for user in ["0", "root", "1000:0", "10001"] {
            let message = denied(user, &other);
            assert!(message.contains(&format!("`user: {user}` of its image")), "{message}");
            assert!(message.contains(&format!("`users = [\"{user}\"]`")), "{message}");
        }
        assert_eq!(denied("root", &origin("example.org/team/app", false)), "");
        assert_eq!(denied("root", &origin("example.org/team/app", true)), "", "as safe as the DNS server");
        assert!(Permissions::default().check_user(Some("root"), &other, "").is_ok());
    }

    #[test]
    fn operator_may_restrict_what_is_allowed_by_default() {
        let all =
            Allowance { memory_bytes: Some(1 << 20), dns: false, extra_hosts: false, ..Allowance::default() };
        let permissions = Permissions { all, ..Permissions::default() };
        for (asked, setting) in [
            (serde_json::json!({ "shm_bytes": (1 << 20) + 1 }), "memory = 1048577"),
            (serde_json::json!({ "tmpfs": { "/a": 1 << 20, "/b": 1 } }), "memory = 1048577"),
            (serde_json::json!({ "dns": ["1.1.1.1"] }), "dns = true"),
            (serde_json::json!({ "extra_hosts": { "a": "1.1.1.1" } }), "extra_hosts = true"),
        ] {
            for is_fork in [false, true] {
                let message = denied(&permissions, asked.clone(), &origin("r", is_fork));
                assert!(message.contains(setting), "{message}");
            }
        }
    }
}
