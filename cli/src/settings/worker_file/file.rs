//! Reads `worker.toml`, with what flags change of it.

use super::{job_rules::WorkerFile, tables::FileFormat};
use crate::{
    failure::{Failure, Outcome},
    settings::input,
};
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    str::FromStr,
};
use toml::{Table, Value};

/// Maximum size of the file in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A value of `--worker-config`.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkerConfigArg {
    /// A file to read instead of the default one.
    File(PathBuf),
    /// Settings that win over those of the file.
    Settings(Table),
}

impl WorkerConfigArg {
    /// Creates a setting of the top level.
    pub fn setting(key: &str, value: &str) -> Self {
        Self::Settings(Table::from_iter([(key.to_owned(), Value::String(value.to_owned()))]))
    }
}

impl FromStr for WorkerConfigArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((key, value)) = text.split_once('=') else { return Ok(Self::File(PathBuf::from(text))) };
        let key = key.trim();
        let is_key =
            !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-.\"/:*".contains(c));
        if !is_key {
            return Err(format!("`{key}` is not a key of worker.toml, such as `limits.memory`"));
        }
        let parse = |value: &str| toml::from_str::<Table>(&format!("{key} = {value}"));
        // A text needs no quotes.
        let quoted = || Value::String(value.trim().to_owned()).to_string();
        parse(value).or_else(|_| parse(&quoted())).map(Self::Settings).map_err(|error| error.to_string())
    }
}

impl WorkerFile {
    /// Reads the file at `path`, and applies `args`. If the file is missing and no argument names it, it is empty.
    pub fn load(path: Option<&Path>, args: &[WorkerConfigArg]) -> Outcome<Self> {
        let named = args.iter().rev().find_map(|arg| match arg {
            WorkerConfigArg::File(path) => Some(path.as_path()),
            WorkerConfigArg::Settings(_) => None,
        });
        let text = match (named, path) {
            (Some(path), _) => read(path)?,
            (None, Some(path)) if path.exists() => read(path)?,
            (None, _) => String::new(),
        };
        let path = named.or(path).map_or_else(|| "worker.toml".to_owned(), |path| path.display().to_string());
        let settings = args.iter().filter_map(|arg| match arg {
            WorkerConfigArg::File(_) => None,
            WorkerConfigArg::Settings(table) => Some(table),
        });
        Self::parse(&text, settings).map_err(|message| Failure::usage(format!("{path}: {message}")))
    }

    /// Parses the file's text, with `settings` that win over it.
    fn parse<'a>(text: &str, settings: impl Iterator<Item = &'a Table>) -> Result<Self, String> {
        let mut format: FileFormat = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut settings = settings.peekable();
        if settings.peek().is_some() {
            let mut all: Table = toml::from_str(text).map_err(|error| error.to_string())?;
            settings.for_each(|table| merge(&mut all, table));
            format = FileFormat::deserialize(Value::Table(all))
                .map_err(|error| format!("with --worker-config: {error}"))?;
        }
        format.into_settings()
    }
}

fn read(path: &Path) -> Outcome<String> {
    if path.exists() {
        return input::read_file(path, MAX_FILE_BYTES);
    }
    Err(Failure::usage(format!("{} does not exist", path.display())))
}

/// Replaces values of `all` by those of `table`; tables are merged.
fn merge(all: &mut Table, table: &Table) {
    for (key, value) in table {
        match (all.get_mut(key), value) {
            (Some(Value::Table(ours)), Value::Table(theirs)) => merge(ours, theirs),
            _ => drop(all.insert(key.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{WorkerConfigArg, WorkerFile};
    use tidemill_core::execution::assignment::PullPolicy;
    use tidemill_worker::policy::{Allowance, HostMount, Limits, Permissions, SeccompProfile};
    use tidemill_worker::{CgroupSettings, ExecutorKind};

    fn parse(text: &str, args: &[&str]) -> Result<WorkerFile, String> {
        let tables: Vec<_> = args
            .iter()
            .map(|arg| match arg.parse().unwrap() {
                WorkerConfigArg::Settings(table) => table,
                WorkerConfigArg::File(path) => panic!("{path:?}"),
            })
            .collect();
        WorkerFile::parse(text, tables.iter())
    }

    #[test]
    fn worker_file_changes_only_what_it_sets() {
        assert_eq!(parse("", &[]).unwrap(), WorkerFile::default());
        let text = "no_new_privileges = false\n[limits]\nmemory = \"2GiB\"\ncpus = 1.5\nlog = \"10MiB\"\nopen_files = 0\ndefault_memory = \"1GiB\"\n";
        let limits = Limits {
            memory_bytes: Some(2 << 30),
            cpus: Some(1.5),
            default_memory_bytes: Some(1 << 30),
            log_bytes: 10 << 20,
            open_files: 0,
            no_new_privileges: false,
            ..Limits::default()
        };
        assert_eq!(parse(text, &[]).unwrap().limits, limits);
    }

    #[test]
    fn allowances_extend_the_default_and_belong_to_repositories() {
        let text = r#"
[allow]
gpus = true
users = ["1000", "app*"]
ulimits = { core = "unlimited", rtprio = 10 }
[[trusted]]
repositories = ["example.org/team/*"]
privileged = true
cap_add = ["cap_net_admin"]
"#;
        let permissions = parse(text, &[]).unwrap().permissions;
        let users = Some(vec!["1000".to_owned(), "app*".to_owned()]);
        let mut expected = Allowance { gpus: true, users, ..Allowance::default() };
        expected.ulimits.extend([("core".to_owned(), -1), ("rtprio".to_owned(), 10)]);
        assert_eq!(permissions.all, expected);
        let [trusted] = permissions.trusted.as_slice() else { panic!("{permissions:?}") };
        assert_eq!(trusted.repositories, ["example.org/team/*"]);
        assert!(trusted.allowance.privileged && !trusted.allowance.forks && !trusted.allowance.gpus);
        assert_eq!(trusted.allowance.users, Some(Vec::new()), "it adds none to those of all");
        assert!(trusted.allowance.cap_add.contains("NET_ADMIN"), "{trusted:?}");
    }

    #[test]
    fn executor_is_read_with_its_settings() {
        assert_eq!(parse("", &[]).unwrap().executor, ExecutorKind::Containers);
        let text = "executor = \"process\"\n[process]\nuser = \"ci\"\ndirectory = \"/srv/jobs\"\n";
        let ExecutorKind::Processes(settings) = parse(text, &[]).unwrap().executor else {
            panic!("containers")
        };
        assert_eq!((settings.user.as_deref(), settings.cgroup), (Some("ci"), CgroupSettings::OfWorker));
        for (value, expected) in [
            ("none", CgroupSettings::Disabled),
            ("/sys/fs/cgroup/jobs", CgroupSettings::Below("/sys/fs/cgroup/jobs".into())),
        ] {
            let argument = format!("process.cgroup={value}");
            let ExecutorKind::Processes(settings) = parse(text, &[&argument]).unwrap().executor else {
                panic!("containers")
            };
            assert_eq!(settings.cgroup, expected);
        }
        assert_eq!(settings.directory.as_deref(), Some(std::path::Path::new("/srv/jobs")));
        assert_eq!(parse(text, &["executor=container"]).unwrap().executor, ExecutorKind::Containers);
        for (invalid, message) in [
            ("executor = \"podman\"\n", "podman"),
            ("[process]\ndirectory = \"jobs\"\n", "not an absolute path"),
            ("[process]\nimage = \"none\"\n", "unknown field"),
        ] {
            let error = parse(invalid, &[]).unwrap_err();
            assert!(error.contains(message), "{invalid}{error}");
        }
    }

    #[test]
    fn profile_of_system_calls_and_docker_engines_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("profile.json");
        std::fs::write(&path, r#"{ "defaultAction": "SCMP_ACT_ALLOW" }"#).unwrap();
        let path = path.display();
        let text = format!(
            "[allow]\nseccomp = \"{path}\"\n[[trusted]]\nrepositories = [\"a\"]\nseccomp = \"unconfined\"\ndocker = \"sidecar\"\n"
        );
        let Permissions { all, trusted, .. } = parse(&text, &[]).unwrap().permissions;
        assert_eq!(all.seccomp, SeccompProfile::parse(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#).ok());
        assert!(!all.docker_sidecar);
        let trusted = &trusted[0].allowance;
        assert_eq!((&trusted.seccomp, trusted.docker_sidecar), (&Some(SeccompProfile::Unconfined), true));
        assert!(!trusted.privileged);
        let overridden = parse(&text, &["allow.seccomp=unconfined"]).unwrap().permissions.all.seccomp;
        assert_eq!(overridden, Some(SeccompProfile::Unconfined));
    }

    #[test]
    fn jobs_and_images_are_read() {
        let text = r#"
[jobs]
environment = { TZ = "UTC" }
proxy = { https = "http://proxy:3128", no_proxy = ".corp" }
mounts = ["/opt/sdk:/sdk", { source = "/var/cache/x", target = "/x", read_only = false, forks = true }]
extra_hosts = { "db.corp" = "10.0.0.5" }
dns = ["10.0.0.2"]
[images]
pull_policy = "always"
pull_policies = ["always"]
mirrors = { "docker.io" = ["mirror:5000"] }
max_age = "30d"
"#;
        let WorkerFile { permissions, jobs, .. } = parse(text, &[]).unwrap();
        assert_eq!(permissions.pull_policies, [PullPolicy::Always]);
        assert_eq!(jobs.images.pull_policy, PullPolicy::Always);
        assert_eq!(jobs.images.mirrors["docker.io"], ["mirror:5000"]);
        assert_eq!(jobs.images.max_age.map(|age| age.as_secs()), Some(30 * 86_400));
        assert_eq!(jobs.proxies.https.as_deref(), Some("http://proxy:3128"));
        let mount = |source: &str, target: &str, read_only, forks| HostMount {
            source: source.into(),
            target: target.into(),
            read_only,
            forks,
        };
        assert_eq!(
            jobs.mounts,
            [mount("/opt/sdk", "/sdk", true, false), mount("/var/cache/x", "/x", false, true)]
        );
    }

    #[test]
    fn arguments_win_over_the_file_and_need_no_quotes() {
        let text = "[limits]\nmemory = \"2GiB\"\npids = 100\n";
        let file = parse(text, &["limits.memory=1GiB", "jobs.environment.A = b c", "allow.privileged=true"])
            .unwrap();
        assert_eq!((file.limits.memory_bytes, file.limits.pids), (Some(1 << 30), 100));
        assert_eq!(file.jobs.environment["A"], "b c");
        assert!(file.permissions.all.privileged);
        let priced = parse("[machine]\nusd_per_hour = 1\n", &["machine.usd_per_hour=0.0725"]).unwrap();
        assert_eq!((priced.machine_price, file.machine_price), (72_500, 0));
        assert!(parse("", &["allow.privilege=true"]).unwrap_err().contains("privilege"));
        assert_eq!("some/file.toml".parse(), Ok(WorkerConfigArg::File("some/file.toml".into())));
        assert!("a b=1".parse::<WorkerConfigArg>().is_err() && "=1".parse::<WorkerConfigArg>().is_err());
    }

    #[test]
    fn invalid_worker_file_error_names_field_and_line() {
        for (text, message) in [
            ("[limits]\nlogs = 5\n", "unknown field `logs`"),
            ("[limits]\nlog = \"much\"\n", "line 2"),
            ("[machine]\nusd_per_hour = -1\n", "dollars for an hour"),
            ("[machine]\nusd_per_hour = \"NaN\"\n", "dollars for an hour"),
            ("[limits]\npids = 0\n", "every job needs a process"),
            (
                "[limits]\nmemory = \"1GiB\"\ndefault_memory = \"2GiB\"\n",
                "`default_memory` is more than `memory`",
            ),
            ("[allow]\nrepositories = [\"a\"]\n", "[[trusted]]"),
            ("[[trusted]]\nprivileged = true\n", "`repositories`"),
            ("[[trusted]]\nrepositories = [\"[\"]\n", "not a glob"),
            ("[allow]\nulimits = { files = 1 }\n", "files"),
            ("[allow]\ncap_add = [\"ROOT\"]\n", "ROOT"),
            ("[allow]\nseccomp = \"default\"\n", "absolute"),
            ("[allow]\nseccomp = \"/nonexistent/profile.json\"\n", "cannot be read"),
            ("[allow]\nseccomp = \"/proc/self/status\"\n", "not valid JSON"),
            ("[allow]\ndocker = \"socket\"\n", "sidecar"),
            ("[jobs]\nenvironment = { \"A-B\" = \"c\" }\n", "A-B"),
            ("[includes]\ntemplates = \"templates\"\n", "not an absolute path"),
            ("[jobs]\nmounts = [\"sdk:/sdk\"]\n", "absolute"),
            ("[jobs]\nmounts = [\"/sdk:/\"]\n", "target"),
            ("[jobs]\nextra_hosts = { a = \"b\" }\n", "not an IP address"),
            ("[jobs]\nca_certificates = \"ca.pem\"\n", "absolute"),
            ("[jobs]\nca_certificates = \"/nonexistent/ca.pem\"\n", "cannot be read"),
            ("[images]\nmirrors = { \"docker.io\" = [\"https://mirror\"] }\n", "without `https://`"),
            (
                "[images]\npull_policy = \"never\"\npull_policies = [\"always\"]\n",
                "not one of `pull_policies`",
            ),
        ] {
            let error = parse(text, &[]).unwrap_err();
            assert!(error.contains(message), "{text}{error}");
        }
    }
}
