//! Random and hostile files: the reader neither panics nor accepts an invalid file silently.

use proptest::prelude::*;
use tidemill_core::pipeline::{FileError, assemble, parse_with_warnings};
use tidemill_core::text::diagnostics::{Severity, render_human};

const SEEDS: [&str; 8] = [
    include_str!("fixtures/good/design.yml"),
    include_str!("fixtures/good/anchors.yml"),
    include_str!("fixtures/good/list-form.yml"),
    include_str!("fixtures/mistakes/ten-at-once.yml"),
    include_str!("fixtures/good/rest-of-the-language.yml"),
    include_str!("fixtures/good/templates.yml"),
    include_str!("fixtures/mistakes/templates.yml"),
    include_str!("fixtures/mistakes/services.yml"),
];

/// Texts with a meaning in a pipeline file, to be inserted into valid ones.
const INSERTIONS: [&str; 24] = [
    "jobs:",
    "needs",
    "*base",
    "&base",
    "<<:",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "\n",
    "\n  ",
    "\t",
    "'",
    "\"",
    "|",
    "~",
    "null",
    "!tag",
    "${",
    "99999999999999999999",
    "🌊",
    "\u{0}",
];

fn answer(source: &str) -> Result<(), TestCaseError> {
    match parse_with_warnings(source) {
        Ok(parsed) => {
            prop_assert!(!parsed.pipeline.jobs.is_empty());
            prop_assert!(parsed.pipeline.jobs.iter().all(|job| parsed.pipeline.stages.contains(&job.stage)));
            prop_assert!(parsed.warnings.iter().all(|d| d.severity == Severity::Warning));
        }
        Err(found) => {
            prop_assert!(found.iter().any(|d| d.severity == Severity::Error));
            let rendered = render_human("fuzz.yml", source, &found, false);
            prop_assert!(found.iter().all(|d| rendered.contains(&d.code)));
        }
    }
    Ok(())
}

/// Each of these took minutes, or did not end. They are bounded by the test runner's limit, and take milliseconds.
#[test]
fn hostile_texts_return_at_once() {
    let needs: Vec<String> = (0..60).map(|need| format!("none{need}")).collect();
    let job =
        |number: usize| format!("  j{number}: {{ image: i, script: x, needs: [{}] }}\n", needs.join(", "));
    let jobs: String = (0..200).map(job).collect();
    let keys: Vec<String> = (0..60_000).map(|key| format!("key{key}: 1\n")).collect();
    for text in [
        format!("jobs: {}", "[".repeat(1_000_000)),
        format!("jobs: {}", "{a: ".repeat(250_000)),
        "? a\n".repeat(60_000),
        "- ".repeat(400_000),
        format!("name: n\n{}", keys.concat()),
        format!("name: n\njobs:\n{jobs}"),
        format!(
            "name: n\njobs: {{j: {{image: i, script: x, matrix: {{{}}}}}}}",
            keys.concat().replace('\n', ", ")
        ),
        format!(
            "name: n\njobs: {{j: {{image: i, script: x, matrix: {{A: [{}]}}, variant_name: '{}'}}}}",
            "v".repeat(1000),
            "${matrix}".repeat(55_000)
        ),
    ] {
        let found = parse_with_warnings(&text).err();
        // At most 200 errors, 200 warnings, and how many more there are.
        assert!(found.is_some_and(|found| found.len() <= 402), "{text:.40}");
    }
}

#[test]
fn values_and_findings_of_inputs_are_bounded() {
    let value = "v".repeat(900_000);
    let top = format!("name: n\ninclude: {{ local: a.yml, with: {{ v: {value} }} }}\n");
    for text in ["$[[ inputs.v ]]", "$[[ inputs.w ]]"] {
        let script = text.repeat(50_000);
        let included =
            format!("inputs: {{ v: {{}} }}\njobs: {{ j: {{ image: i, script: 'x {script}' }} }}\n");
        let read = |_: &str| -> Result<String, FileError> { Ok(included.clone()) };
        let errors = assemble("top.yml", &top, &read).unwrap_err();
        assert!(errors.diagnostics.len() <= 402, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_returns_result(source in "\\PC*") {
        answer(&source)?;
    }

    #[test]
    fn yaml_like_text_returns_result(source in "([a-z]{1,4}: ?|- |[\\[\\]{},*&!|>'\"#~]|\n {0,6}|[0-9]{1,3}|\t){0,60}") {
        answer(&source)?;
    }

    #[test]
    fn mutated_valid_file_returns_result(
        seed in 0..SEEDS.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, 0..INSERTIONS.len()), 1..5),
    ) {
        let mut text: Vec<char> = SEEDS[seed].chars().collect();
        for (at, cut, text_ix) in edits {
            let at = at.index(text.len());
            let end = (at + cut).min(text.len());
            text.splice(at..end, INSERTIONS[text_ix].chars());
        }
        answer(&text.into_iter().collect::<String>())?;
    }
}
