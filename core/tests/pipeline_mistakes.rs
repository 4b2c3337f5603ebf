//! Every way to go wrong has a file of its own; its snapshot is what a person sees.

use std::path::Path;

use tidemill_core::pipeline::{MAX_FILE_BYTES, parse, parse_with_warnings};
use tidemill_core::text::diagnostics::{Severity, render_human};

#[test]
fn each_error_is_located() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mistakes");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 30, "the fixtures are gone");
    for file in files {
        let source = std::fs::read_to_string(&file).unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap();
        let diagnostics = parse(&source).expect_err(name);
        assert!(diagnostics.iter().any(|d| d.severity == Severity::Error), "{name}");
        for diagnostic in &diagnostics {
            let at = diagnostic.location.unwrap_or_else(|| panic!("{name}: no position: {diagnostic}"));
            let line = source.lines().nth(at.line - 1).unwrap_or("");
            assert!(at.column >= 1 && at.column <= line.chars().count() + 1, "{name}: {diagnostic}");
        }
        insta::assert_snapshot!(name, render_human(&format!("{name}.yml"), &source, &diagnostics, false));
    }
}

#[test]
fn ten_errors_are_reported_in_one_run() {
    let source = include_str!("fixtures/mistakes/ten-at-once.yml");
    let diagnostics = parse(source).unwrap_err();
    let found: Vec<_> = diagnostics.iter().map(|d| (d.location.unwrap().line, d.code.as_str())).collect();
    assert_eq!(
        found,
        [
            (3, "bad-cron"),
            (5, "bad-variable-name"),
            (8, "unknown-stage"),
            (10, "unknown-key"),
            (11, "path-outside"),
            (11, "bad-duration"),
            (14, "bad-image"),
            (15, "unknown-need"),
            (17, "wrong-type"),
            (18, "planned-key"),
        ]
    );
}

#[test]
fn words_of_other_systems_are_one_error_that_names_what_to_use() {
    for (keys, code, help) in [
        ("image: x, script: y, environment: {A: b}", "unknown-key", "called `variables` here"),
        ("script: y, docker: [{image: x}]", "unknown-key", "called `image` here"),
        ("image: x, script: y, branches: [main]", "unknown-key", "called `rules` here"),
        ("image: x, script: y, displayName: Build", "unknown-key", "shown with its key"),
        ("image: x, script: y, if: github.ref == 'x'", "bad-condition", "`needs.JOB.outputs.NAME`"),
        ("image: x, script: y, when: delayed", "unknown-value", "`start_in` alone"),
    ] {
        let diagnostics = parse(&format!("name: demo\njobs:\n  a: {{ {keys} }}\n")).unwrap_err();
        let [found] = diagnostics.as_slice() else { panic!("{keys}: {diagnostics:?}") };
        let said = found.help.as_deref().unwrap_or_default();
        assert!(found.code.as_str() == code && said.contains(help), "{keys}: {found} {said}");
    }
}

#[test]
fn expression_of_another_system_in_a_variable_or_script_is_a_warning() {
    for keys in ["script: y, variables: { T: \"${{ secrets.T }}\" }", "script: [a, \"b ${{ github.sha }}\"]"]
    {
        let source = format!("name: demo\njobs:\n  a: {{ image: x, {keys} }}\n");
        let parsed = parse_with_warnings(&source).unwrap();
        let [found] = parsed.warnings.as_slice() else { panic!("{:?}", parsed.warnings) };
        assert!(found.code.as_str() == "not-expanded" && found.message.contains("`${{ }}`"), "{found}");
    }
}

#[test]
fn expression_of_another_system_in_a_script_is_a_warning_at_its_place() {
    let source = "name: demo\njobs:\n  a:\n    image: x\n    script:\n      - make\n      - [\"echo ü ${{ secrets.T }}\"]\n";
    let parsed = parse_with_warnings(source).unwrap();
    let [found] = parsed.warnings.as_slice() else { panic!("{:?}", parsed.warnings) };
    let at = found.location.unwrap();
    assert_eq!((at.line, at.column, at.length), (7, 18, 16));
    assert!(found.help.as_deref().is_some_and(|help| help.contains("write `$T`")), "{found:?}");
}

#[test]
fn services_and_reports_in_other_forms_are_one_error_each() {
    for (keys, help) in [
        ("services: { db: { image: 'postgres:16' } }", "`- { image: \"postgres:16\", alias: db }`"),
        ("services: { db: { image: a }, cache: { image: b } }", "write each as an item"),
        ("reports: { junit: a.xml }", "it belongs under `artifacts`"),
        ("artifacts: { dotenv: a.env }", "it belongs under `reports`"),
        ("artifacts: { reports: { dotenv: a.env } }", "`outputs`"),
        ("artifacts: { reports: { terraform: a.json } }", "its keys are"),
    ] {
        let source = format!("name: demo\njobs:\n  a: {{ image: x, script: y, {keys} }}\n");
        let diagnostics = parse(&source).unwrap_err();
        let [found] = diagnostics.as_slice() else { panic!("{keys}: {diagnostics:?}") };
        assert!(found.help.as_deref().is_some_and(|text| text.contains(help)), "{keys}: {found:?}");
    }
}

#[test]
fn positions_count_characters_and_lines_of_every_kind() {
    let source = "name: demo\r\njobs:\r\n  a:\r\n    image: busybox\r\n    script: [\"grüße 🌊\", x: y]\r\n";
    let diagnostics = parse(source).unwrap_err();
    assert_eq!(diagnostics.len(), 1);
    let at = diagnostics[0].location.unwrap();
    assert_eq!((at.line, at.column, at.length), (5, 25, 4));
    assert_eq!(diagnostics[0].path, "jobs.a.script[1]");
    assert!(render_human("p.yml", source, &diagnostics, false).contains("p.yml:5:25"));
    assert!(render_human("p.yml", source, &diagnostics, true).contains('\u{1b}'));
}

#[test]
fn diagnostics_serialize() {
    let diagnostics = parse("name: demo\njobs:\n  a: { image: x, script: y, needs: [b] }\n").unwrap_err();
    let json = serde_json::to_value(&diagnostics).unwrap();
    assert_eq!(
        json,
        serde_json::json!([{
            "severity": "error", "code": "unknown-need", "message": "there is no job `b` to need",
            "path": "jobs.a.needs[0]", "location": { "line": 3, "column": 37, "length": 1 },
            "help": null, "related": [],
        }])
    );
}

#[test]
fn oversized_file_is_rejected_unread() {
    let source = "x".repeat(MAX_FILE_BYTES + 1);
    let diagnostics = parse(&source).unwrap_err();
    assert_eq!(diagnostics[0].code, "file-too-large");
    assert_eq!(diagnostics[0].location, None);
    assert!(render_human("p.yml", &source, &diagnostics, false).contains("p.yml"));
}

#[test]
fn too_many_jobs_and_deep_nesting_are_rejected() {
    use std::fmt::Write as _;
    let mut source = String::from("name: many\njobs:\n");
    for n in 0..101 {
        writeln!(source, "  j{n}: {{ image: x, script: x, matrix: {{ a: [1,2,3,4,5,6,7,8,9,10], b: [1,2,3,4,5,6,7,8,9,10] }} }}")
            .unwrap();
    }
    let codes: Vec<_> = parse(&source).unwrap_err().into_iter().map(|d| d.code).collect();
    assert_eq!(codes, ["too-many-jobs"]);
    let nest = format!("name: deep\nx-deep: {}{}\n", "[".repeat(400), "]".repeat(400));
    assert_eq!(parse(&nest).unwrap_err()[0].code, "too-deep");
}

#[test]
fn warnings_do_not_reject_file() {
    let parsed = parse_with_warnings(
        "name: demo\njobs:\n  a: { image: x, script: y, variables: { A: b }, matrix: { A: [1, 2] } }\n",
    )
    .unwrap();
    assert_eq!(parsed.pipeline.jobs.len(), 1);
    assert_eq!(parsed.warnings[0].code, "hidden-variable");
    assert_eq!(parsed.warnings[0].severity, Severity::Warning);
}

#[test]
fn ten_thousand_chained_jobs_and_cycle_are_handled() {
    use std::fmt::Write as _;
    let mut source = String::from("name: chain\njobs:\n  j0: { image: x, script: x }\n");
    for n in 1..10_000 {
        writeln!(source, "  j{n}: {{ image: x, script: x, needs: [j{}] }}", n - 1).unwrap();
    }
    assert_eq!(parse(&source).unwrap().jobs.len(), 10_000);
    let ring = source.replace("j0: { image: x, script: x }", "j0: { image: x, script: x, needs: [j9999] }");
    let diagnostics = parse(&ring).unwrap_err();
    assert_eq!(diagnostics.len(), 1);
    assert_eq!(diagnostics[0].code, "cycle");
    assert!(diagnostics[0].message.contains("j0 -> j9999 -> j9998"));
    assert!(diagnostics[0].message.ends_with("-> j1 -> j0"));
}
