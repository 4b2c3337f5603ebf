//! Checks `artifacts`.

use super::context::{FindingSink, check_paths_inside};
use crate::pipeline::finding::{Fault, Finding, Path, quoted};
use crate::pipeline::model::{Artifacts, Reports};
use crate::pipeline::names;
use crate::pipeline::raw::field::Field;
use crate::pipeline::raw::job_parts::RawArtifacts;

const MAX_RETENTION_S: u64 = 10 * 366 * 86_400;

pub(crate) fn artifacts(raw: &RawArtifacts) -> Artifacts {
    let paths = raw.paths.get().map_or(&[][..], |paths| paths.0.as_slice());
    Artifacts {
        paths: paths.iter().map(|path| path.0.clone()).collect(),
        when: raw.when.get().map(|when| when.0).unwrap_or_default(),
        expire_in_s: raw.expire_in.get().map(|span| span.0),
        reports: Reports {
            junit: raw
                .reports
                .get()
                .and_then(|reports| reports.junit.get())
                .map(|globs| globs.0.iter().map(|glob| glob.0.clone()).collect())
                .unwrap_or_default(),
        },
    }
}

pub(crate) fn check_artifacts(raw: &RawArtifacts, path: &Path, findings: &mut FindingSink) {
    if let Some(reports) = raw.reports.get() {
        check_paths_inside(reports.junit.get(), &path.key("reports").key("junit"), findings);
        if reports.junit.is_absent() {
            findings.push(
                Finding::key("missing-key", &path.key("reports"), "`reports` names no files")
                    .help("write `reports: { junit: report.xml }`"),
            );
        }
    }
    match &raw.paths {
        // `reports` does not require `paths`.
        Field::Absent if !raw.reports.is_absent() => {}
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
    if let Some(keep) = raw.expire_in.get() {
        let fault = Fault::new("out-of-range", "must be from one minute to ten years");
        let result = if (60..=MAX_RETENTION_S).contains(&keep.0) { Ok(()) } else { Err(fault) };
        findings.check(result, || path.key("expire_in"));
    }
}
