//! Files that are included from other projects, the web, components and templates.

use super::on_push;
use crate::elsewhere::{Elsewhere, commit, texts};
use data_encoding::BASE64;
use sha2::{Digest, Sha256};
use tidemill_core::execution::facts::ExternalVariables;
use tidemill_core::gitlab::{TranslateOptions, translate};
use tidemill_core::pipeline::{PipelineErrors, PipelineWithSources};
use tidemill_core::plan::Plan;
use tidemill_core::repository::includes::PinnedInclude;

const LIB: &str = "https://git.example/group/lib";
const FILE: &str = ".gitlab-ci.yml";

fn of(text: &str, files: &Elsewhere) -> Result<PipelineWithSources, PipelineErrors> {
    let values = [("LIB", "lib"), ("VERSION", "v2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let external = ExternalVariables {
        values: values.into_iter().collect(),
        hidden: [String::from("TOKEN")].into(),
        ..ExternalVariables::default()
    };
    let options = TranslateOptions { external, ..TranslateOptions::for_pipeline("app") };
    translate(FILE, text, files, &options)
}

fn good(text: &str, files: &Elsewhere) -> (Vec<String>, Vec<PinnedInclude>) {
    let translated = of(text, files).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    let plan = Plan::for_facts(&translated.parsed.pipeline, &on_push("main")).unwrap();
    (plan.jobs.into_iter().map(|job| job.name).collect(), translated.includes)
}

/// The only error about a text.
fn error(text: &str, files: &Elsewhere) -> String {
    match of(text, files) {
        Ok(translated) => panic!("{}", translated.text),
        Err(errors) => {
            let mut found = texts(&errors);
            assert_eq!(found.len(), 1, "{found:?}");
            found.remove(0)
        }
    }
}

fn job(name: &str) -> String {
    format!("{name}: {{image: x, script: x}}\n")
}

fn pinned(reference: Option<&str>, digit: char, file: &str) -> PinnedInclude {
    PinnedInclude::Git {
        url: LIB.to_owned(),
        reference: reference.map(str::to_owned),
        commit: commit(digit),
        file: file.to_owned(),
    }
}

fn lib(local: &[(&str, &str)]) -> Elsewhere {
    Elsewhere::new(local)
        .with_commit(LIB, &commit('1'), &["HEAD", "branch:main"], &[("a.yml", &job("head"))])
        .with_commit(
            LIB,
            &commit('2'),
            &["tag:v2", "tag:2.1.0"],
            &[
                ("a.yml", &format!("include: [{{local: ci/inner.yml}}, 'ci/more/*.yml']\n{}", job("a"))),
                ("ci/inner.yml", &job("inner")),
                ("ci/more/m.yml", &job("more")),
                (
                    "t.yml",
                    "spec:\n  inputs:\n    name:\n---\n\"$[[ inputs.name ]]\": {image: x, script: x}\n",
                ),
                ("templates/build.yml", &job("built")),
                ("templates/scan/template.yml", &job("scanned")),
            ],
        )
}

#[test]
fn rules_about_the_repository_itself_are_decided_where_files_are_included() {
    let own = "stages: [build]\nvariables: {A: own}\n.base: {image: own}\nown: {extends: .base, stage: build, script: x}\n";
    let other = "stages: [other]\n.base: {image: other}\nother: {extends: .base, stage: other, script: x}\n";
    let files = lib(&[("own.yml", own), ("other.yml", other)]);
    let text = "include:\n  - {local: own.yml, rules: [{if: $CI_PROJECT_PATH == 'group/app' && $CI_SERVER_HOST == 'git.example'}]}\n  \
                - {local: other.yml, rules: [{if: $CI_PROJECT_NAMESPACE =~ /^group/, when: never}, {if: $CI_PROJECT_NAME}]}\n  \
                - {project: no/such, file: a.yml, rules: [{if: $CI_PROJECT_ROOT_NAMESPACE != 'group'}]}\n";
    assert_eq!(good(text, &files).0, ["own"]);
    // A variable of the event decides when the pipeline is planned.
    let decided = |condition: &str| {
        error(&format!("include: {{local: own.yml, rules: [{{if: {condition}}}]}}\n"), &files)
    };
    assert!(decided("$CI_PROJECT_PATH == 'group/app' && $CI_COMMIT_TAG").contains("under a condition"));
}

#[test]
fn version_of_the_own_commit_names_files_of_the_repository_itself() {
    let files = lib(&[("templates/build.yml", &job("built")), ("ci/own.yml", &job("own"))]);
    for text in [
        "include: [{component: $CI_SERVER_FQDN/$CI_PROJECT_PATH/build@$CI_COMMIT_SHA}]\n",
        "include: [{component: 'git.example/group/app/build@${CI_COMMIT_SHA}'}]\n",
    ] {
        let (jobs, includes) = good(text, &files);
        assert_eq!((jobs, includes), (vec!["built".to_owned()], Vec::new()), "{text}");
    }
    let text = "include: {project: $CI_PROJECT_PATH, ref: $CI_COMMIT_SHA, file: ci/own.yml}\n";
    assert_eq!(good(text, &files).0, ["own"]);
    // The commit is not one of another repository.
    let other = error("include: {project: group/lib, ref: $CI_COMMIT_SHA, file: a.yml}\n", &files);
    assert!(other.contains("$CI_COMMIT_SHA"), "{other}");
}

#[test]
fn project_files_are_pinned_and_their_local_includes_are_theirs() {
    let files = lib(&[("ci/inner.yml", &job("wrong"))]);
    let text = "include:\n  - project: group/$LIB\n    ref: $VERSION\n    file: [/a.yml]\nown: {image: x, script: x}\n";
    let (jobs, includes) = good(text, &files);
    assert_eq!(jobs, ["inner", "more", "a", "own"]);
    let paths = ["a.yml", "ci/inner.yml", "ci/more/m.yml"];
    assert_eq!(includes, paths.map(|path| pinned(Some("v2"), '2', path)));
    let (jobs, includes) = good("include: {project: $CI_PROJECT_NAMESPACE/lib, file: a.yml}\n", &files);
    assert_eq!((jobs, includes), (vec!["head".to_owned()], vec![pinned(None, '1', "a.yml")]));
    let hash = commit('2');
    let (_, includes) =
        good(&format!("include: {{project: group/lib, ref: '{hash}', file: ci/inner.yml}}\n"), &files);
    assert_eq!(includes, [pinned(None, '2', "ci/inner.yml")]);
    // The refs of a repository are read once.
    files.requests.borrow_mut().clear();
    good(
        "include: [{project: group/lib, file: a.yml}, {project: group/lib, ref: v2, file: ci/inner.yml}]\n",
        &files,
    );
    let requests = files.requests.borrow();
    let count = requests.iter().filter(|request| request.starts_with("refs")).count();
    assert_eq!(count, 1, "{requests:?}");
}

#[test]
fn inputs_and_rules_apply_to_files_from_elsewhere() {
    let files = lib(&[]);
    let text = "include:\n  - {project: group/lib, ref: v2, file: t.yml, inputs: {name: one}}\n  \
                - {project: group/lib, ref: v2, file: t.yml, inputs: {name: two}, rules: [{if: $CI_COMMIT_TAG}]}\n  \
                - {project: group/gone, file: t.yml, rules: [{when: never}]}\n";
    assert_eq!(good(text, &files).0, ["one"]);
    let found = error("include: {project: group/lib, ref: v2, file: t.yml}\n", &files);
    assert!(found.starts_with("1:") && found.contains("`name` has no default"), "{found}");
}

#[test]
fn components_are_found_by_version() {
    let files = lib(&[]);
    for (address, job) in [
        ("git.example/group/lib/build@v2", "built"),
        ("$CI_SERVER_FQDN/group/lib/scan@~latest", "scanned"),
        ("$CI_SERVER_HOST/group/lib/build@2", "built"),
        ("git.example/group/lib/build@2.1", "built"),
    ] {
        let (jobs, includes) = good(&format!("include: [{{component: {address}}}]\n"), &files);
        assert_eq!(jobs, [job], "{address}");
        assert_eq!(includes[0].version(), commit('2'), "{address}");
    }
    for (address, message) in [
        ("git.example/group/lib/none@v2", "neither templates/none.yml nor templates/none/template.yml"),
        ("git.example/group/lib/build@3", "has no branch, tag or version `3`"),
        ("git.example/group/gone/build@1", "the repository was not found"),
        ("group/build", "it has no version"),
    ] {
        let found = error(&format!("include: [{{component: {address}}}]\nj: {{extends: .gone}}\n"), &files);
        assert!(found.starts_with("1:23:") && found.contains(message), "{found}");
    }
}

#[test]
fn remote_files_are_pinned_and_their_integrity_is_checked() {
    let url = "https://example.org/ci/a.yml";
    let text = job("far");
    let files = Elsewhere::new(&[]).with_web(url, &text).with_web("https://example.org/q.yml?key=abc", &text);
    let hash = Sha256::digest(text.as_bytes());
    let sha256 = data_encoding::HEXLOWER.encode(&hash);
    let expected = PinnedInclude::Remote { url: url.to_owned(), sha256: sha256.clone() };
    assert_eq!(good(&format!("include: {url}\n"), &files), (vec!["far".to_owned()], vec![expected.clone()]));
    let integrity = BASE64.encode(&hash);
    let with = |integrity: &str| format!("include: [{{remote: '{url}', integrity: '{integrity}'}}]\n");
    assert_eq!(good(&with(&format!("sha256-{integrity}")), &files).1, [expected]);
    let other = BASE64.encode(&[0; 32]);
    let found = error(&with(&format!("sha256-{other}")), &files);
    assert!(found.contains(&format!("has the SHA-256 sha256-{integrity}")), "{found}");
    let found = error(&with("sha256-x"), &files);
    assert!(found.contains("is not `sha256-` and a SHA-256 in Base64"), "{found}");
    // A query may hold a secret.
    let (_, includes) = good("include: 'https://example.org/q.yml?key=abc'\n", &files);
    assert_eq!(includes, [PinnedInclude::Remote { url: "https://example.org/q.yml".to_owned(), sha256 }]);
    let found = error("include: 'https://example.org/none.yml?key=abc'\n", &files);
    assert!(
        found.contains("`https://example.org/none.yml` cannot be read") && !found.contains("abc"),
        "{found}"
    );
    for (text, message) in [
        ("include: http://example.org/a.yml\n", "does not begin with https://"),
        ("include: {remote: 'https://me:word@example.org/a.yml'}\n", "must not contain a user or a password"),
        ("include: {remote: 'https://example.org/$TOKEN'}\n", "`$TOKEN` is not known"),
        (
            "include: [{local: a.yml, rules: [{if: $TOKEN}]}]\nj: {image: x, script: x}\n",
            "`TOKEN`, whose value",
        ),
        ("include: 'ci/$CI_COMMIT_REF_NAME.yml'\n", "not among the predefined ones that are"),
    ] {
        let found = error(text, &files);
        assert!(found.contains(message) && !found.contains("word@"), "{found}");
    }
}

#[test]
fn file_of_the_web_gets_no_credential_no_variable_and_no_local_file() {
    let url = "https://example.org/a.yml";
    let of = |text: &str| {
        let mut files = lib(&[("b.yml", &job("b"))]).with_web(url, text);
        files.private.push(LIB.to_owned());
        files
    };
    assert_eq!(good("include: {project: group/lib, file: a.yml}\n", &of("")).0, ["head"]);
    for (text, message) in [
        ("include: {project: group/lib, file: a.yml}\n", "requires a credential"),
        ("include: https://other.example/$LIB\n", "`$LIB` is not known"),
        ("include: b.yml\n", "`https://example.org/a.yml` is not in one"),
    ] {
        let found = error(&format!("include: {url}\n"), &of(text));
        assert!(found.starts_with(url) && found.contains(message), "{found}");
    }
}

#[test]
fn template_that_a_file_of_the_web_includes_gets_no_credential_and_no_variable() {
    let url = "https://example.org/a.yml";
    for (text, message) in [
        ("include: {project: group/lib, file: a.yml}\n", "requires a credential"),
        ("include: https://other.example/$LIB\n", "`$LIB` is not known"),
    ] {
        let files = lib(&[]).with_web(url, "include: {template: t.yml}\n").with_template("t.yml", text);
        let files = Elsewhere { private: vec![LIB.to_owned()], ..files };
        let found = error(&format!("include: {url}\n"), &files);
        assert!(found.contains(message), "{found}");
    }
}

#[test]
fn templates_are_those_of_the_operator() {
    let files = Elsewhere::new(&[]).with_template("Jobs/Go.gitlab-ci.yml", &job("go"));
    let (jobs, includes) = good("include: {template: Jobs/Go.gitlab-ci.yml}\n", &files);
    assert_eq!(jobs, ["go"]);
    assert!(
        matches!(&includes[..], [PinnedInclude::Template { name, .. }] if name == "Jobs/Go.gitlab-ci.yml")
    );
    let errors =
        of("include: [{template: Jobs/SAST.gitlab-ci.yml}]\nj: {extends: .gone}\n", &files).unwrap_err();
    let [missing] = &errors.diagnostics[..] else { panic!("{errors:?}") };
    assert_eq!(
        (missing.message.as_str(), missing.help.as_deref()),
        (
            "`template Jobs/SAST.gitlab-ci.yml` cannot be read: the directory of templates has no such file",
            Some("put it there as /templates/Jobs/SAST.gitlab-ci.yml")
        )
    );
    let found = error("include: {template: ../secret.yml}\n", &files);
    assert!(found.contains("without `..`") || found.contains("is not the path"), "{found}");
}

#[test]
fn failed_include_is_one_error_at_its_place() {
    let files = lib(&[]);
    let follow = "j: {extends: .of-lib, needs: [k]}\n";
    for (include, place, message) in [
        (
            "{project: group/gone, file: a.yml}",
            "1:21:",
            "`group/gone` cannot be read: the repository was not found",
        ),
        (
            "{project: group/lib, ref: v9, file: a.yml}",
            "1:21:",
            "`group/lib` cannot be read: group/lib has no branch, tag or version `v9`",
        ),
        (
            "{project: group/lib, ref: v2, file: b.yml}",
            "1:47:",
            "`group/lib@v2:b.yml` cannot be read: there is no such file",
        ),
        ("{project: group/lib, file: ../a.yml}", "1:38:", "is not the path of a file in the repository"),
        ("{project: group/lib}", "1:11:", "names no `file`"),
        ("{project: '../x', file: a.yml}", "1:21:", "is not a project"),
        ("{project: group/lib, remote: 'https://h/a', file: a}", "1:32:", "`project` or `remote`, not both"),
        ("{local: a.yml, ref: main}", "1:26:", "`ref` is a key of an include with `project`"),
        ("{project: group/lib, fil: a.yml}", "1:32:", "`fil` is not a GitLab key"),
    ] {
        let found = error(&format!("include: [{include}]\n{follow}"), &files);
        assert!(found.starts_with(place) && found.contains(message), "{include}: {found}");
    }
    let nowhere = Elsewhere { own: None, ..lib(&[]) };
    let found = error("include: {project: group/lib, file: a.yml}\n", &nowhere);
    assert!(found.contains("no remote `origin`"), "{found}");
}

#[test]
fn includes_across_repositories_are_bounded_and_cannot_form_a_cycle() {
    let other = "https://git.example/group/other";
    let files = Elsewhere::new(&[])
        .with_commit(
            LIB,
            &commit('1'),
            &["HEAD"],
            &[("a.yml", "include: {project: group/other, file: b.yml}\n")],
        )
        .with_commit(
            other,
            &commit('2'),
            &["HEAD"],
            &[("b.yml", "include: {project: group/lib, file: a.yml}\n")],
        );
    let found = error("include: {project: group/lib, file: a.yml}\n", &files);
    assert!(
        found.contains("include each other") && found.contains("group/other:b.yml -> group/lib:a.yml"),
        "{found}"
    );
    let mut many = Elsewhere::new(&[]);
    for number in 0..21 {
        let url = format!("https://git.example/g/r{number}");
        many = many.with_commit(&url, &commit('1'), &["HEAD"], &[("a.yml", &job(&format!("j{number}")))]);
    }
    let include = |count: usize| {
        let items = (0..count).map(|n| format!("  - {{project: g/r{n}, file: a.yml}}\n")).collect::<Vec<_>>();
        format!("include:\n{}", items.concat())
    };
    assert_eq!(good(&include(20), &many).0.len(), 20);
    let found = error(&include(21), &many);
    assert!(found.contains("from at most 20 repositories"), "{found}");
}
