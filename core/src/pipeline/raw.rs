//! The pipeline file as users write it; also what its JSON Schema is made from.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use super::field::{
    Entries, Field, Jobs, OneOrMany, OrNothing, Read, Reader, Record, Scalar, read_record, record, wrong_type,
};
use super::finding::{Fault, Finding, Path};
use super::raw_parts::{
    Around, RawAllowed, RawCache, RawEnvironment, RawReports, RawRule, RawSchedule, RawSecret, RawService,
};
use super::shape::{Either, Items};
use super::tree::{Kind, Node};
use super::value::{Bytes, Cpus, ExitCode, Flag, Pull, Retry, RetryKind, RunWord, Span, Text, WhenKept};

record! {
    /// A Tidemill pipeline file.
    struct RawPipeline("a pipeline file") {
        /// The pipeline's name, unique in its repository.
        name: Text = "name",
        /// What starts the pipeline besides a person.
        on: RawTriggers = "on",
        /// The stages in the order they run. Default: build, test, deploy.
        stages: OneOrMany<Text> = "stages",
        /// Environment variables of every job.
        variables: Entries<Text> = "variables",
        /// Which executions do not run at the same time.
        concurrency: RawConcurrency = "concurrency",
        /// How long an execution may last, from its creation on. Default: without limit.
        timeout: Span = "timeout",
        /// Whether a newer execution of the same branch cancels an older one. Default: false.
        interruptible: Flag = "interruptible",
        /// What every job gets unless it says otherwise.
        defaults: RawDefaults = "defaults",
        /// The jobs: a mapping of names to jobs, or a list of jobs that each have a `name`.
        jobs: Jobs<RawJob> = "jobs",
    }
}

record! {
    /// One job: a script that runs in a container of its own.
    struct RawJob("a job") {
        /// The job's name; only where `jobs` is a list.
        name: Text = "name",
        /// The stage the job belongs to. Default: test.
        stage: Text = "stage",
        /// The container image; `${NAME}` stands for a variable or a matrix key.
        image: Text = "image",
        /// The shell lines to run, in order.
        script: Script = "script",
        /// The jobs that must succeed first. Default: every job of every earlier stage.
        needs: Needs = "needs",
        /// Environment variables of this job.
        variables: Entries<Text> = "variables",
        /// The files the job leaves for later jobs and for people.
        artifacts: RawArtifacts = "artifacts",
        /// Whether the pipeline may succeed although this job failed. Default: false.
        allow_failure: Either<Flag, RawAllowed> = "allow_failure",
        /// How many more times a failed job is tried, 0 to 10, or a mapping that says after what. Default: 0.
        retry: Again = "retry",
        /// How long one try may run. Default: 1h.
        timeout: Span = "timeout",
        /// The directory the script starts in. Default: where the sources are.
        working_dir: Text = "working_dir",
        /// Limits of the container.
        resources: RawResources = "resources",
        /// Keys and their values; the job runs once for each combination.
        matrix: Entries<OneOrMany<Text>> = "matrix",
        /// When the image is pulled. Default: if-not-present.
        pull_policy: Pull = "pull_policy",
        /// Shell lines that run before those of `script`, in the same shell.
        before_script: Script = "before_script",
        /// Shell lines that run after the script, however it ended.
        after_script: Script = "after_script",
        /// Containers that run beside the job.
        services: Items<Either<Text, RawService>> = "services",
        /// Files that are kept from one execution to the next.
        cache: Items<RawCache> = "cache",
        /// Secrets that the job gets.
        secrets: Items<Either<Text, RawSecret>> = "secrets",
        /// Where the job deploys to.
        environment: Either<Text, RawEnvironment> = "environment",
        /// Labels that a worker must have to run the job.
        runs_on: Entries<Text> = "runs_on",
        /// A condition: where it does not hold, the job is left out. Short for one rule.
        condition: Text = "if",
        /// The first that holds says whether and how the job takes part; where none does, it is left out.
        rules: Items<RawRule> = "rules",
        /// On what end of its needs the job runs. Default: on_success.
        when: RunWord = "when",
    }
}

record! {
    /// What every job gets unless it says otherwise.
    struct RawDefaults("`defaults`") {
        /// The container image.
        image: Text = "image",
        /// Environment variables; a job's own are added to these.
        variables: Entries<Text> = "variables",
        /// The files a job leaves.
        artifacts: RawArtifacts = "artifacts",
        /// Whether the pipeline may succeed although a job failed.
        allow_failure: Either<Flag, RawAllowed> = "allow_failure",
        /// How many more times a failed job is tried, 0 to 10, or a mapping that says after what.
        retry: Again = "retry",
        /// How long one try may run.
        timeout: Span = "timeout",
        /// The directory a script starts in.
        working_dir: Text = "working_dir",
        /// Limits of the container.
        resources: RawResources = "resources",
        /// When the image is pulled.
        pull_policy: Pull = "pull_policy",
        /// Shell lines that run before those of `script`, in the same shell.
        before_script: Script = "before_script",
        /// Shell lines that run after the script, however it ended.
        after_script: Script = "after_script",
        /// Containers that run beside the job.
        services: Items<Either<Text, RawService>> = "services",
        /// Files that are kept from one execution to the next.
        cache: Items<RawCache> = "cache",
        /// Secrets that the job gets.
        secrets: Items<Either<Text, RawSecret>> = "secrets",
        /// Where the job deploys to.
        environment: Either<Text, RawEnvironment> = "environment",
        /// Labels that a worker must have to run the job.
        runs_on: Entries<Text> = "runs_on",
    }
}

/// Gives what a job, or `defaults`, has around its script.
macro_rules! around {
    ($name:ident) => {
        impl $name {
            pub(super) fn around(&self) -> Around<'_> {
                Around {
                    after_script: self.after_script.get(),
                    services: self.services.get(),
                    cache: self.cache.get(),
                    secrets: self.secrets.get(),
                    environment: self.environment.get(),
                }
            }
        }
    };
}
around!(RawJob);
around!(RawDefaults);

/// The keys of `defaults`.
pub(super) const DEFAULTS_KEYS: &[&str] = RawDefaults::KEYS;

record! {
    /// The files a job leaves for later jobs and for people.
    struct RawArtifacts("`artifacts`") {
        /// Files, directories and globs, relative to the sources.
        paths: OneOrMany<Text> = "paths",
        /// After which ends of the job they are kept. Default: on_success.
        when: WhenKept = "when",
        /// How long they are kept. Default: as long as the execution.
        expire_in: Span = "expire_in",
        /// Files that are read for what they say.
        reports: RawReports = "reports",
    }
}

record! {
    /// How often, and after what, a job is tried again.
    struct RawRetry("`retry`") {
        /// How many more times, 0 to 10. Default: 1.
        max: Retry = "max",
        /// The failures after which it is. Default: every failure of the job's own.
        when: OneOrMany<RetryKind> = "when",
        /// The exit codes of the script after which it is. Default: every one.
        exit_codes: OneOrMany<ExitCode> = "exit_codes",
    }
}

record! {
    /// Which executions do not run at the same time.
    struct RawConcurrency("`concurrency`") {
        /// The group: of one repository's executions of one group, one runs at a time. `${branch}` and `${pipeline}` stand for those.
        group: Text = "group",
        /// Whether a newer execution of the group cancels the older one; else it waits for its end. Default: false.
        cancel_superseded: Flag = "cancel_superseded",
    }
}

record! {
    /// Limits of a job's container.
    struct RawResources("`resources`") {
        /// Processors, such as 2 or 0.5.
        cpus: Cpus = "cpus",
        /// Memory, such as 512m or 2GiB.
        memory: Bytes = "memory",
    }
}

record! {
    /// What starts the pipeline besides a person.
    struct RawTriggers("`on`") {
        /// Commits pushed to the repository.
        push: OrNothing<RawPush> = "push",
        /// Pull requests opened or updated.
        pull_request: OrNothing<RawPullRequest> = "pull_request",
        /// Cron expressions of five fields, in UTC, or mappings that name a time zone.
        schedule: Items<Either<Text, RawSchedule>> = "schedule",
    }
}

record! {
    /// Which pushes start the pipeline.
    struct RawPush("`push`") {
        /// Globs of branch names.
        branches: OneOrMany<Text> = "branches",
        /// Globs of tag names.
        tags: OneOrMany<Text> = "tags",
        /// Globs of changed files.
        paths: OneOrMany<Text> = "paths",
    }
}

record! {
    /// Which pull requests start the pipeline.
    struct RawPullRequest("`pull_request`") {
        /// Globs of the target branch's name.
        branches: OneOrMany<Text> = "branches",
        /// Globs of changed files.
        paths: OneOrMany<Text> = "paths",
    }
}

/// Shell lines; lists within the list are laid flat, so that anchors can share lines.
#[derive(Debug, Default)]
pub(super) struct Script(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Script {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lines;
        impl<'de> Visitor<'de> for Lines {
            type Value = Vec<String>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a line of shell, or a list of lines")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
                let mut lines = Vec::new();
                while let Some(line) = seq.next_element::<Text>()? {
                    lines.push(line.0);
                }
                Ok(lines)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<String>, E> {
                Text::from_text(text).map(|line| vec![line.0]).map_err(|fault| E::custom(fault.message))
            }
        }
        deserializer.deserialize_any(Lines).map(Self)
    }
}

impl Read for Script {
    fn read(node: &Node, path: &Path, reader: &mut Reader) -> Option<Self> {
        let mut lines = Vec::new();
        collect_lines(node, path, reader, &mut lines).then_some(Self(lines))
    }
}

fn collect_lines(node: &Node, path: &Path, reader: &mut Reader, lines: &mut Vec<String>) -> bool {
    match &node.kind {
        Kind::Sequence(items) => {
            let mut good = true;
            for (at, item) in items.iter().enumerate() {
                good &= collect_lines(item, &path.index(at), reader, lines);
            }
            good
        }
        Kind::Mapping(_) => {
            let finding = wrong_type(node, path, "a line of shell").help(
                "YAML reads `name: value` as a mapping; put the line between quotes, or use a block (`- |`)",
            );
            reader.findings.push(finding);
            false
        }
        Kind::Scalar { .. } => match Text::read(node, path, reader) {
            Some(line) => {
                lines.push(line.0);
                true
            }
            None => false,
        },
    }
}

impl JsonSchema for Script {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Script".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": ["string", "boolean", "number"] },
            { "type": "array", "items": { "type": ["string", "boolean", "number", "array"] } },
        ] })
    }
}

/// How often, and after what, a job is tried again: a number, or a mapping.
#[derive(Debug, Default)]
pub(super) struct Again(pub(super) RawRetry);

impl Again {
    fn times(max: Retry) -> Self {
        Self(RawRetry { max: Field::Set(max), ..RawRetry::default() })
    }
}

impl<'de> Deserialize<'de> for Again {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Again;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 0 to 10, or a mapping")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Again, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Again, E> {
                Retry::from_text(text).map(Again::times).map_err(|fault| E::custom(fault.message))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Again, A::Error> {
                RawRetry::deserialize(de::value::MapAccessDeserializer::new(map)).map(Again)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Read for Again {
    fn read(node: &Node, path: &Path, reader: &mut Reader) -> Option<Self> {
        match &node.kind {
            Kind::Mapping(_) => RawRetry::read(node, path, reader).map(Self),
            _ => Retry::read(node, path, reader).map(Self::times),
        }
    }
}

impl JsonSchema for Again {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Again".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (times, mapping) = (generator.subschema_for::<Retry>(), generator.subschema_for::<RawRetry>());
        json_schema!({ "anyOf": [times, mapping] })
    }
}

/// Names of jobs, each with its place in the list.
#[derive(Debug, Default)]
pub(super) struct Needs(pub(super) Vec<Need>);

#[derive(Debug)]
pub(super) struct Need {
    pub(super) job: String,
    pub(super) index: usize,
    /// Whether it is written as `{ job: name }`.
    pub(super) long: bool,
}

record! {
    /// The long form of an item of `needs`.
    struct RawNeed("an item of `needs`") {
        /// The job's name.
        job: Text = "job",
    }
}

impl<'de> Deserialize<'de> for Needs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        struct Item(String, bool);
        struct OneItem;
        impl<'de> Visitor<'de> for OneItem {
            type Value = Item;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a job's name")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Item, E> {
                Ok(Item(text.to_owned(), false))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Item, A::Error> {
                let need = RawNeed::deserialize(de::value::MapAccessDeserializer::new(map))?;
                match need.job {
                    Field::Set(job) => Ok(Item(job.0, true)),
                    _ => Err(de::Error::missing_field("job")),
                }
            }
        }
        impl<'de> Deserialize<'de> for Item {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(OneItem)
            }
        }
        impl<'de> Visitor<'de> for Items {
            type Value = Vec<Need>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of job names")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Need>, A::Error> {
                let mut needs = Vec::new();
                while let Some(Item(job, long)) = seq.next_element()? {
                    needs.push(Need { job, index: needs.len(), long });
                }
                Ok(needs)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<Need>, E> {
                Ok(vec![Need { job: text.to_owned(), index: 0, long: false }])
            }
        }
        deserializer.deserialize_any(Items).map(Self)
    }
}

impl Read for Needs {
    fn read(node: &Node, path: &Path, reader: &mut Reader) -> Option<Self> {
        match &node.kind {
            Kind::Sequence(items) => {
                let read = |(index, item): (usize, &std::rc::Rc<Node>)| {
                    read_need(item, &path.index(index), index, reader)
                };
                Some(Self(items.iter().enumerate().filter_map(read).collect()))
            }
            Kind::Scalar { .. } if !node.is_null() => {
                read_need(node, path, 0, reader).map(|need| Self(vec![need]))
            }
            _ => {
                reader.findings.push(
                    wrong_type(node, path, "a list of job names")
                        .help("write `needs: [job]`; `needs: []` lets the job start at once"),
                );
                None
            }
        }
    }
}

fn read_need(node: &Node, path: &Path, index: usize, reader: &mut Reader) -> Option<Need> {
    if !matches!(node.kind, Kind::Mapping(_)) {
        return Text::read(node, path, reader).map(|job| Need { job: job.0, index, long: false });
    }
    let need = RawNeed::read(node, path, reader)?;
    if need.job.is_absent() {
        let fault =
            Fault::new("missing-key", "has no key `job`").help("write `{ job: name }`, or only the name");
        let finding: Finding = fault.at(path);
        reader.findings.push(finding);
    }
    need.job.get().map(|job| Need { job: job.0.clone(), index, long: true })
}

impl JsonSchema for Needs {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Needs".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let need = generator.subschema_for::<RawNeed>();
        json_schema!({ "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "anyOf": [{ "type": "string" }, need] } },
        ] })
    }
}
