//! Checks `image`: a name, or a mapping that also says how the image is used.

use indexmap::IndexMap;

use super::containers::options::{check_user_and_platform, spelling};
use super::context::{FindingSink, PipelineContext};
use super::surroundings;
use crate::execution::outputs;
use crate::pipeline::finding::{Fault, Finding, FindingLocation, Path, PathPart, quoted};
use crate::pipeline::model::{ImageOptions, JobOptions, Matrix, NO_IMAGE, PullPolicy};
use crate::pipeline::names;
use crate::pipeline::raw::alternatives::Either;
use crate::pipeline::raw::field::Field;
use crate::pipeline::raw::job_parts::RawImage;
use crate::pipeline::raw::records::RawJob;
use crate::pipeline::raw::scalars::{PullPolicyValue, Text};
use crate::pipeline::references;

const MAX_ENTRYPOINT_WORDS: usize = 100;

/// The image of a job.
#[derive(Default)]
pub(crate) struct JobImage {
    pub(crate) name: String,
    pub(crate) options: ImageOptions,
    pub(crate) pull_policy: Option<PullPolicy>,
}

/// Returns the image of a job, its own or that of `defaults`, after checking its own and the references of both.
pub(crate) fn image(
    name: &str,
    raw: &RawJob,
    path: &Path,
    around: &PipelineContext<'_>,
    variables: &IndexMap<String, String>,
    matrix: &Matrix,
    findings: &mut FindingSink,
) -> JobImage {
    check_pull_policies(&raw.image, &raw.pull_policy, path, findings);
    if !raw.pipeline.is_absent() {
        // It has no container.
        return JobImage::default();
    }
    let image = match (&raw.image, &around.defaults.image) {
        (Field::Set(image), _) | (Field::Absent, Field::Set(image)) => image,
        (Field::Absent, Field::Absent) if !raw.extends.is_absent() => return JobImage::default(),
        // Only the image that it builds.
        (Field::Absent, Field::Absent) if raw.build.get().is_some() && raw.script.is_absent() => {
            return JobImage::default();
        }
        (Field::Absent, Field::Absent) => {
            findings.push(
                Finding::key("missing-image", path, format!("the job {} has no `image`", quoted(name)))
                    .help("add `image:`, or give every job one under `defaults:`"),
            );
            return JobImage::default();
        }
        (Field::Invalid, _) | (Field::Absent, Field::Invalid) => return JobImage::default(),
    };
    let own = !raw.image.is_absent();
    let at = if own { path.key("image") } else { Path::default().key("defaults").key("image") };
    if own {
        check_image(image, &at, findings);
    }
    let ruled = || {
        let rules = raw.rules.get().map_or(&[][..], |rules| rules.0.as_slice());
        rules
            .iter()
            .filter_map(|(_, rule)| rule.variables.get())
            .flat_map(|entries| &entries.0)
            .map(|(name, _)| name)
    };
    let (texts, options, pull_policy) = parts(image, &at);
    for (text, at) in &texts {
        for reference in references::parse_references(text).unwrap_or_default() {
            let known = around.has_other_outputs(raw)
                || matrix.keys().any(|key| key == reference)
                || variables.contains_key(reference)
                || around.variables.contains_key(reference)
                || surroundings::is_predefined(reference)
                || outputs::is_due_reference(reference)
                || ruled().any(|name| name == reference);
            if known {
                continue;
            }
            let names =
                variables.keys().chain(around.variables.keys()).map(String::as_str).chain(matrix.keys());
            let help = findings.suggestions.did_you_mean(reference, names);
            let message = format!(
                "the image of {} refers to {}, which is neither a matrix key nor a variable",
                quoted(name),
                quoted(reference)
            );
            let mut finding = Finding::value("unknown-reference", at, message).maybe_help(help);
            if !own {
                finding = finding.related("for this job", FindingLocation::Path(path.clone(), PathPart::Key));
            }
            findings.push(finding);
        }
    }
    let policies = [pull_policy, raw.pull_policy.get(), around.defaults.pull_policy.get()];
    JobImage {
        name: texts.first().map(|(name, _)| (*name).to_owned()).unwrap_or_default(),
        options,
        pull_policy: policies.into_iter().flatten().next().map(|policy| policy.0),
    }
}

/// Reports what a job without an image cannot have, as only a container engine gives it.
pub(crate) fn check_without_image(
    image: &JobImage,
    options: &JobOptions,
    raw: &RawJob,
    path: &Path,
    findings: &mut FindingSink,
) {
    if image.name != NO_IMAGE {
        return;
    }
    let keys = [
        (!options.services.is_empty(), !raw.services.is_absent(), "services"),
        (!options.container.is_empty(), !raw.container.is_absent(), "container"),
        (options.build.is_some(), true, "build"),
        (!image.options.is_empty(), false, "image"),
    ];
    for (_, is_own, key) in keys.into_iter().filter(|(is_set, ..)| *is_set) {
        let message = format!("`{key}` needs a container, and a job with `image: none` has none");
        let at = if is_own { path.key(key) } else { path.clone() };
        findings.push(
            Finding::key("conflicting-keys", &at, message)
                .help("remove it, also from `defaults`, or give the job an image"),
        );
    }
}

/// The texts of an image that may hold references, its name first.
type Texts<'a> = Vec<(&'a str, Path)>;

/// Returns the parts of an image at `path`.
fn parts<'a>(
    image: &'a Either<Text, RawImage>,
    path: &Path,
) -> (Texts<'a>, ImageOptions, Option<&'a PullPolicyValue>) {
    let raw = match image {
        Either::Short(name) => return (vec![(&name.0, path.clone())], ImageOptions::default(), None),
        Either::Long(raw) => raw,
    };
    let text = |field: &Field<Text>| field.get().map(|text| text.0.clone());
    let words = raw.entrypoint.get().map(|words| words.0.iter().map(|word| word.0.clone()).collect());
    let options = ImageOptions {
        // An empty word is GitLab's way to write that there is no entry point.
        entrypoint: words.map(
            |words: Vec<String>| {
                if words.iter().all(String::is_empty) { Vec::new() } else { words }
            },
        ),
        user: text(&raw.user),
        platform: text(&raw.platform),
    };
    let fields = [(&raw.name, "name"), (&raw.user, "user"), (&raw.platform, "platform")];
    let texts = fields.into_iter().filter_map(|(field, key)| Some((field.get()?.0.as_str(), path.key(key))));
    (texts.collect(), options, raw.pull_policy.get())
}

/// Checks an image on its own.
pub(crate) fn check_image(image: &Either<Text, RawImage>, path: &Path, findings: &mut FindingSink) {
    let raw = match image {
        Either::Short(name) => return findings.check(spelling(&name.0, names::check_image), || path.clone()),
        Either::Long(raw) => raw,
    };
    match &raw.name {
        Field::Set(name) => findings.check(spelling(&name.0, names::check_image), || path.key("name")),
        Field::Absent => findings.push(
            Finding::key("missing-key", path, "`image` has no `name`")
                .help("write `image: { name: \"rust:1.95\", ... }`, or only the name"),
        ),
        Field::Invalid => {}
    }
    check_user_and_platform(&raw.user, &raw.platform, path, findings);
    let words = raw.entrypoint.get().map_or(&[][..], |words| words.0.as_slice());
    if words.len() > MAX_ENTRYPOINT_WORDS {
        let fault = Fault::new("out-of-range", format!("has more than {MAX_ENTRYPOINT_WORDS} words"))
            .help("put it into a script of the image");
        findings.check(Err(fault), || path.key("entrypoint"));
    }
    if let [only] = words
        && only.0.trim().contains(char::is_whitespace)
    {
        findings.push(
            Finding::value(
                "bad-command",
                &path.key("entrypoint"),
                "`entrypoint` is a single word that contains a space",
            )
            .help("write each word as an item, as in `[sh, -c, 'exec \"$@\"', sh]`"),
        );
    }
}

/// Reports a pull policy that stands both in an image and beside it.
pub(crate) fn check_pull_policies(
    image: &Field<Either<Text, RawImage>>,
    beside: &Field<PullPolicyValue>,
    path: &Path,
    findings: &mut FindingSink,
) {
    if let Some(Either::Long(image)) = image.get()
        && !image.pull_policy.is_absent()
        && !beside.is_absent()
    {
        let message = "`pull_policy` is set both in `image` and beside it";
        findings.push(
            Finding::key("conflicting-keys", &path.key("pull_policy"), message)
                .help("remove one of the two")
                .related(
                    "here too",
                    FindingLocation::Path(path.key("image").key("pull_policy"), PathPart::Key),
                ),
        );
    }
}
