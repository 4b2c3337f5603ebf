//! Included files: paths, wildcards, conditions and inputs.

use std::collections::BTreeMap;

use tidemill_core::child::{ChildError, read_child};
use tidemill_core::execution::facts::{ExternalVariables, Facts, Trigger};
use tidemill_core::gitlab::{TranslateOptions, translate};
use tidemill_core::pipeline::{
    ChildPipeline, FileError, PipelineErrors, PipelineWithSources, RepositoryFiles,
};
use tidemill_core::plan::Plan;

use super::{on_push, on_tag};

struct Files(BTreeMap<String, String>);

impl RepositoryFiles for Files {
    fn read(&self, path: &str) -> Result<String, FileError> {
        self.0.get(path).cloned().ok_or(FileError::Missing)
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, FileError> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        Ok(self.0.keys().filter(|path| path.starts_with(&prefix)).cloned().collect())
    }
}

fn of(text: &str, files: &[(&str, &str)]) -> Result<PipelineWithSources, PipelineErrors> {
    translate(".gitlab-ci.yml", text, &files_of(files), &TranslateOptions::for_pipeline("app"))
}

fn jobs(text: &str, files: &[(&str, &str)], facts: &Facts) -> Vec<String> {
    let translated = of(text, files).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    let plan = Plan::for_facts(&translated.parsed.pipeline, facts);
    plan.map(|plan| plan.jobs.into_iter().map(|job| job.name).collect()).unwrap_or_default()
}

fn errors(text: &str, files: &[(&str, &str)]) -> Vec<String> {
    match of(text, files) {
        Ok(translated) => panic!("{}", translated.text),
        Err(errors) => errors
            .diagnostics
            .iter()
            .map(|one| format!("{}{one}", one.file.as_ref().map_or("", |_| "in ")))
            .collect(),
    }
}

#[test]
fn inputs_of_the_file_itself_are_given_for_a_run() {
    let text = "spec:\n  inputs:\n    env: {options: [dev, prod]}\n    count: {type: number, default: 1}\n    list: {type: array, default: []}\n---\n\
                default: {image: x}\njob: {script: ['echo $[[ inputs.env ]] $[[ inputs.count ]] $[[ inputs.list ]]']}\n";
    let run = |text: &str, given: &[(&str, &str)]| {
        let inputs = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options = TranslateOptions { inputs, ..TranslateOptions::for_pipeline("app") };
        translate(".gitlab-ci.yml", text, &Files(BTreeMap::new()), &options)
    };
    let scripts = |given: &[(&str, &str)]| {
        let translated = run(text, given).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
        translated.parsed.pipeline.jobs[0].script.clone()
    };
    assert_eq!(scripts(&[("env", "prod")]), ["echo prod 1 []"]);
    assert_eq!(scripts(&[("env", "dev"), ("count", "7"), ("list", "[a, 2]")]), ["echo dev 7 [\"a\", 2]"]);
    for (given, location, message) in [
        (&[][..], "3:5:", "`env` has no default"),
        (&[("env", "prd")], "3:5:", "`prd` is none of the options of `env`"),
        (&[("env", "dev"), ("count", "many")], "4:5:", "`count` takes a number"),
        (&[("env", "dev"), ("list", "x")], "5:5:", "`list` takes a list"),
        (&[("env", "dev"), ("enw", "dev")], "2:3:", "the file has no input `enw`"),
    ] {
        let errors = run(text, given).expect_err(message).diagnostics;
        let found = errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(found.len() == 1 && found[0].contains(message), "{given:?}: {found:?}");
        assert!(found[0].starts_with(location), "{given:?}: {found:?}");
    }
    let without = "job: {image: x, script: [x]}\n";
    let errors = run(without, &[("env", "dev")]).expect_err("it has no inputs").render(false);
    assert!(errors.contains("the file declares no inputs"), "{errors}");
}

#[test]
fn case_gitlab_19_inputs_of_the_header_have_values() {
    let text = "spec:\n  inputs:\n    level: {default: quick}\n---\ndefault: {image: x}\njob: {script: ['echo $[[ inputs.level ]]']}\n";
    let translated = of(text, &[]).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    assert_eq!(translated.parsed.pipeline.jobs[0].script, ["echo quick"]);
    let required = text.replace("{default: quick}", "");
    let found = errors(&required, &[]);
    assert!(
        found.len() == 1 && found[0].starts_with("3:5:") && found[0].contains("`level` has no default"),
        "{found:?}"
    );
    let unknown = text.replace("inputs.level ]]", "inputs.levle ]]");
    let found = errors(&unknown, &[]);
    assert!(found.len() == 1 && found[0].starts_with("6:22:") && found[0].contains("`level`?"), "{found:?}");
}

#[test]
fn interruptible_under_a_condition_is_a_warning() {
    let files = [("a.yml", "default:\n  interruptible: true\nk: {image: x, script: x}\n")];
    let text = "include: [{local: a.yml, rules: [{if: $CI_COMMIT_TAG}]}]\nj: {image: x, script: x}\n";
    let warnings = of(text, &files).unwrap().parsed.warnings;
    assert!(warnings.len() == 1 && warnings[0].message.contains("`interruptible`"), "{warnings:?}");
    assert_eq!(jobs(text, &files, &on_push("main")), ["j"]);
    assert_eq!(jobs(text, &files, &on_tag("v1")), ["k", "j"]);
    let found = errors(text, &[("a.yml", "default: {interruptible: true, image: a}\n")]);
    assert!(found.len() == 1 && found[0].contains("this one has `default`"), "{found:?}");
}

#[test]
fn inputs_are_typed_and_checked() {
    let template = "spec:\n  inputs:\n    name: {regex: '^[a-z]+$'}\n    stage: {default: test, options: [build, test]}\n    \
                    count: {type: number, default: 1}\n    fails: {type: boolean, default: false}\n    \
                    lines: {type: array, default: []}\n---\n\
                    \"$[[ inputs.name | truncate(0,3) ]]-job\":\n  image: x\n  stage: $[[ inputs.stage ]]\n  parallel: $[[ inputs.count ]]\n  \
                    allow_failure: $[[ inputs.fails ]]\n  script: $[[ inputs.lines ]]\n  variables: {V: \"$[[ inputs.name | expand_vars ]]\"}\n";
    let files = [("ci/t.yml", template)];
    let include = |inputs: &str| format!("include:\n  - local: ci/t.yml\n    inputs: {{{inputs}}}\n");
    let good = "name: alpha, stage: build, count: 2, fails: true, lines: [a, 'b \"c\"']";
    let translated = of(&include(good), &files).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    let job = &translated.parsed.pipeline.jobs[0];
    assert_eq!((job.name.as_str(), job.stage.as_str(), job.parallel), ("alp-job", "build", Some(2)));
    assert!(job.allow_failure);
    assert_eq!(job.script, ["a", "b \"c\""]);
    for (inputs, place, message) in [
        ("stage: build", "2:12", "`name` has no default"),
        ("name: a, wrong: b", "3:23", "no input `wrong`"),
        ("name: A1", "3:20", "does not match"),
        ("name: 5", "3:20", "takes a string"),
        ("name: a, stage: deploy", "3:30", "none of the options"),
        ("name: a, count: many", "3:30", "takes a number"),
        ("name: a, fails: 'true'", "3:30", "takes `true` or `false`"),
        ("name: a, lines: x", "3:30", "takes a list"),
    ] {
        let found = errors(&include(inputs), &files);
        assert!(
            found.len() == 1 && found[0].starts_with(place) && found[0].contains(message),
            "{inputs}: {found:?}"
        );
    }
    // A finding in the included file has the place in its own text.
    let found = errors(&include("name: a, count: 500, lines: [x]"), &files);
    assert!(found.len() == 1 && found[0].contains("ci/t.yml:12:13:"), "{found:?}");
    // One file twice with different inputs.
    let twice = format!(
        "{}{}",
        include("name: a, lines: [x]"),
        "  - {local: ci/t.yml, inputs: {name: b, lines: [y]}}\n"
    );
    assert_eq!(jobs(&twice, &files, &on_push("main")), ["a-job 1/1", "b-job 1/1"]);
    let none =
        errors("include: {local: a.yml, inputs: {a: b}}\n", &[("a.yml", "j: {image: x, script: x}\n")]);
    assert!(none.len() == 1 && none[0].contains("declares no inputs"), "{none:?}");
}

#[test]
fn wildcards_include_all_matching_files() {
    let files = [
        ("ci/a.yml", "a: {image: x, script: x}\n"),
        ("ci/b.yml", "b: {image: x, script: x}\n"),
        ("ci/deep/c.yml", "c: {image: x, script: x}\n"),
        ("ci/note.txt", "no"),
    ];
    assert_eq!(jobs("include: ci/*.yml\n", &files, &on_push("main")), ["a", "b"]);
    assert_eq!(jobs("include: /ci/**/*.yml\n", &files, &on_push("main")), ["a", "b", "c"]);
    let found = errors("include: other/*.yml\nj: {extends: .gone}\n", &files);
    assert!(found.len() == 1 && found[0].contains("matches no file"), "{found:?}");
    for pattern in ["{a,".repeat(20) + "*" + &"}".repeat(20), "{".repeat(30) + "*", "[a-z]{a,*}".repeat(200)]
    {
        let found = errors(&format!("include: 'ci/{pattern}.yml'\nj: {{extends: .gone}}\n"), &files);
        assert!(found.len() == 1 && found[0].contains("is not a pattern"), "{found:?}");
    }
}

#[test]
fn conditions_of_includes_are_those_of_their_jobs() {
    let files = [
        (
            "ci/tag.yml",
            "release: {image: x, script: x}\nmore: {image: x, script: x, rules: [{when: manual}]}\n.t: {image: x}\n",
        ),
        ("ci/off.yml", "off: {image: x, script: x}\n"),
    ];
    let text = "include:\n  - local: ci/tag.yml\n    rules: [{if: $CI_COMMIT_BRANCH, when: never}, {if: $CI_COMMIT_TAG}]\n  \
                - local: ci/off.yml\n    rules: [{when: never}]\nalways: {image: x, script: x}\n";
    assert_eq!(jobs(text, &files, &on_push("main")), ["always"]);
    assert_eq!(jobs(text, &files, &on_tag("v1")), ["release", "more", "always"]);
    let both = format!("{text}release: {{image: y}}\n");
    let found = errors(&both, &files);
    assert!(found.len() == 1 && found[0].contains("`release` is in several files"), "{found:?}");
    let other = errors(text, &[("ci/tag.yml", "variables: {A: b}\n"), ("ci/off.yml", "")]);
    assert!(other.len() == 1 && other[0].contains("`variables`"), "{other:?}");
}

#[test]
fn conditional_include_may_have_keys_that_the_including_file_replaces() {
    let main = "stages: [build, ship]\nvariables: {A: main, B: {value: main}}\ndefault: {image: x}\n\
                include: [{local: a.yml, rules: [{if: $CI_COMMIT_TAG}]}]\nalways: {stage: build, script: x}\n";
    let included = "stages: [ship]\nvariables: {A: a, B: a}\nship: {stage: ship, image: y, script: x}\n";
    let files = |text: &'static str| [("a.yml", text)];
    assert_eq!(jobs(main, &files(included), &on_tag("v1")), ["always", "ship"]);
    assert_eq!(jobs(main, &files(included), &on_push("main")), ["always"]);
    let translated = of(main, &files(included)).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    let pipeline = translated.parsed.pipeline;
    assert_eq!((pipeline.variables["A"].as_str(), pipeline.variables["B"].as_str()), ("main", "main"));
    // What would be left of the key applies to all jobs, under a condition.
    for key in ["variables: {A: a, C: a}", "default: {image: y, retry: 1}", "workflow: {name: a}"] {
        let found =
            errors(main, &[("a.yml", &format!("{key}\nship: {{stage: ship, image: y, script: x}}\n"))]);
        let name = key.split(':').next().unwrap();
        let is_named = |message: &String| message.contains(&format!("this one has `{name}`"));
        assert!(found.len() == 1 && is_named(&found[0]), "{key}: {found:?}");
    }
}

#[test]
fn list_in_quotes_is_the_list_and_a_default_of_nothing_is_empty() {
    let text = "spec:\n  inputs:\n    more: {type: array, default: [{if: $CI_COMMIT_TAG}]}\n    name: {default: null}\n---\n\
                j: {image: x, script: 'echo [$[[ inputs.name ]]]', rules: [\"$[[ inputs.more ]]\", {if: $CI_COMMIT_BRANCH}]}\n";
    let translated = of(text, &[]).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    let job = &translated.parsed.pipeline.jobs[0];
    assert_eq!((job.script.as_slice(), job.rules.len()), (&["echo []".to_owned()][..], 2));
}

/// The files of a repository, without the GitLab file.
fn files_of(files: &[(&str, &str)]) -> Files {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    Files(files.collect())
}

/// Options for one event.
fn options_of(facts: &Facts) -> TranslateOptions {
    let external = ExternalVariables { values: facts.variables.clone(), ..ExternalVariables::default() };
    let event = Some(Box::new(facts.clone()));
    TranslateOptions { event, external, ..TranslateOptions::for_pipeline("app") }
}

/// Translates for one event, and returns the images of the planned jobs, and the warnings.
fn for_event(text: &str, files: &[(&str, &str)], facts: &Facts) -> (Vec<String>, Vec<String>) {
    let translated = translate(".gitlab-ci.yml", text, &files_of(files), &options_of(facts))
        .unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    let plan = Plan::for_facts(&translated.parsed.pipeline, facts).unwrap();
    let warnings = translated.parsed.warnings.into_iter().map(|one| one.message).collect();
    (plan.jobs.into_iter().map(|job| format!("{} {}", job.name, job.image)).collect(), warnings)
}

#[test]
fn conditional_include_with_keys_of_all_jobs_is_decided_for_the_event() {
    let text = "include:\n  - {local: protected.yml, rules: [{if: '$CI_COMMIT_BRANCH == \"main\"'}]}\n  \
                - {local: normal.yml, rules: [{if: '$CI_COMMIT_BRANCH != \"main\"', changes: ['src/*']}]}\nj: {script: x}\n";
    let files = [
        ("protected.yml", "default: {image: protected}\nmore: {script: x}\n"),
        ("normal.yml", "default: {image: normal}\n"),
    ];
    let of = |facts: &Facts| for_event(text, &files, facts);
    let (jobs, warnings) = of(&on_push("main"));
    assert_eq!(jobs, ["more protected", "j protected"]);
    let decisions = warnings.iter().filter(|one| one.starts_with("for this event, this is"));
    assert_eq!(decisions.count(), 2, "{warnings:?}");
    let changed = |path: &str| Facts { changed: Some(vec![path.to_owned()]), ..on_push("topic") };
    assert_eq!(of(&changed("src/a")).0, ["j normal"]);
    assert_eq!(of(&changed("docs/a")).0, ["j ruby:3.1"]);
    // Without an event there is no such pipeline.
    let found = errors(text, &files);
    assert!(found.len() == 2 && found[0].contains("this one has `default`"), "{found:?}");
}

/// A file with `default` under conditions, and the files that it includes.
const CONDITIONAL: (&str, [(&str, &str); 1]) = (
    "include:\n  - {local: of-event.yml, rules: [{if: '$CI_PIPELINE_SOURCE == \"parent_pipeline\" || $CI_COMMIT_TAG || $DEEP == \"yes\"'}]}\n\
     j: {script: x}\n",
    [("of-event.yml", "default: {image: of-event}\n")],
);

#[test]
fn file_that_is_converted_for_one_event_starts_on_that_event_only() {
    let (text, files) = CONDITIONAL;
    let convert = |facts: &Facts| {
        let options = TranslateOptions { is_for_event: true, ..options_of(facts) };
        let translated = translate(".gitlab-ci.yml", text, &files_of(&files), &options).unwrap();
        let on = translated.parsed.pipeline.on;
        (translated.text.contains("of-event"), on.push.map(|push| push.branches), on.tag.is_some())
    };
    assert_eq!(convert(&on_push("main")), (false, Some(vec!["main".to_owned()]), false));
    assert_eq!(convert(&on_tag("v1")), (true, None, true));
    let found = errors(text, &files);
    assert_eq!(found.len(), 1, "{found:?}");
    let options = TranslateOptions::for_pipeline("app");
    let found = translate(".gitlab-ci.yml", text, &files_of(&files), &options).unwrap_err();
    assert!(found.render(false).contains("tidemill import --event push"), "{}", found.render(false));
    // A file that is the same for all events still starts on all of them.
    let options = TranslateOptions { is_for_event: true, ..options_of(&on_push("main")) };
    let same = translate(".gitlab-ci.yml", "j: {image: x, script: x}\n", &files_of(&[]), &options).unwrap();
    assert_eq!(same.parsed.pipeline.on.push.map(|push| push.branches), Some(Vec::new()));
}

#[test]
fn conditional_include_of_a_child_is_decided_for_the_event_of_the_child() {
    let (text, mut files) = (CONDITIONAL.0, CONDITIONAL.1.to_vec());
    files.push(("child.yml", text));
    let child = |count: usize| ChildPipeline {
        files: ["child.yml", "other.yml"].map(str::to_owned)[..count].to_vec(),
        is_gitlab: true,
        ..ChildPipeline::default()
    };
    files.push(("other.yml", "other: {image: x, script: x}\n"));
    let images = |facts: &Facts, count| {
        let read = read_child(&child(count), &[], &files_of(&files), &options_of(facts)).unwrap();
        let plan = Plan::for_facts(&read.parsed.pipeline, facts).unwrap();
        plan.jobs.into_iter().map(|job| job.image).collect::<Vec<_>>()
    };
    let of_child = Facts { trigger: Trigger::ParentPipeline, ..on_push("main") };
    assert_eq!(images(&of_child, 1), ["of-event"]);
    assert_eq!(images(&of_child, 2), ["of-event", "x"]);
    assert_eq!(images(&on_push("main"), 1), ["ruby:3.1"]);
    // A variable that the parent hands on.
    let mut with_variable = on_push("main");
    with_variable.variables.insert("DEEP".to_owned(), "yes".to_owned());
    assert_eq!(images(&with_variable, 1), ["of-event"]);
    let without = read_child(&child(1), &[], &files_of(&files), &TranslateOptions::for_pipeline("app"));
    assert!(matches!(without, Err(ChildError::Invalid(_))), "{without:?}");
}

#[test]
fn conditional_include_with_keys_of_all_jobs_is_decided_by_variables_that_nobody_sets() {
    let text = "variables: {FULL: 'false'}\ninclude:\n  - {local: short.yml, rules: [{if: '$FULL == \"true\"', when: never}, {when: always}]}\n  \
                - {local: full.yml, rules: [{if: '$FULL == \"true\"'}]}\nj: {image: own, script: x}\n";
    let files = [
        ("short.yml", "variables: {A: short}\nshort: {image: a, script: x}\n"),
        ("full.yml", "variables: {A: full}\nfull: {image: a, script: x}\n"),
    ];
    assert_eq!(jobs(text, &files, &on_push("main")), ["short", "j"]);
    let mut facts = on_push("main");
    facts.variables.insert("FULL".to_owned(), "true".to_owned());
    let (jobs, warnings) = for_event(text, &files, &facts);
    assert_eq!(jobs, ["full a", "j own"]);
    assert!(warnings.iter().any(|one| one.contains("by the variables that are set")), "{warnings:?}");
}

#[test]
fn value_of_the_matrix_is_no_input() {
    let text = "spec:\n  inputs: {name: {default: a}}\n---\nb: {image: x, stage: build, parallel: {matrix: [{OS: [p, q]}]}, script: x}\n\
                t: {image: x, parallel: {matrix: [{OS: [p, q]}]}, script: x, needs: [{job: b, parallel: {matrix: [{OS: [\"$[[ matrix.OS ]]\"]}]}}]}\n";
    let translated = of(text, &[]).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    let plan = Plan::for_facts(&translated.parsed.pipeline, &on_push("main")).unwrap();
    let needs: Vec<&[String]> = plan.jobs.iter().map(|job| job.needs.as_slice()).collect();
    assert_eq!(needs, [&[][..], &[], &["b: [p]".to_owned()], &["b: [q]".to_owned()]]);
}

#[test]
fn nested_conditions_of_includes_both_hold() {
    let files = [
        ("outer.yml", "include: [{local: inner.yml, rules: [{if: $INNER}]}]\nouter: {image: x, script: x}\n"),
        ("inner.yml", "inner: {image: x, script: x}\n"),
    ];
    let text = "include: [{local: outer.yml, rules: [{if: $OUTER}]}]\nalways: {image: x, script: x}\n";
    let of = |names: &[&str]| {
        let mut facts = on_push("main");
        facts.variables.extend(names.iter().map(|name| ((*name).to_owned(), "1".to_owned())));
        jobs(text, &files, &facts)
    };
    assert_eq!(of(&[]), ["always"]);
    assert_eq!(of(&["INNER"]), ["always"]);
    assert_eq!(of(&["OUTER"]), ["outer", "always"]);
    assert_eq!(of(&["INNER", "OUTER"]), ["inner", "outer", "always"]);
}

#[test]
fn file_that_is_included_twice_applies_if_one_condition_holds() {
    let files = [
        ("a.yml", "a: {image: x, script: x}\n.t: {image: x}\n"),
        ("wrap.yml", "include: a.yml\nwrap: {image: x, script: x}\n"),
    ];
    let of = |includes: &str, names: &[&str]| {
        let mut facts = on_push("main");
        facts.variables.extend(names.iter().map(|name| ((*name).to_owned(), "1".to_owned())));
        jobs(&format!("include: [{includes}]\nalways: {{image: x, script: x}}\n"), &files, &facts)
    };
    let (x, y, z) = (
        "{local: a.yml, rules: [{if: $X}]}",
        "{local: a.yml, rules: [{if: $Y}]}",
        "{local: a.yml, rules: [{if: $Z}]}",
    );
    let three = format!("{x}, {y}, {z}");
    assert_eq!(of(&three, &[]), ["always"]);
    for name in ["X", "Y", "Z"] {
        assert_eq!(of(&three, &[name]), ["a", "always"], "{name}");
    }
    for unconditional in [format!("{x}, a.yml"), format!("a.yml, {x}"), format!("{x}, a.yml, {y}")] {
        assert_eq!(of(&unconditional, &[]), ["a", "always"], "{unconditional}");
    }
    let nested = format!("{{local: wrap.yml, rules: [{{if: $W}}]}}, {x}");
    assert_eq!(of(&nested, &[]), ["always"]);
    assert_eq!(of(&nested, &["X"]), ["a", "always"]);
    assert_eq!(of(&nested, &["W"]), ["a", "wrap", "always"]);
}

#[test]
fn conditions_of_includes_are_bounded() {
    let files = [("a.yml", "a: {image: x, script: x}\n")];
    let condition = |number: usize| format!("{{local: a.yml, rules: [{{if: $A == '{number:0>3900}'}}]}}");
    let all: Vec<String> = (1..=5).map(condition).collect();
    let found = errors(&format!("include: [{}]\n", all.join(", ")), &files);
    assert!(found.len() == 1 && found[0].contains("more than 16384 bytes"), "{found:?}");
}

#[test]
fn case_gitlab_27_refused_include_is_one_error_without_followers() {
    let text = "variables: {KIND: base}\ninclude: ci/$KIND.yml\n";
    let found = errors(text, &[("ci/base.yml", "job: {image: x, script: x}\n")]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("2:10:") && found[0].contains("`$KIND` is not known where files are included"),
        "{found:?}"
    );
    let text = "include:\n  - project: a/b\n    file: c.yml\nj: {extends: .of-c, needs: [k], script: [!reference [.of-c, script]]}\n";
    let found = errors(text, &[]);
    assert!(found.len() == 1 && found[0].starts_with("2:14:"), "{found:?}");
}

#[test]
fn case_gitlab_32_a_hundred_and_fifty_files_are_included() {
    let names: Vec<(String, String)> =
        (0..151).map(|n| (format!("ci/f{n}.yml"), format!(".x{n}: {{script: [echo]}}\n"))).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let text = |count: usize| {
        let items: Vec<String> = (0..count).map(|n| format!("  - ci/f{n}.yml\n")).collect();
        let items = items.concat();
        format!("include:\n{items}job: {{image: x, script: [echo]}}\n")
    };
    assert_eq!(jobs(&text(150), &files, &on_push("main")), ["job"]);
    let found = errors(&text(151), &files);
    assert!(found.len() == 1 && found[0].contains("at most 150 files"), "{found:?}");
    // Files that include each other in a chain.
    let chain: Vec<(String, String)> = (0..90)
        .map(|n| {
            (
                format!("c{n}.yml"),
                if n == 89 {
                    "j: {image: x, script: x}\n".to_owned()
                } else {
                    format!("include: c{}.yml\n", n + 1)
                },
            )
        })
        .collect();
    let chain: Vec<(&str, &str)> = chain.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    assert_eq!(jobs("include: c0.yml\n", &chain, &on_push("main")), ["j"]);
}

#[test]
fn too_many_files_of_a_pattern_are_one_error() {
    let names: Vec<String> = (0..400).map(|n| format!("ci/f{n}.yml")).collect();
    let files: Vec<(&str, &str)> =
        names.iter().map(|path| (path.as_str(), ".x: {script: [echo]}\n")).collect();
    let found = errors("include: ci/*.yml\njob: {image: x, script: [echo]}\n", &files);
    assert!(found.len() == 1 && found[0].contains("at most 150 files"), "{found:?}");
}

#[test]
fn merging_of_large_files_is_bounded() {
    let file = |value: &str| -> String {
        (0..20_000).map(|n| format!(".k{n}: {value}")).collect::<Vec<_>>().join("\n")
    };
    let list =
        |names: &[&str], times: usize| format!("include: [{}]\n", vec![names.join(", "); times].join(", "));
    let (a, b) = (file("{ retry: 1 }"), file("{ retry: 2 }"));
    let (c, d) = (list(&["a.yml", "b.yml"], 5), list(&["b.yml", "a.yml"], 5));
    let files = [("a.yml", a.as_str()), ("b.yml", &b), ("c.yml", &c), ("d.yml", &d)];
    let text = format!("{}j: {{image: x, script: x}}\n", list(&["c.yml", "d.yml"], 75));
    let found = errors(&text, &files);
    let about = |text: &&String| text.contains("merging the included files takes more than 1000000 steps");
    assert_eq!(found.iter().filter(about).count(), 1, "{found:?}");
    assert!(found.len() == 1, "{found:?}");
    // Each of them once is no problem.
    assert_eq!(jobs("include: [a.yml, b.yml]\nj: {image: x, script: x}\n", &files, &on_push("main")), ["j"]);
}

#[test]
fn conditional_include_of_a_missing_file_is_an_error_only_where_it_is_included() {
    let text = "include: [{ local: own.yml, rules: [{ exists: [own.yml] }] }]\nj: { image: i, script: x }\n";
    assert_eq!(jobs(text, &[], &on_push("main")), ["j"]);
    assert_eq!(jobs(text, &[("own.yml", "own: { image: i, script: x }\n")], &on_push("main")), ["own", "j"]);
    let text = text.replace("exists: [own.yml]", "if: '$CI_COMMIT_BRANCH == \"next\"'");
    assert_eq!(for_event(&text, &[], &on_push("main")).0, ["j i"]);
    let next = options_of(&on_push("next"));
    let refused = translate(".gitlab-ci.yml", &text, &files_of(&[]), &next).unwrap_err();
    assert!(refused.render(false).contains("`own.yml` cannot be read"), "{}", refused.render(false));
    // Without an event, it might be included.
    assert!(of(&text, &[]).is_err());
}
