use super::{Case, MAX_NAME_LEN, MAX_TEXT_LEN, Outcome, milliseconds, parse};
use proptest::prelude::*;

/// Parses a file; returns a line for each case, and the errors.
fn lines(bytes: &[u8]) -> (String, Vec<String>) {
    let mut cases: Vec<Case> = Vec::new();
    let errors = parse(bytes, |case| cases.push(case));
    let line = |case: Case| {
        let Case { suite, name, file, outcome, duration_ms, message, .. } = case;
        let file = file.map(|file| format!(" in {file}")).unwrap_or_default();
        format!("{outcome:?} {suite} / {name}{file} {duration_ms} ms {message:?}\n").replace(" \"\"\n", "\n")
    };
    let errors =
        errors.into_iter().map(|error| format!("{}:{}: {}", error.line, error.column, error.message));
    (cases.into_iter().map(line).collect(), errors.collect())
}

#[test]
fn every_junit_dialect_is_parsed() {
    let expected = [
        (
            include_bytes!("../../../tests/junit/pytest.xml").as_slice(),
            r#"Passed tests.test_cart.TestCart / test_add[1-"one"] 1 ms
Failed tests.test_cart.TestCart / test_total 12 ms "assert 3 == 4\n +  where 3 = total([1, 2])\ndef test_total():\n>       assert total([1, 2]) == 4\nE       assert 3 == 4\u{1b}[0m\n\ntests/test_cart.py:12: AssertionError"
Error tests.test_cart / test_db 100 ms "failed on setup with \"ConnectionRefusedError\"\nno connection"
Skipped tests.test_cart / test_later 0 ms "tests/test_cart.py:30: not yet"
Skipped tests.test_cart / test_xfail 1 ms "known"
"#,
        ),
        (
            include_bytes!("../../../tests/junit/nextest.xml"),
            r#"Passed shop::cart / adds 30 ms
Failed shop::cart / totals 40 ms "thread 'totals' panicked at cart.rs:9:5:\nassertion `left == right` failed"
Flaky shop::cart / sometimes 50 ms "thread 'sometimes' panicked at cart.rs:30:9"
Skipped shop::cart / ignored 0 ms
"#,
        ),
        (
            include_bytes!("../../../tests/junit/surefire.xml"),
            r#"Failed com.example.CartTest / totals 1234500 ms "org.opentest4j.AssertionFailedError: expected: <3> but was: <4>\n\tat com.example.CartTest.totals(CartTest.java:12)"
Flaky com.example.CartTest / retries 12 ms "java.lang.AssertionError: timeout\n\tat com.example.CartTest.retries(CartTest.java:20)"
Error com.example.CartTest /  0 ms "java.lang.NoClassDefFoundError"
Passed com.example.CartTest / adds 1 ms
"#,
        ),
        (
            include_bytes!("../../../tests/junit/gradle.xml"),
            r#"Failed com.example.CartTest / totals() 40 ms "org.opentest4j.AssertionFailedError: expected: <3> but was: <4>\n\tat app//com.example.CartTest.totals(CartTest.java:12)"
Skipped com.example.CartTest / later() 0 ms
Passed com.example.CartTest / adds() 11 ms
"#,
        ),
        (
            include_bytes!("../../../tests/junit/go-junit-report.xml"),
            r#"Failed example.com/shop/cart / TestTotal 60 ms "Failed\ncart_test.go:12: total is 3, want 4"
Passed example.com/shop/cart / TestAdd/one 0 ms
Passed example.com/shop/cart / TestAdd/two 100 ms
Skipped example.com/shop/cart / TestLater 0 ms "Skipped\ncart_test.go:30: not yet"
"#,
        ),
        (
            include_bytes!("../../../tests/junit/jest-junit.xml"),
            r#"Passed Cart adds „one“ / Cart adds „one“ in src/cart.test.ts 2 ms
Failed Cart totals / Cart totals in src/cart.test.ts 4 ms "Error: expect(received).toBe(expected) // Object.is equality\n\nExpected: 4\nReceived: 3\n    at Object.<anonymous> (src/cart.test.ts:12:19)"
Skipped Cart later / Cart later in src/cart.test.ts 0 ms
"#,
        ),
        (
            include_bytes!("../../../tests/junit/nested.xml"),
            r#"Passed outer / first 500 ms
Failed inner / bad in inner.cc 0 ms "one"
Skipped inner / off in inner.cc 0 ms
Error outer / last 0 ms "broke"
Passed outer /  0 ms
"#,
        ),
    ];
    for (bytes, expected) in expected {
        let (read, errors) = lines(bytes);
        assert_eq!((read.as_str(), errors.as_slice()), (expected, [].as_slice()));
    }
}

#[test]
fn errors_have_a_position_and_cases_before_them_are_read() {
    let prefix = "<testsuite name='s'>\n<testcase name='a'/>\n";
    for (text, error) in [
        ("", "1:1: the file has no `testsuite` element"),
        ("plain words", "1:12: the file has no `testsuite` element"),
        ("<html></html>\n", "2:1: the file has no `testsuite` element"),
        ("<testsuite>", "1:12: unexpected end of file"),
        (
            "<testsuite></testcase>",
            "1:12: ill-formed document: expected `</testsuite>`, but `</testcase>` was found",
        ),
        ("<testsuite>\n <testcase name='&lol;'/></testsuite>", "2:26: at 1..4: unrecognized entity `lol`"),
        (
            "<testsuite>\n <testcase name='a' name/></testsuite>",
            "2:27: position 22: attribute key must be directly followed by `=` or space",
        ),
        ("<testsuite>&nbsp;</testsuite>", "1:18: unknown entity `&nbsp;`"),
        ("<!DOCTYPE a [<!ENTITY a 'aa'>]>\n<testsuite/>", "1:32: document types are not supported"),
    ] {
        let (read, errors) = lines(text.as_bytes());
        assert_eq!((read.as_str(), errors.as_slice()), ("", [error.to_owned()].as_slice()), "{text}");
    }
    let (read, errors) = lines(format!("{prefix}<testcase name='b'><failure>").as_bytes());
    assert_eq!(read, "Passed s / a 0 ms\n");
    assert_eq!(errors, ["3:29: unexpected end of file"]);
}

#[test]
fn invalid_utf_8_is_replaced() {
    let latin = b"\xef\xbb\xbf<?xml version='1.0' encoding='ISO-8859-1'?>\n<testsuite><testcase name='gr\xfcn'/></testsuite>";
    let (read, errors) = lines(latin);
    assert_eq!(read, "Passed  / gr\u{fffd}n 0 ms\n");
    assert_eq!(errors, ["2:30: the file is not valid UTF-8 from here on"]);
    let wide: Vec<u8> = "\u{feff}<testsuite/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(lines(&wide).1, ["1:1: the file is UTF-16; only UTF-8 is supported"]);
}

#[test]
fn names_and_messages_are_bounded() {
    let long = "ü".repeat(1 << 20);
    let text = format!(
        "<testsuite name='{long}'><testcase name='{long}'><failure>{long}</failure></testcase></testsuite>"
    );
    let mut cases = Vec::new();
    assert_eq!(parse(text.as_bytes(), |case| cases.push(case)), []);
    let case = &cases[0];
    assert!(case.is_truncated && (case.outcome == Outcome::Failed));
    for (text, min) in
        [(&case.suite, MAX_NAME_LEN), (&case.name, MAX_NAME_LEN), (&case.message, MAX_TEXT_LEN)]
    {
        assert!(text.len() >= min && text.len() < min + 4, "{}", text.len());
    }
}

#[test]
fn durations_of_all_runners_are_parsed() {
    for (time, expected) in [
        ("1.5", 1_500),
        (" 0.0004 ", 0),
        ("0.0005", 1),
        ("1,234.567", 1_234_567),
        ("1,234,567.5", 1_234_567_500),
        ("0,25", 250),
        ("1,234,567", 1_234_567_000),
        ("2", 2_000),
        ("1e3", 1_000_000),
        ("", 0),
        ("-1", 0),
        ("NaN", 0),
        ("soon", 0),
        ("inf", u64::from(u32::MAX)),
    ] {
        assert_eq!(milliseconds(time), expected, "{time:?}");
    }
}

/// Concatenations of report fragments in any order.
fn parts() -> impl Strategy<Value = Vec<u8>> {
    let fragments = [
        "<testsuites>",
        "</testsuites>",
        "<testsuite name='s'>",
        "</testsuite>",
        "<testcase name='a' time='1,5'>",
        "<testcase/>",
        "</testcase>",
        "<failure message='&#10;'>",
        "</failure>",
        "<skipped/>",
        "<flakyFailure>",
        "</flakyFailure>",
        "<error ",
        "<![CDATA[",
        "]]>",
        "&lt;",
        "&#x",
        ";",
        "&",
        "<!--",
        "-->",
        "<!DOCTYPE x [",
        "]",
        ">",
        "<?xml",
        "?>",
        "='",
        "\"",
        "ü",
        " ",
    ];
    let part = prop_oneof![
        8 => proptest::sample::select(fragments.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        crate::fuzzing::junit(&bytes);
    }

    #[test]
    fn arbitrary_report_parts_never_panic(bytes in parts()) {
        crate::fuzzing::junit(&bytes);
    }
}
