//! Checks `build`: an image that a job builds.

use indexmap::IndexMap;

use crate::pipeline::checks::context::{FindingSink, texts};
use crate::pipeline::finding::{Fault, Finding, Path, quoted};
use crate::pipeline::model::{ImageBuild, SecretRef};
use crate::pipeline::names;
use crate::pipeline::raw::alternatives::Either;
use crate::pipeline::raw::build::RawBuild;
use crate::pipeline::raw::collections::NamedValues;
use crate::pipeline::raw::field::Field;
use crate::pipeline::raw::scalars::{Flag, Text};
use crate::pipeline::references;

/// Maximum number of arguments, labels, tags and images of a build, each.
const MAX_ENTRIES: usize = 100;

/// Maximum size of a value of a build, in bytes.
const MAX_VALUE_BYTES: usize = 32 << 10;

/// Maximum length of the name of an argument or a label, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Checks a build, and returns it. `secrets` are those of the job.
pub(crate) fn build(
    raw: &Either<Text, RawBuild>,
    path: &Path,
    secrets: &[SecretRef],
    findings: &mut FindingSink,
) -> ImageBuild {
    let none = RawBuild::default();
    let raw = match raw {
        Either::Short(context) => {
            findings.check(check_path(&context.0), || path.clone());
            return ImageBuild {
                context: context.0.clone(),
                dockerfile: dockerfile(&none),
                ..ImageBuild::default()
            };
        }
        Either::Long(raw) => raw,
    };
    for (field, key) in [(&raw.context, "context"), (&raw.dockerfile, "dockerfile")] {
        if let Some(text) = field.get() {
            findings.check(check_path(&text.0), || path.key(key));
        }
    }
    if let Some(target) = raw.target.get() {
        findings.check(check_target(&target.0), || path.key("target"));
    }
    if let Some(platform) = raw.platform.get() {
        let checked = if platform.0.contains(',') {
            Err(Fault::new("bad-platform", "names several platforms").help(
                "an image is built for the platform of its worker: write a job for each, and choose workers with `runs_on`",
            ))
        } else {
            spelling(&platform.0, names::check_platform)
        };
        findings.check(checked, || path.key("platform"));
    }
    for (list, key) in [(&raw.tags, "tags"), (&raw.cache_from, "cache_from")] {
        let list = list.get().map_or(&[][..], |list| list.0.as_slice());
        check_count(list.len(), &path.key(key), findings);
        for (index, image) in list.iter().enumerate() {
            let checked = spelling(&image.0, names::check_image).and_then(|()| {
                let named = Fault::new("bad-image", "has a digest, which only the registry gives")
                    .help("name a tag, such as `registry.example.org/app:1`");
                if key == "tags" && image.0.contains('@') { Err(named) } else { Ok(()) }
            });
            findings.check(checked, || path.key(key).index(index));
        }
    }
    let push = flag(&raw.push);
    let tags = texts(raw.tags.get());
    if push && tags.is_empty() {
        findings.push(
            Finding::key("missing-key", &path.key("push"), "`push` has no `tags` to push to")
                .help("add `tags: [registry.example.org/app:1]`"),
        );
    }
    if !push && !tags.is_empty() && !matches!(raw.push, Field::Invalid) {
        findings.push(
            Finding::key(
                "missing-key",
                &path.key("tags"),
                "`tags` are the names to push to, and nothing is pushed",
            )
            .help("add `push: true`, or remove `tags`"),
        );
    }
    let named = texts(raw.secrets.get());
    for (index, name) in named.iter().enumerate() {
        if !secrets.iter().any(|secret| secret.variable == *name) {
            let help = format!("add it to the job: `secrets: [{name}]`");
            findings.push(
                Finding::value(
                    "unknown-secret",
                    &path.key("secrets").index(index),
                    format!("{} is not a secret of the job", quoted(name)),
                )
                .help(help),
            );
        }
    }
    ImageBuild {
        context: raw.context.get().map_or_else(|| ".".to_owned(), |text| text.0.clone()),
        dockerfile: dockerfile(raw),
        target: raw.target.get().map(|text| text.0.clone()),
        args: pairs(raw.args.get(), &path.key("args"), findings),
        labels: pairs(raw.labels.get(), &path.key("labels"), findings),
        tags,
        push,
        secrets: named,
        ssh: flag(&raw.ssh),
        cache_from: texts(raw.cache_from.get()),
        inline_cache: flag(&raw.inline_cache),
        platform: raw.platform.get().map(|text| text.0.clone()),
        pull: flag(&raw.pull),
    }
}

fn dockerfile(raw: &RawBuild) -> String {
    raw.dockerfile.get().map_or_else(|| "Dockerfile".to_owned(), |text| text.0.clone())
}

fn flag(field: &Field<Flag>) -> bool {
    field.get().is_some_and(|flag| flag.0)
}

fn spelling(text: &str, check: impl Fn(&str) -> Result<(), Fault>) -> Result<(), Fault> {
    references::parse_references(text).and_then(|_| check(text))
}

fn check_path(path: &str) -> Result<(), Fault> {
    if path.is_empty() {
        return Err(Fault::new("bad-path", "is empty").help("write `.` for the workspace itself"));
    }
    if path.contains('\0') || path.len() > 4096 {
        return Err(Fault::new("bad-path", "is not a path"));
    }
    if path.starts_with('/') || names::climbs_out(path) {
        return Err(Fault::new("path-outside", format!("leads out of the workspace: {}", quoted(path)))
            .help("write it relative to the workspace, without `..`"));
    }
    references::parse_references(path).map(drop)
}

fn check_target(target: &str) -> Result<(), Fault> {
    references::parse_references(target)?;
    let valid = |c: char| c.is_ascii_alphanumeric() || "_-.${}".contains(c);
    if target.is_empty() || target.len() > MAX_NAME_BYTES || !target.chars().all(valid) {
        return Err(Fault::new("bad-name", "is not the name of a stage")
            .help("write the name after `AS` in the Dockerfile, as in `FROM alpine AS release`"));
    }
    Ok(())
}

fn check_count(count: usize, path: &Path, findings: &mut FindingSink) {
    if count > MAX_ENTRIES {
        let fault = Fault::new("out-of-range", format!("has {count} entries; {MAX_ENTRIES} is the limit"));
        findings.check(Err(fault), || path.clone());
    }
}

/// Checks names with values, and returns them.
fn pairs(
    entries: Option<&NamedValues<Text>>,
    path: &Path,
    findings: &mut FindingSink,
) -> IndexMap<String, String> {
    let entries = entries.map_or(&[][..], |entries| entries.0.as_slice());
    check_count(entries.len(), path, findings);
    for (name, value) in entries {
        let invalid = |c: char| c.is_control() || c.is_whitespace() || c == '=';
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(invalid) {
            let fault = Fault::new("bad-name", "is not a name").help("use no spaces and no `=`");
            findings.check_key(Err(fault), || path.key(name));
        }
        let checked = if value.0.len() > MAX_VALUE_BYTES {
            Err(Fault::new("out-of-range", "is longer than 32 KiB").help("put it into a file of the context"))
        } else {
            references::parse_references(&value.0).map(drop)
        };
        findings.check(checked, || path.key(name));
    }
    entries.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect()
}
