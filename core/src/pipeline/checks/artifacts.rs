//! Checks `artifacts`.

use super::context::{FindingSink, check_paths_inside};
use crate::pipeline::finding::{Fault, Finding, Path, quoted};
use crate::pipeline::model::{Artifacts, MAX_ARTIFACT_LABEL_LEN, Reports};
use crate::pipeline::names;
use crate::pipeline::raw::collections::OneOrMany;
use crate::pipeline::raw::field::Field;
use crate::pipeline::raw::job_parts::RawArtifacts;
use crate::pipeline::raw::scalars::Text;
use crate::text::check_line;

const MAX_RETENTION_S: u64 = 10 * 366 * 86_400;

pub(crate) fn artifacts(raw: &RawArtifacts) -> Artifacts {
    let globs = |field: &Field<OneOrMany<Text>>| -> Vec<String> {
        field.get().map(|globs| globs.0.iter().map(|glob| glob.0.clone()).collect()).unwrap_or_default()
    };
    Artifacts {
        paths: globs(&raw.paths),
        exclude: globs(&raw.exclude),
        untracked: raw.untracked.get().is_some_and(|flag| flag.0),
        name: raw.name.get().map(|name| name.0.clone()),
        expose_as: raw.expose_as.get().map(|title| title.0.clone()),
        when: raw.when.get().map(|when| when.0).unwrap_or_default(),
        expire_in_s: raw.expire_in.get().map(|span| span.0),
        reports: raw
            .reports
            .get()
            .map(|reports| Reports {
                junit: globs(&reports.junit),
                coverage: globs(&reports.coverage),
                sarif: globs(&reports.sarif),
                codequality: globs(&reports.codequality),
                sast: globs(&reports.sast),
            })
            .unwrap_or_default(),
    }
}

pub(crate) fn check_artifacts(raw: &RawArtifacts, path: &Path, findings: &mut FindingSink) {
    if let Some(reports) = raw.reports.get() {
        let all = [
            ("junit", &reports.junit),
            ("coverage", &reports.coverage),
            ("sarif", &reports.sarif),
            ("codequality", &reports.codequality),
            ("sast", &reports.sast),
        ];
        for (key, globs) in all {
            check_paths_inside(globs.get(), &path.key("reports").key(key), findings);
        }
        if all.iter().all(|(_, globs)| globs.is_absent()) {
            findings.push(
                Finding::key("missing-key", &path.key("reports"), "`reports` names no files")
                    .help("write `reports: { junit: report.xml }`"),
            );
        }
    }
    match &raw.paths {
        // `reports` and `untracked` do not require `paths`.
        Field::Absent if !raw.reports.is_absent() || raw.untracked.get().is_some_and(|flag| flag.0) => {}
        Field::Absent => findings.push(
            Finding::key("missing-key", path, "`artifacts` has no `paths`")
                .help("add `paths:` with the files to keep"),
        ),
        Field::Set(paths) if paths.0.is_empty() => findings.push(
            Finding::value("empty-paths", &path.key("paths"), "`paths` is empty")
                .help("name the files to keep, or remove `artifacts`"),
        ),
        Field::Set(paths) => {
            for (index, glob) in paths.0.iter().enumerate() {
                let at = || path.key("paths").index(index);
                findings.check(names::check_inside(&glob.0), at);
                if glob.0.contains("${") {
                    let message = format!("variables are not expanded here: {}", quoted(&glob.0));
                    let finding = Finding::value("not-expanded", &at(), message).warning();
                    findings.push(finding.help("use a glob, such as `dist/*.tar.gz`"));
                }
            }
        }
        Field::Invalid => {}
    }
    check_paths_inside(raw.exclude.get(), &path.key("exclude"), findings);
    for (key, field) in [("name", &raw.name), ("expose_as", &raw.expose_as)] {
        if let Some(text) = field.get() {
            findings.check(check_label(&text.0), || path.key(key));
        }
    }
    if let Some(keep) = raw.expire_in.get() {
        let fault = Fault::new("out-of-range", "must be from one minute to ten years");
        let result = if (60..=MAX_RETENTION_S).contains(&keep.0) { Ok(()) } else { Err(fault) };
        findings.check(result, || path.key("expire_in"));
    }
}

/// Checks a text that is shown.
fn check_label(text: &str) -> Result<(), Fault> {
    if text.trim().is_empty() {
        return Err(Fault::new("empty-text", "must not be empty"));
    }
    check_line("it", text, MAX_ARTIFACT_LABEL_LEN)
        .map_err(|_| Fault::new("invalid-text", "must be one line of at most 255 bytes"))
}
