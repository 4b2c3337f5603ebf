//! What a first deployment creates, read from the template alone: nothing is sent to AWS.

use super::parameters::ParameterValues;
use std::collections::BTreeMap;

/// Returns one line for each resource that the template creates with these values of parameters. A condition that this version does
/// not understand counts as true.
pub fn resources(template: &str, values: &ParameterValues) -> Vec<String> {
    let parameters = entries(template, "Parameters");
    let conditions = entries(template, "Conditions");
    let scope = Scope { values, parameters: &parameters, conditions: &conditions };
    let created = entries(template, "Resources").into_iter().filter(|(_, resource)| {
        resource.attribute("Condition").is_none_or(|name| scope.condition(name, 0) != Some(false))
    });
    let line =
        |(name, resource): (&str, Entry<'_>)| Some(format!("+ {name} ({})", resource.attribute("Type")?));
    created.filter_map(line).collect()
}

/// An entry of a section of the template.
#[derive(Default)]
struct Entry<'t> {
    /// What follows its name in the same line.
    value: &'t str,
    /// The lines below it.
    lines: Vec<&'t str>,
}

impl<'t> Entry<'t> {
    /// Returns the value of an attribute of the entry itself.
    fn attribute(&self, name: &str) -> Option<&'t str> {
        self.lines.iter().find_map(|line| line.strip_prefix("    ")?.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Returns the entries of a section by name.
fn entries<'t>(template: &'t str, section: &str) -> BTreeMap<&'t str, Entry<'t>> {
    let begin = |line: &&str| line.strip_suffix(':') == Some(section);
    let lines = template.lines().skip_while(|line| !begin(line)).skip(1);
    let lines = lines.take_while(|line| line.is_empty() || line.starts_with([' ', '#']));
    let mut entries: BTreeMap<&str, Entry<'_>> = BTreeMap::new();
    let mut last = "";
    for line in lines {
        match line.strip_prefix("  ").filter(|rest| rest.starts_with(char::is_alphabetic)) {
            Some(entry) => {
                let (name, value) = entry.split_once(':').unwrap_or((entry, ""));
                entries.insert(name, Entry { value: value.trim(), lines: Vec::new() });
                last = name;
            }
            None => {
                if let Some(entry) = entries.get_mut(last) {
                    entry.lines.push(line);
                }
            }
        }
    }
    entries
}

/// What expressions refer to.
struct Scope<'t> {
    values: &'t ParameterValues,
    parameters: &'t BTreeMap<&'t str, Entry<'t>>,
    conditions: &'t BTreeMap<&'t str, Entry<'t>>,
}

/// A value of an expression.
#[derive(Debug, PartialEq, Eq)]
enum Term {
    Text(String),
    Truth(bool),
}

/// Conditions that refer to each other more deeply than this are not understood.
const MAX_DEPTH: usize = 16;

impl Scope<'_> {
    /// Returns whether a condition holds; `None`: it is not understood.
    fn condition(&self, name: &str, depth: usize) -> Option<bool> {
        let mut tokens = tokens(self.conditions.get(name)?.value).into_iter().peekable();
        let term = self.term(&mut tokens, depth + 1)?;
        tokens.peek().is_none().then_some(())?;
        term.truth()
    }

    fn term(
        &self,
        tokens: &mut std::iter::Peekable<impl Iterator<Item = String>>,
        depth: usize,
    ) -> Option<Term> {
        if depth > MAX_DEPTH {
            return None;
        }
        let token = tokens.next()?;
        let Some(function) = token.strip_prefix('!') else { return Some(Term::Text(unquoted(&token))) };
        if function == "Ref" || function == "Condition" {
            let name = tokens.next()?;
            return if function == "Ref" {
                Some(Term::Text(self.parameter(&name)?))
            } else {
                self.condition(&name, depth).map(Term::Truth)
            };
        }
        let mut list = Vec::new();
        (tokens.next()? == "[").then_some(())?;
        loop {
            list.push(self.term(tokens, depth + 1)?);
            match tokens.next()?.as_str() {
                "," => {}
                "]" => break,
                _ => return None,
            }
        }
        let truths = || list.iter().map(Term::truth).collect::<Option<Vec<bool>>>();
        let truth = match (function, list.as_slice()) {
            ("Equals", [one, other]) => one == other,
            ("Not", [one]) => !one.truth()?,
            ("And", _) => truths()?.into_iter().all(|truth| truth),
            ("Or", _) => truths()?.into_iter().any(|truth| truth),
            _ => return None,
        };
        Some(Term::Truth(truth))
    }

    /// Returns the value of a parameter, or its default.
    fn parameter(&self, name: &str) -> Option<String> {
        let value = self.values.get(name).cloned();
        value.or_else(|| Some(unquoted(self.parameters.get(name)?.attribute("Default")?)))
    }
}

impl Term {
    const fn truth(&self) -> Option<bool> {
        match self {
            Self::Truth(truth) => Some(*truth),
            Self::Text(_) => None,
        }
    }
}

fn unquoted(text: &str) -> String {
    text.trim_matches('"').to_owned()
}

/// Splits an expression into functions, names, quoted texts, brackets and commas.
fn tokens(expression: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '[' | ']' | ',' => 1,
            '"' => rest[1..].find('"').map_or(rest.len(), |end| end + 2),
            _ => rest.find(['[', ']', ',', ' ']).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(end);
        tokens.push(token.to_owned());
        rest = after.trim_start();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::{entries, resources};
    use crate::deploy::parameters::{ParameterValues, TEMPLATE};

    const SMALL: &str = r#"
Parameters:
  Count:
    Type: String
    Default: "0"
  Mail:
    Type: String
    Default: ""

Conditions:
  Many: !Not [!Equals [!Ref Count, "0"]]
  Notified: !And [!Condition Many, !Not [!Equals [!Ref Mail, ""]]]
  Either: !Or [!Condition Notified, !Equals [!Ref Count, "7"]]
  Odd: !Unknown [!Ref Count]

Resources:
  # A comment.
  Always:
    Type: AWS::SQS::Queue
    Properties:
      Type: not this one
  Group:
    Type: AWS::AutoScaling::AutoScalingGroup
    Condition: Many
  Topic:
    Type: AWS::SNS::Topic
    Condition: Notified
  Other:
    Type: AWS::S3::Bucket
    Condition: Either
  Unclear:
    Type: AWS::Lambda::Function
    Condition: Odd
Outputs:
  Group:
    Value: x
"#;

    fn created(values: &[(&str, &str)]) -> Vec<String> {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let lines = resources(SMALL, &values.collect::<ParameterValues>());
        lines.iter().map(|line| line.split(' ').nth(1).unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn resources_follow_their_conditions() {
        assert_eq!(created(&[]), ["Always", "Unclear"]);
        assert_eq!(created(&[("Count", "1")]), ["Always", "Group", "Unclear"]);
        assert_eq!(
            created(&[("Count", "1"), ("Mail", "a@b")]),
            ["Always", "Group", "Other", "Topic", "Unclear"]
        );
        assert_eq!(created(&[("Count", "7")]), ["Always", "Group", "Other", "Unclear"]);
        let lines = resources(SMALL, &ParameterValues::new());
        assert_eq!(lines[0], "+ Always (AWS::SQS::Queue)");
    }

    #[test]
    fn conditions_of_the_template_are_understood() {
        let none = ParameterValues::new();
        let (parameters, conditions) = (entries(TEMPLATE, "Parameters"), entries(TEMPLATE, "Conditions"));
        let scope = super::Scope { values: &none, parameters: &parameters, conditions: &conditions };
        for name in conditions.keys() {
            assert!(scope.condition(name, 0).is_some(), "{name}");
        }
        let lines = resources(TEMPLATE, &none);
        assert!(lines.contains(&"+ Table (AWS::DynamoDB::Table)".to_owned()), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("WorkerGroup")), "{lines:#?}");
    }
}
