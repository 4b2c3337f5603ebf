#![allow(clippy::unwrap_used)]

use super::{CheckoutRefs, CollectedFiles, DiscoveryResult, discover};
use crate::source::{Limits, OperationBounds, Remote, SourceErrorKind, git};
use std::{cell::RefCell, fs, path::Path};
use tidemill_core::execution::discovery::{
    Discovery, MAX_COMPARED_REFS, MAX_DIAGNOSTICS_BYTES, MAX_PATH_LEN,
};
use tidemill_core::execution::facts::Facts;
use tidemill_core::pipeline::NoSources;
use tokio_util::sync::CancellationToken;

fn git_in(dir: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"];
    git::run(git::command().current_dir(dir).args(identity).args(args)).unwrap().trim().to_owned()
}

fn commit(dir: &Path, files: &[(&str, &str)]) -> String {
    for (path, text) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    git_in(dir, &["add", "-A"]);
    git_in(dir, &["commit", "-q", "-m", "x"]);
    git_in(dir, &["rev-parse", "HEAD"])
}

fn find(dir: &Path, cache: &Path, commit: &str, request: &Discovery) -> DiscoveryResult {
    discover(
        &Remote::on_disk(dir),
        (Some("main"), &CheckoutRefs::default()),
        commit,
        request,
        (cache, &NoSources),
    )
    .unwrap()
}

#[test]
fn canceled_collection_reads_no_further_file() {
    let paths: Vec<String> = (0..5).map(|number| format!(".pipelines/{number}.yml")).collect();
    let cancel = CancellationToken::new();
    let bounds = OperationBounds::new(Limits::default(), cancel.clone());
    let paths_read = RefCell::new(Vec::new());
    let read = |path: &str| {
        paths_read.borrow_mut().push(path.to_owned());
        if paths_read.borrow().len() == 2 {
            cancel.cancel();
        }
        Ok("name: ci\njobs: { j: { image: i, script: x } }\n".to_owned())
    };
    let mut collected = CollectedFiles::default();
    let error = collected.collect_files(&paths, &read, &bounds).unwrap_err();
    assert_eq!((error.kind(), paths_read.into_inner().len()), (SourceErrorKind::Canceled, 2));
}

#[test]
fn canceled_discovery_returns_an_error() {
    let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = repository.path();
    git_in(dir, &["init", "-q", "-b", "main"]);
    let first = commit(dir, &[(".pipelines/ci.yml", "name: ci\njobs: { j: { image: i, script: x } }\n")]);
    find(dir, cache.path(), &first, &Discovery::default());
    let cancel = CancellationToken::new();
    cancel.cancel();
    let attempt = || {
        discover(
            &Remote::on_disk(dir),
            (Some("main"), &CheckoutRefs::default()),
            &first,
            &Discovery::default(),
            (cache.path(), &NoSources),
        )
    };
    let error = OperationBounds::new(Limits::default(), cancel).scope(attempt).unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Canceled);
}

#[test]
fn pipeline_files_and_changes_are_found_at_commit() {
    let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = repository.path();
    git_in(dir, &["init", "-q", "-b", "main"]);
    let jobs = "jobs: { j: { image: i, script: x } }\n";
    let first =
        commit(dir, &[(".gitlab-ci.yml", "job: { image: $GROUP/a, script: x }\n"), ("src/a.rs", "1")]);
    let mut request = Discovery::default();
    request.external.values.insert("GROUP".to_owned(), "tools".to_owned());
    let result = find(dir, cache.path(), &first, &request);
    assert!(result.files[0].text.contains("image: tools/a"), "native: {}", result.files[0].text);
    assert_eq!((result.files[0].path.as_str(), result.changed_paths), (".gitlab-ci.yml", None));
    let first_file = format!("name: one\n{jobs}");
    let second_file = "name: two\ninclude: shared/jobs.yml\n";
    let second = commit(
        dir,
        &[
            (".pipelines/one.yml", first_file.as_str()),
            (".pipelines/two.yaml", second_file),
            (".pipelines/notes.txt", "no"),
            (".pipelines/deeper/three.yml", "no"),
            ("shared/jobs.yml", jobs),
            ("src/b c.rs", "1"),
        ],
    );
    let since = Discovery { before: Some(first.clone()), ..Discovery::default() };
    let result = find(dir, cache.path(), &second, &since);
    let names: Vec<&str> = result.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, [".pipelines/one.yml", ".pipelines/two.yaml"]);
    assert!(result.files[1].text.contains("script"), "{}", result.files[1].text);
    assert_eq!(result.changed_paths.unwrap().len(), 6);
    assert!(result.paths.unwrap().contains(&"src/b c.rs".to_owned()) && result.diagnostics.is_empty());

    git_in(dir, &["checkout", "-q", "-b", "topic", &first]);
    let topic = commit(dir, &[("src/a.rs", "2"), (".pipelines/bad.yml", "name: bad\ninclude: none.yml\n")]);
    let onto = Discovery { target_branch: Some("main".into()), ..Discovery::default() };
    let result = discover(
        &Remote::on_disk(dir),
        (Some("topic"), &CheckoutRefs::default()),
        &topic,
        &onto,
        (cache.path(), &NoSources),
    )
    .unwrap();
    assert_eq!(result.changed_paths.unwrap(), [".pipelines/bad.yml", "src/a.rs"]);
    assert!(result.diagnostics[0].contains("none.yml"), "{:?}", result.diagnostics);
    // The commit that a ref points to, if the requested hash is empty or abbreviated.
    let resolved = |commit: &str, reference: &str| {
        let request = Discovery {
            fetch_ref: Some(reference.into()),
            only: vec![".pipelines/one.yml".into()],
            ..Discovery::default()
        };
        discover(
            &Remote::on_disk(dir),
            (None, &CheckoutRefs::default()),
            commit,
            &request,
            (cache.path(), &NoSources),
        )
    };
    git_in(dir, &["branch", "main", &second, "--force"]);
    let result = resolved("", "refs/heads/main").unwrap();
    assert_eq!((&result.commit, result.files.len()), (&second, 1));
    assert_eq!(resolved(&second[..12], "refs/heads/main").unwrap().commit, second);
    assert!(resolved(&first[..12], "refs/heads/main").is_err() && resolved("", "refs/heads/none").is_err());
    git_in(dir, &["tag", "-a", "v1", "-m", "x", &second]);
    let object = git_in(dir, &["rev-parse", "refs/tags/v1"]);
    assert_ne!(object, second);
    assert_eq!(find(dir, cache.path(), &object, &Discovery::default()).commit, second);
    let new_branch = Discovery { before: Some("0".repeat(40)), ..Discovery::default() };
    assert_eq!(find(dir, cache.path(), &topic, &new_branch).changed_paths, None);
}

#[test]
fn findings_beyond_the_size_of_a_message_are_counted() {
    let mut collected = CollectedFiles::default();
    let warning = format!("warning[x]: {}\n  --> a.yml\n", "w".repeat(86));
    collected.add_diagnostic(warning.repeat(MAX_DIAGNOSTICS_BYTES / warning.len() + 5));
    let [text] = &collected.diagnostics[..] else { panic!("{collected:?}") };
    assert!(text.ends_with("\n... 4 more are not shown: `tidemill check` shows them\n"), "{text}");
    assert!(text.len() < MAX_DIAGNOSTICS_BYTES + 100);
    collected.add_diagnostic(warning.clone());
    assert_eq!(collected.diagnostics[1], warning);
}

#[test]
fn changes_since_refs_are_found_with_the_commit() {
    let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = repository.path();
    git_in(dir, &["init", "-q", "-b", "main"]);
    let rule =
        |reference: &str| format!("      - changes: {{ paths: [src/*], compare_to: '{reference}' }}\n");
    let job = |rules: &str| format!("j:\n  image: i\n  script: x\n  rules:\n{rules}");
    let first = commit(dir, &[("src/a", "1"), (".gitlab-ci.yml", &job(&rule("main")))]);
    git_in(dir, &["tag", "v1"]);
    git_in(dir, &["checkout", "-q", "-b", "topic"]);
    commit(dir, &[("src/b", "1")]);
    let refs = [
        "main",
        "refs/heads/main",
        "v1",
        "refs/tags/v1",
        &first,
        &first[..10],
        "gone",
        "refs/pull/1/head",
        "$CI_COMMIT_BRANCH",
    ];
    let rules: String = refs.iter().map(|reference| rule(reference)).collect();
    let topic = commit(dir, &[("src/c", "1"), (".gitlab-ci.yml", &job(&rules))]);
    git_in(dir, &["checkout", "-q", "main"]);
    commit(dir, &[("src/later", "1")]);
    let event = Facts { branch: Some("topic".into()), ..Facts::default() };
    let request = Discovery { event: Some(Box::new(event)), ..Discovery::default() };
    let result = find(dir, cache.path(), &topic, &request);
    assert!(result.diagnostics.is_empty(), "{:?}", result.diagnostics);
    let changed = Some([".gitlab-ci.yml", "src/b", "src/c"].map(str::to_owned).to_vec());
    for reference in &refs[..6] {
        assert_eq!(result.compared_paths.get(*reference), Some(&changed), "{reference}");
    }
    for gone in ["gone", "refs/pull/1/head"] {
        assert_eq!(result.compared_paths.get(gone), Some(&None), "{gone}");
    }
    assert_eq!(result.compared_paths.get("topic"), Some(&Some(Vec::new())), "the branch itself");
    assert_eq!(result.compared_paths.len(), refs.len());
}

#[test]
fn refs_beyond_those_of_a_report_are_unknown() {
    let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = repository.path();
    git_in(dir, &["init", "-q", "-b", "main"]);
    let long = "r".repeat(MAX_PATH_LEN + 1);
    let file = |name: &str| {
        let rule = |reference: &str| format!("      - if: 'changed_since({reference}, \"**\")'\n");
        let rules: String = (1..MAX_COMPARED_REFS).map(|n| rule(&format!("\"{name}-{n}\""))).collect();
        let job = format!("  j:\n    image: i\n    script: x\n    rules:\n{rules}{}", rule("env(\"R\")"));
        format!("name: {name}\non: {{ push: }}\nvariables: {{ R: {long} }}\njobs:\n{job}")
    };
    let (a, b) = (file("a"), file("b"));
    let head = commit(dir, &[(".pipelines/a.yml", &a), (".pipelines/b.yml", &b)]);
    let result = find(dir, cache.path(), &head, &Discovery::default());
    assert!(result.diagnostics.is_empty(), "{:?}", result.diagnostics);
    assert_eq!(result.compared_paths.len(), MAX_COMPARED_REFS);
    assert!(result.compared_paths.iter().all(|(name, paths)| name.len() <= MAX_PATH_LEN && paths.is_none()));
}
