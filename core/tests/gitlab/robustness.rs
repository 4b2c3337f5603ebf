//! Oversized and random GitLab files.

use proptest::prelude::*;
use tidemill_core::pipeline::parse;
use tidemill_core::plan::Plan;

use super::keys::{REPORTED_KEYS, SUPPORTED_KEYS, complete};
use super::{on_push, translate_fixture};

#[test]
fn oversized_gitlab_files_are_rejected() {
    let bomb = |lines: usize, line: &dyn Fn(usize) -> String| (1..lines).map(line).collect::<String>();
    let aliases = format!(
        "a0: &a0 [x]\n{}",
        bomb(20, &|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(", ")))
    );
    let references = format!(
        ".a0: {{ s: [x] }}\n{}j: {{ image: a, script: [!reference [.a9, s]] }}\n",
        bomb(10, &|n| format!(
            ".a{n}: {{ s: [{}] }}\n",
            vec![format!("!reference [.a{}, s]", n - 1); 9].join(", ")
        ))
    );
    let variables = format!(
        "variables:\n  A0: \"\"\n{}j: {{ image: a, script: x }}\n",
        bomb(60, &|n| format!("  A{n}: $A{0}$A{0}$A{0}\n", n - 1))
    );
    let rings = format!(
        "variables:\n{}j: {{ image: a, script: x }}\n",
        bomb(40, &|n| format!(
            "  A{n}: {}\n",
            (1..40).map(|n| format!("$A{n}")).collect::<Vec<_>>().concat()
        ))
    );
    let extended = format!(
        ".b0:\n{}{}",
        bomb(2_000, &|n| format!("  k{n}: [1, 2, 3, 4]\n")),
        bomb(2_000, &|n| format!("j{n}: {{ extends: .b0, image: a, script: x }}\n"))
    );
    let long = format!("j: {{ image: a, script: {} }}\n", "x".repeat(10 << 20));
    let brackets = format!("j: {{ image: a, script: x, rules: [{{ if: '{}$A' }}] }}\n", "(".repeat(100_000));
    let nested = format!("j: {{ image: a, script: {} }}\n", "[".repeat(100_000));
    for (name, text) in [
        ("aliases", aliases),
        ("references", references),
        ("extended", extended),
        ("long", long),
        ("brackets", brackets),
        ("nested", nested),
    ] {
        let start = std::time::Instant::now();
        let errors = translate_fixture(".gitlab-ci.yml", &text)
            .map(|translated| translated.text.len())
            .expect_err(name);
        assert!(!errors.diagnostics.is_empty(), "{name}");
        assert!(start.elapsed().as_secs() < 60, "{name} took {:?}", start.elapsed());
    }
    for (name, text) in [("variables", variables), ("rings", rings)] {
        let start = std::time::Instant::now();
        let _ = translate_fixture(".gitlab-ci.yml", &text);
        assert!(start.elapsed().as_secs() < 60, "{name} took {:?}", start.elapsed());
    }
}

#[test]
fn brackets_may_end_at_the_indentation_of_their_key() {
    // As Ruby's parser reads it; YAML demands more indentation.
    let text = "j:\n  image: i\n  script: [\n    a,\n    # not ]\n    'b]', {c: d}.c\n  ]\n  variables: {\n    A: '['\n  }\n";
    let text = text.replace(", {c: d}.c", "");
    let translated =
        translate_fixture(".gitlab-ci.yml", &text).unwrap_or_else(|e| panic!("{}", e.render(false)));
    let job = &translated.parsed.pipeline.jobs[0];
    assert_eq!((job.script.join(" "), job.variables["A"].as_str()), ("a b]".to_owned(), "["));
    let open = "j:\n  image: i\n  script: [\n  a\nk: { script: x }\n";
    assert!(translate_fixture(".gitlab-ci.yml", open).is_err());
}

#[test]
fn findings_of_shared_parts_count_once() {
    let job = |number: usize| format!("job{number}: {{ extends: .base, stage: test }}\n");
    let jobs: String = (0..400).map(job).collect();
    let text = format!(".base: {{ image: i, script: x, release: {{ tag_name: a }}, pages: true }}\n{jobs}");
    let found = translate_fixture(".gitlab-ci.yml", &text).unwrap().parsed.warnings;
    let codes: Vec<&str> = found.iter().map(|one| one.code.as_str()).collect();
    assert_eq!(codes, ["gitlab-key-ignored"; 2], "{found:#?}");
}

#[test]
fn lines_of_deeply_indented_quotes_are_not_indented() {
    for (indent, lines) in [(70_000, 1), (65_000, 400_000)] {
        let text = format!("{}a: \"x\n{}", " ".repeat(indent), "y\n".repeat(lines));
        assert!(translate_fixture(".gitlab-ci.yml", &text).is_err(), "{indent}");
    }
}

/// A file of the key tables with a random insertion, so that most files get past the YAML parser.
fn mutated_file() -> impl Strategy<Value = String> {
    let files: Vec<String> = REPORTED_KEYS
        .iter()
        .map(|(_, text)| complete(text))
        .chain(SUPPORTED_KEYS.iter().map(|(text, _)| complete(text)))
        .collect();
    let files = prop::sample::select(files);
    (files, any::<prop::sample::Index>(), "\\PC{0,6}").prop_map(|(text, at, odd)| {
        let chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len() + 1);
        chars[..at].iter().collect::<String>() + &odd + &chars[at..].iter().collect::<String>()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_returns_result(text in "\\PC{0,300}") {
        let _ = translate_fixture(".gitlab-ci.yml", &text);
    }

    #[test]
    fn mutated_gitlab_files_return_result(lines in prop::collection::vec(mutated_file(), 1..4)) {
        if let Ok(translated) = translate_fixture(".gitlab-ci.yml", &lines.concat()) {
            prop_assert_eq!(parse(&translated.text).unwrap(), translated.parsed.pipeline);
        }
    }

    #[test]
    fn any_gitlab_condition_returns_result(text in "[$A-C =!~/&|()'\"a-c.*+\\[\\]\\\\{}i]{0,40}") {
        let quoted = text.replace('\'', "''");
        if let Ok(translated) = translate_fixture(".gitlab-ci.yml", &format!("image: a\nj: {{ script: x, rules: [{{ if: '{quoted}' }}] }}\n")) {
            let _ = Plan::for_facts(&translated.parsed.pipeline, &on_push("a"));
        }
    }
}

#[test]
fn too_many_combined_rules_are_one_error_at_the_workflow() {
    let rules = |count: usize| {
        (0..count)
            .map(|n| format!("{{if: $A == \"{n}\", variables: {{V: a}}}}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let jobs: Vec<String> =
        (0..30).map(|n| format!("j{n}: {{image: a, script: x, rules: [{}]}}\n", rules(60))).collect();
    let text = format!("workflow: {{rules: [{}]}}\n{}", rules(60), jobs.concat());
    let errors = translate_fixture(".gitlab-ci.yml", &text).unwrap_err().diagnostics;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].message.contains("108000 rules") && errors[0].location.unwrap().column == 12,
        "{errors:?}"
    );
    assert!(translate_fixture(".gitlab-ci.yml", &text.replace(&rules(60), &rules(10))).is_ok());
}

#[test]
fn combined_rules_that_are_too_large_are_one_error() {
    let value = "v".repeat(10_000);
    let rules: Vec<String> =
        (0..90).map(|n| format!("{{if: $A == \"{n}\", variables: {{V: {value}}}}}")).collect();
    let jobs: Vec<String> = (0..100).map(|n| format!("j{n}: {{image: a, script: x}}\n")).collect();
    let text = format!("workflow: {{rules: [{}]}}\n{}", rules.join(", "), jobs.concat());
    let errors = translate_fixture(".gitlab-ci.yml", &text).unwrap_err().diagnostics;
    assert_eq!(errors.len(), 1);
    assert!(errors[0].message.contains("9000 rules"), "{}", errors[0].message);
}
