//! Evaluation of conditions, and errors in invalid ones.

use indexmap::IndexMap;
use proptest::prelude::*;
use tidemill_core::execution::facts::{CommitDetails, Facts, PullRequest};
use tidemill_core::{
    api::Trigger,
    condition::{ConditionError, Context, Decision, EvaluationError, Outputs, Paths, check},
};

fn facts() -> Facts {
    Facts {
        trigger: Trigger::PullRequest,
        branch: Some("feature/wave".into()),
        default_branch: Some("main".into()),
        pull_request: Some(PullRequest {
            target_branch: "main".into(),
            from_fork: true,
            ..PullRequest::default()
        }),
        changed: Some(vec!["docs/a/b.md".into(), "src/main.rs".into()]),
        files: None,
        ..Facts::default()
    }
}

fn holds_of(text: &str, facts: &Facts) -> Result<bool, EvaluationError> {
    let condition = check(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
    let variables = IndexMap::from([
        ("LEVEL".to_owned(), "Two".to_owned()),
        ("EMPTY".to_owned(), String::new()),
        ("PATTERN".to_owned(), "^feature/(wave|tide)$".to_owned()),
        ("BROKEN".to_owned(), "(".to_owned()),
    ]);
    condition.decide(&Context { facts, variables: &variables, paths: &Paths::new(facts) }).map(|decision| {
        match decision {
            Decision::Known(holds) => holds,
            Decision::Open(open) => panic!("{text}: {open:?}"),
        }
    })
}

/// Decides a condition with the facts of these tests, and with outputs of the job `build` if these do not.
fn holds_when_due(text: &str, outputs: &[(&str, &str)]) -> Option<bool> {
    let condition = check(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
    let variables = IndexMap::from([("LEVEL".to_owned(), "Two".to_owned())]);
    let facts = facts();
    let context = Context { facts: &facts, variables: &variables, paths: &Paths::new(&facts) };
    match condition.decide(&context).unwrap() {
        Decision::Known(_) => None,
        Decision::Open(open) => {
            let of_build = outputs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Some(open.holds(&Outputs::from([("build".to_owned(), of_build.collect())])))
        }
    }
}

#[test]
fn outputs_decide_what_facts_leave_open() {
    let set = [("CHANGED", "true"), ("KIND", "Minor")];
    for (text, expected) in [
        ("needs.build.outputs.CHANGED == 'true'", Some(true)),
        ("needs['build'].outputs['CHANGED'] != 'true'", Some(false)),
        ("needs.build.outputs.OTHER == ''", Some(true)),
        ("needs.other.outputs.CHANGED == ''", Some(true)),
        ("needs.build.outputs.KIND.lowerAscii() in ['major', 'minor']", Some(true)),
        ("'Minor' in [env('LEVEL'), needs.build.outputs.KIND]", Some(true)),
        ("'Two' in [env('LEVEL'), needs.build.outputs.KIND]", None),
        ("needs.build.outputs.KIND.matches('^M') && fork", Some(true)),
        ("needs.build.outputs.KIND.matches('^M') && !fork", None),
        ("!fork && needs.build.outputs.KIND == 'Minor'", None),
        ("fork || needs.build.outputs.KIND == 'Minor'", None),
        ("needs.build.outputs.KIND == 'Major' || changed('src/**')", None),
        ("needs.build.outputs.KIND == 'Major' || changed('lib/**')", Some(false)),
        ("branch + '-' + needs.build.outputs.KIND == 'feature/wave-Minor'", Some(true)),
        ("(needs.build.outputs.CHANGED == 'true' ? branch : tag) == 'feature/wave'", Some(true)),
        ("fork == (needs.build.outputs.CHANGED == 'true')", Some(true)),
    ] {
        assert_eq!(holds_when_due(text, &set), expected, "{text}");
    }
}

#[test]
fn references_to_outputs_have_their_place() {
    let text = "fork && needs[\"unit tests\"].outputs.OK == needs.build.outputs['A']";
    let found: Vec<(String, String, String)> = check(text)
        .unwrap()
        .outputs()
        .iter()
        .map(|of| {
            let written = text.chars().skip(of.start).take(of.length).collect();
            (of.job.clone(), of.output.clone(), written)
        })
        .collect();
    let expected = [
        ("unit tests", "OK", "needs[\"unit tests\"].outputs.OK"),
        ("build", "A", "needs.build.outputs['A']"),
    ];
    assert_eq!(found, expected.map(|(job, output, at)| (job.to_owned(), output.to_owned(), at.to_owned())));
    let many = format!("{} == ''", ["needs.a.outputs.B"; 11].join(" + "));
    for (text, message) in [
        ("needs.build.CHANGED == ''", "an output of a job is written `needs.JOB.outputs.NAME`"),
        ("needs == ''", "an output of a job is written `needs.JOB.outputs.NAME`"),
        ("needs.build.result == ''", "an output of a job is written `needs.JOB.outputs.NAME`"),
        ("branch.matches(needs.build.outputs.A)", "an output cannot be a pattern"),
        ("env(needs.build.outputs.A) == ''", "an output cannot be the name of a variable or of a ref"),
        ("needs.build-app.outputs.A == ''", "the operator `-` is not supported"),
        (many.as_str(), "it refers to more than 10 outputs"),
    ] {
        assert_eq!(check(text).unwrap_err().message, message, "{text}");
    }
}

#[test]
fn conditions_evaluate_as_written() {
    for (text, expected) in [
        ("true", true),
        ("branch == 'feature/wave'", true),
        ("branch == default_branch", false),
        ("tag == \"\" && commit == ''", true),
        ("event == 'pull_request' && target_branch == default_branch", true),
        ("fork", true),
        ("!fork || draft", false),
        ("fork == true", true),
        ("branch in ['main', 'feature/' + 'wave']", true),
        ("!(branch in ['main'])", true),
        ("env('LEVEL') == 'Two'", true),
        ("env('LEVEL').lowerAscii() == 'two'", true),
        ("env('NOBODY') == ''", true),
        ("defined('EMPTY') && !defined('NOBODY')", true),
        ("branch.startsWith('feature/') && branch.endsWith('wave') && branch.contains('re/w')", true),
        ("branch.matches('^FEATURE')", false),
        ("branch.matches('(?i)^FEATURE')", true),
        (r"branch.matches('^feature/\\w+$')", true),
        (r#"branch.matches(r"^feature/\w+$")"#, true),
        ("branch.matches(env('PATTERN'))", true),
        ("changed('src/**')", true),
        ("changed('docs/*')", false),
        ("changed('docs/')", true),
        ("changed('docs/*', 'src/*.rs')", true),
        ("exists('Cargo.toml')", true),
        ("(tag != '' ? tag : branch) == 'feature/wave'", true),
        ("tag != '' ? fork : draft", false),
    ] {
        assert_eq!(holds_of(text, &facts()), Ok(expected), "{text}");
    }
}

#[test]
fn message_and_author_of_the_commit_are_known() {
    let known = Facts {
        details: CommitDetails::new(
            "Fix the wheel [full]\n\nIt turned backwards.\n",
            "Ann Example <ann@example.org>",
        ),
        ..facts()
    };
    for (text, expected) in [
        ("commit_title == 'Fix the wheel [full]'", true),
        ("commit_message.contains('backwards')", true),
        ("commit_title.contains('backwards')", false),
        (r"commit_message.matches('(?i)\\[FULL\\]')", true),
        ("commit_author == 'Ann Example <ann@example.org>'", true),
        ("commit_author.endsWith('@example.org>') && !commit_author.startsWith('bot')", true),
        // What another line says is not the title.
        ("commit_title.matches('^It')", false),
    ] {
        assert_eq!(holds_of(text, &known), Ok(expected), "{text}");
    }
    let unknown = "commit_message == '' && commit_title == '' && commit_author == ''";
    assert_eq!((holds_of(unknown, &facts()), holds_of(unknown, &known)), (Ok(true), Ok(false)));
}

#[test]
fn event_matches_trigger() {
    let of = |trigger, tag: Option<&str>| Facts { trigger, tag: tag.map(str::to_owned), ..Facts::default() };
    for (facts, event) in [
        (of(Trigger::Push, None), "push"),
        (of(Trigger::Push, Some("v1")), "tag"),
        (of(Trigger::PullRequest, None), "pull_request"),
        (of(Trigger::Schedule, None), "schedule"),
        (of(Trigger::Manual, None), "manual"),
    ] {
        assert_eq!(holds_of(&format!("event == '{event}'"), &facts), Ok(true), "{event}");
    }
}

#[test]
fn invalid_pattern_in_variable_is_reported() {
    let error = holds_of("branch.matches(env('BROKEN'))", &facts()).unwrap_err();
    assert!(matches!(&error, EvaluationError::Pattern { pattern, .. } if pattern == "("), "{error}");
    // Nothing is evaluated that does not count.
    assert_eq!(holds_of("draft && branch.matches(env('BROKEN'))", &facts()), Ok(false));
}

#[test]
fn each_error_has_location_and_help() {
    let cases: [(&str, &str, &str, &str); 25] = [
        ("", "", "is empty", "branch == default_branch"),
        ("brnach == 'main'", "brnach", "unknown name `brnach`", "`branch`"),
        ("fork && brnach == 'main'", "brnach", "unknown name", "`branch`"),
        ("LEVEL == 'x'", "LEVEL", "unknown name", "env(\"LEVEL\")"),
        ("branch = 'main'", "=", "", "`==`"),
        ("branch == main", "main", "unknown name `main`", "quotes"),
        ("branch ==", "", "is incomplete", ""),
        ("$CI == 'x'", "$", "`$` is not valid here", "env(\"NAME\")"),
        ("var('CI') == 'x'", "", "`var`", "env(\"NAME\")"),
        ("branch =~ /x/", "", "", "matches"),
        ("fork and draft", "and", "`and` is not expected", "`&&`"),
        ("branch", "branch", "a condition must be a boolean", "compare"),
        ("fork == 'true'", "==", "never equal", ""),
        ("branch == ['main']", "==", "never equal", "`in`"),
        ("branch == null", "null", "null is not supported", "defined"),
        ("branch == 1", "1", "numbers are not supported", "quotes"),
        ("event == 'pul_request'", "'pul_request'", "unknown event `pul_request`", "`pull_request`"),
        ("event == 'merge_request_event'", "'merge_request_event'", "unknown event", "`pull_request`"),
        ("chnaged('x')", "", "unknown function `chnaged`", "`changed`"),
        ("branch.startswith('x')", "", "no method `startswith`", "`startsWith`"),
        ("matches('x')", "", "unknown function `matches`", "branch.matches"),
        ("changed('[')", "'['", "not a glob", ""),
        ("changed(branch)", "branch", "quoted literal", ""),
        ("branch.matches('(')", "'('", "not a regular expression", ""),
        ("['a'].exists(x, x == 'a')", "", "not supported", ""),
    ];
    for (text, at, message, help) in cases {
        let fault = check(text).err().unwrap_or_else(|| panic!("{text} is accepted"));
        let meant: String = text.chars().skip(fault.start).take(fault.length).collect();
        assert!(meant.starts_with(at), "{text}: {fault:?} is at `{meant}`");
        assert!(fault.message.contains(message), "{text}: {fault:?}");
        assert!(fault.help.clone().unwrap_or_default().contains(help), "{text}: {fault:?}");
    }
}

#[test]
fn locations_count_characters() {
    let ConditionError { start: at, length, .. } = check("branch == 'grüße 🌊' && brnach == ''").unwrap_err();
    assert_eq!((at, length), (23, 6));
}

#[test]
fn depth_and_length_are_bounded() {
    for text in [
        format!("{}fork{}", "(".repeat(900), ")".repeat(900)),
        format!("branch in {}{}", "[".repeat(500), "]".repeat(500)),
        format!("{}fork", "fork ? fork : ".repeat(100)),
        "fork && ".repeat(200),
        format!("branch == '{}'", "x".repeat(16_000)),
        format!("branch.matches('{}')", "(a{100}){100}".repeat(10)),
    ] {
        assert!(check(&text).is_err(), "{}", text.len());
    }
    assert!(check(&format!("fork{}", " && fork".repeat(200))).is_ok());
}

#[test]
fn deepest_conditions_fit_small_stack() {
    let conditions = || {
        [
            format!("{}fork{}", "(".repeat(32), ")".repeat(32)),
            format!("{}fork{}", "!(".repeat(32), ")".repeat(32)),
            format!("{}{}", "[".repeat(32), "]".repeat(32)),
            format!("{}{}", "{1:".repeat(32), "}".repeat(32)),
            format!("{}1{}", "f(".repeat(32), ")".repeat(32)),
            format!("{}1", "1+".repeat(7_990)),
            format!("{}a", "a==".repeat(5_300)),
            format!("a{}", ".b".repeat(7_990)),
            format!("a{}", "[0]".repeat(32)),
            format!("a{}", ".b()".repeat(3_900)),
            "!".repeat(15_999),
            "-".repeat(15_999),
            format!("{}fork", "fork?fork:".repeat(32)),
            format!("{}'a' == ''", "'a'+".repeat(3_990)),
            format!("{}fork", "fork==".repeat(2_600)),
            format!("{}fork", "fork||fork&&".repeat(1_300)),
            format!("{}fork{}", "(fork==".repeat(32), ")".repeat(32)),
            format!("{}fork", "fork||".repeat(2_600)),
            format!("{}fork", "fork&&".repeat(2_600)),
            format!("tag{} == ''", ".lowerAscii()".repeat(1_200)),
            format!("tag in [{}tag]", "tag,".repeat(3_900)),
        ]
    };
    let small = std::thread::Builder::new().stack_size(512 << 10);
    let ran = small.spawn(move || {
        let facts = Facts::default();
        let variables = IndexMap::new();
        let paths = Paths::new(&facts);
        for condition in conditions().iter().filter_map(|text| check(text).ok()) {
            let context = Context { facts: &facts, variables: &variables, paths: &paths };
            assert_eq!(condition.decide(&context), condition.decide(&context));
        }
    });
    ran.unwrap().join().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_condition_text_returns_within_limits(text in "\\PC{0,60}") {
        if let Err(fault) = check(&text) {
            prop_assert!(fault.length >= 1 && fault.start <= text.chars().count());
        }
    }

    #[test]
    fn condition_like_text_returns_result(
        parts in prop::collection::vec(prop::sample::select(vec![
            "branch", "fork", "event", " == ", " && ", "||", "!", "(", ")", "'a'", "\"push\"", "in", "[", "]", ",",
            "env(", "changed(", ".matches(", " ? ", " : ", "{", "}", "1", "1.5", "null", "has(branch.x)", "-", "r'", "b'a'", "\\",
            "'''", "🌊", "// x", "\n", ".", "x.all(y, y)", "`a`", "0xg", "1u", "%", "@",
        ]), 0..14),
    ) {
        let text = parts.concat();
        match check(&text) {
            Err(fault) => prop_assert!(fault.length >= 1 && fault.start <= text.chars().count(), "{text}: {fault:?}"),
            Ok(condition) => {
                let facts = Facts::default();
                let variables = IndexMap::new();
                let _ = condition.decide(&Context { facts: &facts, variables: &variables, paths: &Paths::new(&facts) });
            }
        }
    }
}
