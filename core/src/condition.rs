//! Conditions of rules: expressions of the Common Expression Language (<https://cel.dev>) over what is known of an execution.
//!
//! A condition is a truth value made of the words of [`WORDS`] and the functions of [`FUNCTIONS`]. It has no loops, so it is
//! over at once whatever it says.

use crate::{api::Trigger, facts::Facts};
use cel::{
    Context, Program, Value,
    common::ast::{EntryExpr, Expr, IdedExpr},
    extractors::Arguments,
};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use indexmap::IndexMap;
use std::{fmt, sync::Arc};

/// The longest condition, in bytes.
pub const LONGEST: usize = 2_000;

/// How deep parentheses and lists may lie in each other: the parser goes down with each, and has 2 MiB of stack.
const DEEPEST: usize = 8;
/// The most signs that stand before one value, for the same reason; and how often `?` and `.` may stand in all.
const MOST_SIGNS: usize = 20;
const MOST_CHOICES: usize = 20;
const MOST_DOTS: usize = 40;
/// The most operators.
const MOST_OPERATORS: usize = 200;

/// The words that a condition may use, and what they are.
pub const WORDS: [(&str, &str); 9] = [
    ("branch", "the branch; of a pull request, that of its head; empty for a tag"),
    ("tag", "the tag, or empty"),
    ("event", "what started it: push, tag, pull_request, schedule, manual or retry"),
    ("default_branch", "the repository's default branch, or empty where it is not known"),
    ("target_branch", "the branch that a pull request is to go into, or empty"),
    ("commit", "the commit's hash, or empty"),
    ("pull_request", "the number of the pull request, or 0"),
    ("fork", "whether the commit comes from a fork"),
    ("draft", "whether the pull request is a draft"),
];

/// The functions of ours that a condition may use, and what they say.
pub const FUNCTIONS: [(&str, &str); 4] = [
    ("env", "`env(\"NAME\")`: the value of a variable of the pipeline or the request, or empty"),
    ("defined", "`defined(\"NAME\")`: whether there is such a variable"),
    ("changed", "`changed(\"src/**\", ...)`: whether a file that one of these globs names has changed"),
    ("has_file", "`has_file(\"Cargo.toml\", ...)`: whether there is a file that one of these globs names"),
];

/// Functions and operators of the language itself that are of use here; others are refused when a file is checked.
const STANDARD: [&str; 15] = [
    "startsWith",
    "endsWith",
    "contains",
    "matches",
    "size",
    "int",
    "string",
    "_==_",
    "_!=_",
    "_<_",
    "_<=_",
    "_>_",
    "_>=_",
    "@in",
    "_[_]",
];
const LOGIC: [&str; 4] = ["_&&_", "_||_", "!_", "_?_:_"];

/// What is wrong with a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// What it is.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The line and the column (from 1) of the condition's text that it is at, where that is known.
    pub at: Option<(usize, usize)>,
}

/// A condition that was read.
pub struct Condition {
    program: Program,
    text: String,
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.text).finish()
    }
}

/// What a condition is asked about: facts, and the variables that count.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// What is known of the execution.
    pub facts: &'a Facts,
    /// The variables by name; those of the facts win over the pipeline's.
    pub variables: &'a IndexMap<String, String>,
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// Everything that is wrong with it, at its place in `text`.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        let one = |message: String, help: Option<&str>| {
            vec![Mistake { message, help: help.map(str::to_owned), at: None }]
        };
        if text.trim().is_empty() {
            return Err(one("is empty".into(), Some("write a condition, such as `branch == \"main\"`")));
        }
        if text.len() > LONGEST {
            return Err(one(
                format!("has {} bytes, and {LONGEST} is the limit", text.len()),
                Some("split it into several rules"),
            ));
        }
        if is_too_deep(text) {
            return Err(one("is too deep or has too many parts".into(), Some("split it into several rules")));
        }
        let program = Program::compile(text).map_err(|errors| {
            let place = |at: (isize, isize)| {
                let (line, column) = (usize::try_from(at.0).ok()?, usize::try_from(at.1).ok()?);
                (line > 0).then_some((line, column.max(1)))
            };
            // What follows the first one mostly follows from it.
            let first = errors.errors.iter().min_by_key(|error| error.pos);
            let mistake = |error: &cel::ParseError| Mistake {
                message: format!("is no condition: {}", plain(&error.msg)),
                help: advice(text),
                at: place(error.pos),
            };
            first.map(mistake).into_iter().collect::<Vec<_>>()
        })?;
        let mut mistakes = Vec::new();
        look(program.expression(), &mut mistakes);
        if mistakes.is_empty() {
            let condition = Self { program, text: text.to_owned() };
            // Types are known only when it is asked; with these facts most of what can be wrong shows.
            match condition.holds(Known { facts: &sample(), variables: &IndexMap::new() }) {
                Ok(_) => return Ok(condition),
                Err(message) => mistakes.push(Mistake { message, help: None, at: None }),
            }
        }
        Err(mistakes)
    }

    /// Whether it holds of what is known.
    ///
    /// # Errors
    /// It cannot be said, in words: a type does not fit, or a regular expression is none.
    pub fn holds(&self, known: Known<'_>) -> Result<bool, String> {
        match self.program.execute(&context(known)) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!(
                "gives {}, where a condition gives true or false; compare it with something",
                type_name(&other)
            )),
            Err(error) => Err(format!("cannot be told: {}", plain(&error.to_string()))),
        }
    }
}

/// What conditions call the trigger of an execution of which `facts` are known.
#[must_use]
pub fn event(facts: &Facts) -> &'static str {
    match facts.trigger {
        Trigger::Push if facts.tag.is_some() => "tag",
        Trigger::Push => "push",
        Trigger::PullRequest => "pull_request",
        Trigger::Schedule => "schedule",
        Trigger::Retry => "retry",
        Trigger::Manual => "manual",
    }
}

/// Whether one of `globs` names one of `paths`. An unknown list of paths is taken to have it.
#[must_use]
pub fn any_path(globs: &[String], paths: Option<&[String]>) -> bool {
    let Some(paths) = paths else { return true };
    let Some(set) = glob_set(globs) else { return false };
    paths.iter().any(|path| set.is_match(path))
}

/// The globs as they match paths: `*` stays within a name. A glob that is none matches nothing.
fn glob_set(globs: &[String]) -> Option<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(GlobBuilder::new(glob).literal_separator(true).build().ok()?);
    }
    set.build().ok()
}

fn context(known: Known<'_>) -> Context<'static, 'static> {
    let Known { facts, variables } = known;
    let mut context = Context::default();
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    let request = facts.pull_request.as_ref();
    for (name, value) in [
        ("branch", text(facts.branch.as_ref())),
        ("tag", text(facts.tag.as_ref())),
        ("event", event(facts).to_owned()),
        ("default_branch", text(facts.default_branch.as_ref())),
        ("target_branch", text(request.map(|request| &request.target_branch))),
        ("commit", text(facts.commit.as_ref())),
    ] {
        context.add_variable_from_value(name, value);
    }
    let number = request.map_or(0, |request| i64::try_from(request.number).unwrap_or(i64::MAX));
    context.add_variable_from_value("pull_request", number);
    context.add_variable_from_value("fork", facts.is_from_fork());
    context.add_variable_from_value("draft", request.is_some_and(|request| request.draft));

    let all: Arc<IndexMap<String, String>> = Arc::new(variables.clone());
    let of = all.clone();
    let value = move |name: Arc<String>| of.get(name.as_str()).cloned().unwrap_or_default();
    let is_there = move |name: Arc<String>| all.contains_key(name.as_str());
    let changed: Option<Arc<Vec<String>>> = facts.changed.clone().map(Arc::new);
    let files: Option<Arc<Vec<String>>> = facts.files.clone().map(Arc::new);
    let within = |paths: Option<Arc<Vec<String>>>| {
        move |Arguments(globs): Arguments| {
            let text = |glob: &Value| match glob {
                Value::String(glob) => glob.to_string(),
                _ => String::new(),
            };
            let globs: Vec<String> = globs.iter().map(text).collect();
            any_path(&globs, paths.as_ref().map(|paths| paths.as_slice()))
        }
    };
    // The names are none of the language's own, so they can be added.
    drop(context.add_function("env", value));
    drop(context.add_function("defined", is_there));
    drop(context.add_function("changed", within(changed)));
    drop(context.add_function("has_file", within(files)));
    context
}

/// Whether the parser could go too deep. What stands between quotes counts too: a quote may be missing.
fn is_too_deep(text: &str) -> bool {
    let (mut depth, mut deepest, mut signs, mut most_signs) = (0_usize, 0, 0, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
        signs = match byte {
            b'!' | b'-' => signs + 1,
            byte if byte.is_ascii_whitespace() => signs,
            _ => 0,
        };
        most_signs = most_signs.max(signs);
    }
    let count = |signs: &[u8]| text.bytes().filter(|byte| signs.contains(byte)).count();
    deepest > DEEPEST
        || most_signs > MOST_SIGNS
        || count(b"?") > MOST_CHOICES
        || count(b".") > MOST_DOTS
        || count(b"&|<>=!+-*/%") > MOST_OPERATORS
}

/// Facts with a value for everything.
fn sample() -> Facts {
    let some = |text: &str| Some(text.to_owned());
    Facts {
        trigger: Trigger::Push,
        branch: some("main"),
        tag: some("v1"),
        commit: some("0000000000000000000000000000000000000000"),
        default_branch: some("main"),
        ..Facts::default()
    }
}

/// Finds what is no word or function of conditions, and what could take for ever.
fn look(expression: &IdedExpr, mistakes: &mut Vec<Mistake>) {
    let mistake = |message: String, help: Option<String>| Mistake { message, help, at: None };
    match &expression.expr {
        Expr::Ident(name) => {
            if !WORDS.iter().any(|(word, _)| word == name) {
                let near = crate::pipeline::nearest(name, WORDS.iter().map(|(word, _)| *word));
                let help = near.map_or_else(
                    || format!("a variable is `env(\"{name}\")`; the words are {}", words()),
                    |near| format!("did you mean `{near}`? A variable is `env(\"{name}\")`"),
                );
                mistakes.push(mistake(format!("knows no word `{name}`"), Some(help)));
            }
        }
        Expr::Call(call) => {
            let name = call.func_name.as_str();
            let ours = FUNCTIONS.iter().any(|(function, _)| *function == name);
            if ours && call.target.is_some() {
                mistakes.push(mistake(
                    format!("calls `{name}` of something"),
                    Some(format!("write `{name}(\"...\")` by itself")),
                ));
            } else if ours {
                arguments(name, &call.args, mistakes);
            } else if !STANDARD.contains(&name) && !LOGIC.contains(&name) {
                let known = FUNCTIONS.iter().map(|(function, _)| *function).chain(STANDARD);
                let known = known.filter(|name| !name.contains(['_', '@']) || *name == "has_file");
                let help = crate::pipeline::nearest(name, known).map_or_else(
                    || "the functions are env, defined, changed, has_file, and startsWith, endsWith, contains, matches, size of text".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                mistakes.push(mistake(format!("knows no function `{name}`"), Some(help)));
            }
            if name == "matches"
                && let Some(Expr::Literal(cel::common::ast::LiteralValue::String(pattern))) =
                    call.args.first().map(|argument| &argument.expr)
                && let Err(error) = regex_of(pattern.inner())
            {
                mistakes.push(mistake(format!("has no regular expression in `matches`: {error}"), None));
            }
            for part in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
                look(part, mistakes);
            }
        }
        Expr::List(list) => list.elements.iter().for_each(|element| look(element, mistakes)),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    look(&entry.key, mistakes);
                    look(&entry.value, mistakes);
                }
            }
        }
        Expr::Comprehension(_) => mistakes.push(mistake(
            "goes through a list".into(),
            Some("compare with each value, or use `in`: `branch in [\"main\", \"next\"]`".into()),
        )),
        Expr::Select(select) => {
            look(&select.operand, mistakes);
            mistakes
                .push(mistake(format!("asks for `.{}` of something that has no parts", select.field), None));
        }
        Expr::Struct(_) => mistakes.push(mistake("makes a structure".into(), None)),
        Expr::Literal(_) | Expr::Unspecified => {}
    }
}

/// The functions of ours take text: one for variables, one or more globs for paths.
fn arguments(name: &str, arguments: &[IdedExpr], mistakes: &mut Vec<Mistake>) {
    let one = matches!(name, "env" | "defined");
    let fits = if one { arguments.len() == 1 } else { !arguments.is_empty() };
    if !fits {
        let help =
            FUNCTIONS.iter().find(|(function, _)| *function == name).map(|(_, help)| (*help).to_owned());
        let count = arguments.len();
        let wants = if one { "one name" } else { "at least one glob" };
        let message = format!("gives `{name}` {count} argument(s), and it takes {wants}");
        mistakes.push(Mistake { message, help, at: None });
    }
    if one {
        return;
    }
    for argument in arguments {
        let Expr::Literal(cel::common::ast::LiteralValue::String(glob)) = &argument.expr else {
            let message = format!("gives `{name}` something that is no glob between quotes");
            mistakes.push(Mistake { message, help: None, at: None });
            continue;
        };
        if let Err(error) = GlobBuilder::new(glob.inner()).literal_separator(true).build() {
            let message = format!("gives `{name}` a glob that is none: {}", error.kind());
            mistakes.push(Mistake { message, help: None, at: None });
        }
    }
}

fn regex_of(pattern: &str) -> Result<(), String> {
    let empty = Program::compile("''.matches(p)").map_err(|error| error.to_string())?;
    let mut context = Context::default();
    context.add_variable_from_value("p", pattern.to_owned());
    empty.execute(&context).map(drop).map_err(|error| plain(&error.to_string()))
}

fn words() -> String {
    WORDS.map(|(word, _)| word).join(", ")
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => "a number",
        Value::List(_) => "a list",
        Value::Map(_) => "a mapping",
        _ => "something else",
    }
}

/// The first line of what the parser says.
fn plain(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    line.strip_prefix("Syntax error: ").unwrap_or(line).trim_end_matches('.').to_owned()
}

/// What to do about text that looks like another language's condition.
fn advice(text: &str) -> Option<String> {
    let gitlab = text.contains("=~") || text.contains("!~") || text.starts_with('$') || text.contains(" $");
    if gitlab {
        return Some("a variable is `env(\"NAME\")`, and `=~ /x/` is `.matches(\"x\")`".to_owned());
    }
    if text.contains("${{") {
        return Some("leave out `${{ }}`".to_owned());
    }
    if text.contains(" = ") {
        return Some("write `==`".to_owned());
    }
    (text.contains(" and ") || text.contains(" or ")).then(|| "write `&&` and `||`".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Condition, Known, Mistake};
    use crate::{
        api::Trigger,
        facts::{Facts, PullRequest},
    };
    use indexmap::IndexMap;
    use proptest::prelude::*;

    fn facts() -> Facts {
        Facts {
            trigger: Trigger::PullRequest,
            branch: Some("feature/x".into()),
            default_branch: Some("main".into()),
            pull_request: Some(PullRequest {
                number: 7,
                target_branch: "main".into(),
                from_fork: true,
                ..PullRequest::default()
            }),
            changed: Some(vec!["src/a.rs".into(), "README.md".into()]),
            files: Some(vec!["Cargo.toml".into()]),
            ..Facts::default()
        }
    }

    fn holds_of(text: &str, facts: &Facts) -> bool {
        let variables: IndexMap<String, String> =
            [("A".to_owned(), "b".to_owned()), ("EMPTY".to_owned(), String::new())].into_iter().collect();
        Condition::parse(text).unwrap().holds(Known { facts, variables: &variables }).unwrap()
    }

    fn holds(text: &str) -> bool {
        holds_of(text, &facts())
    }

    fn mistakes(text: &str) -> Vec<Mistake> {
        Condition::parse(text).map(|condition| format!("{condition:?}")).unwrap_err()
    }

    #[test]
    fn conditions_hold_of_what_is_known() {
        for yes in [
            "branch == 'feature/x'",
            "branch.startsWith('feature/') && event == 'pull_request'",
            "target_branch == default_branch",
            "event in ['push', 'pull_request']",
            "!(branch == 'main') || false",
            "branch.matches('^feature/[a-z]+$')",
            "branch.matches('(?i)FEATURE')",
            "env('A') == 'b' && env('NONE') == ''",
            "defined('A') && defined('EMPTY') && !defined('NONE')",
            "changed('src/**')",
            "changed('docs/**', '*.md')",
            "has_file('Cargo.*')",
            "pull_request == 7 && fork && !draft",
            "tag == '' ? true : false",
            "size(env('A')) == 1",
        ] {
            assert!(holds(yes), "{yes}");
        }
        for no in [
            "changed('docs/**')",
            "changed('*.rs')",
            "has_file('package.json')",
            "event == 'push'",
            "env('A') > 'c'",
        ] {
            assert!(!holds(no), "{no}");
        }
    }

    #[test]
    fn where_nothing_is_known_of_paths_they_count_as_there() {
        let unknown = Facts { changed: None, files: None, ..facts() };
        assert!(holds_of("changed('docs/**') && has_file('package.json')", &unknown));
        let none = Facts { changed: Some(Vec::new()), ..facts() };
        assert!(!holds_of("changed('**')", &none));
    }

    #[test]
    fn the_event_of_a_tag_is_a_tag() {
        let tag = Facts { trigger: Trigger::Push, tag: Some("v1".into()), branch: None, ..Facts::default() };
        assert!(holds_of("event == 'tag' && tag.startsWith('v') && branch == ''", &tag));
    }

    #[test]
    fn as_deep_as_a_condition_may_be_it_is_read_on_a_small_stack() {
        for text in [
            format!("{}true{}", "(".repeat(8), ")".repeat(8)),
            format!("{}1{}", "[".repeat(8), "]".repeat(8)),
            format!("{}true", "!".repeat(20)),
            format!("{}true", "! ".repeat(20)),
            format!("fork{}", " && fork".repeat(100)),
            format!("{}true", "fork ? fork : ".repeat(20)),
            format!("branch{}", ".size()".repeat(40)),
            format!("1{} > 0", "+1".repeat(190)),
            "(".repeat(8),
            "\"((((((((".to_owned(),
            "a.".repeat(40),
        ] {
            let read =
                std::thread::Builder::new().stack_size(2 << 20).spawn(move || drop(Condition::parse(&text)));
            read.unwrap().join().unwrap();
        }
    }

    #[test]
    fn mistakes_are_found_when_a_condition_is_read() {
        for (text, says, advises) in [
            ("", "is empty", "such as"),
            ("branch = 'main'", "is no condition", "`==`"),
            ("brunch == 'main'", "no word `brunch`", "did you mean `branch`?"),
            ("FOO == 'x'", "no word `FOO`", "env(\"FOO\")"),
            ("$FOO =~ /x/", "is no condition", "env(\"NAME\")"),
            ("branch.startWith('x')", "no function `startWith`", "did you mean `startsWith`?"),
            ("chnged('x')", "no function `chnged`", "did you mean `changed`?"),
            ("changed()", "0 argument(s)", "changed(\"src/**\", ...)"),
            ("changed(branch)", "no glob between quotes", ""),
            ("changed('a[')", "a glob that is none", ""),
            ("env('A', 'B')", "2 argument(s)", "env(\"NAME\")"),
            ("branch.matches('(')", "no regular expression", ""),
            ("branch", "gives text", ""),
            ("['a'].exists(x, x == branch)", "goes through a list", "use `in`"),
            ("branch.name == 'x'", "no parts", ""),
            ("branch and tag", "is no condition", "`&&`"),
        ] {
            let found = mistakes(text);
            assert!(found[0].message.contains(says), "{text}: {found:?}");
            assert!(found[0].help.clone().unwrap_or_default().contains(advises), "{text}: {found:?}");
        }
        assert_eq!(mistakes("branch == 'a' &&\n  )")[0].at.unwrap().0, 2);
        let deep = |depth| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
        assert!(mistakes(&deep(900))[0].message.contains("too deep"));
        assert!(mistakes(&"!".repeat(1_999))[0].message.contains("too deep"));
        assert!(mistakes(&"a".repeat(2_001))[0].message.contains("2000"));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "\\PC{0,60}") {
            drop(Condition::parse(&text));
        }

        #[test]
        fn any_text_of_its_signs_is_answered(text in "[a-z()'\"!&|=.,\\[\\]{}? :1-9$/~]{0,60}") {
            drop(Condition::parse(&text));
        }
    }
}
