//! Values of the inputs of a pipeline.

use super::finding::quoted;
use super::model::{CommentTrigger, Input, InputKind, Triggers};
use crate::condition::compile_pattern;
use crate::execution::facts::Facts;
use crate::text::choices::suggestion;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

/// Why the values of inputs are rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The pipeline has no input of this name.
    #[error("the pipeline has no input `{name}`; {suggestion}")]
    Unknown {
        /// The name.
        name: String,
        /// The nearest name, or the names of the inputs.
        suggestion: String,
    },
    /// An input without a default has no value.
    #[error(
        "the input `{name}` ({kind}) has no default and needs a value: give it with `--input {name}=VALUE`, or under `inputs` of the \
         request"
    )]
    Missing {
        /// The input.
        name: String,
        /// Its type.
        kind: &'static str,
    },
    /// A value does not fit the type.
    #[error("the input `{name}` takes {expected}, not {value}")]
    Invalid {
        /// The input.
        name: String,
        /// What it takes.
        expected: String,
        /// The value, quoted and shortened.
        value: String,
    },
}

impl Triggers {
    /// Returns all inputs: those that are declared, and the groups of the pattern of comments.
    #[must_use]
    pub fn all_inputs(&self) -> Vec<Input> {
        let mut all = self.inputs.clone();
        for name in self.comment.iter().flat_map(|comment| &comment.groups) {
            if !all.iter().any(|input| input.name == *name) {
                all.push(Input {
                    name: name.clone(),
                    default: Some(String::new()),
                    description: Some("a part of the comment that starts the pipeline".to_owned()),
                    ..Input::default()
                });
            }
        }
        all
    }

    /// Returns the values of all inputs: those that are `given`, else the defaults. `requires_all`: whether inputs without a default
    /// need a value, as they do when a user starts the pipeline.
    ///
    /// # Errors
    /// Returns the first invalid, unknown or missing value.
    pub fn input_values(
        &self,
        given: &IndexMap<String, String>,
        requires_all: bool,
    ) -> Result<IndexMap<String, String>, InputError> {
        let inputs = self.all_inputs();
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        if let Some(name) = given.keys().find(|name| !names.contains(&name.as_str())) {
            let name = name.chars().take(100).collect::<String>();
            return Err(InputError::Unknown { suggestion: suggestion(&name, &names, "inputs"), name });
        }
        let mut values = IndexMap::new();
        for input in &inputs {
            let Some(value) = given.get(&input.name).or(input.default.as_ref()) else {
                if requires_all {
                    let kind = input.kind.as_str();
                    return Err(InputError::Missing { name: input.name.clone(), kind });
                }
                continue;
            };
            if let Some(given) = given.get(&input.name) {
                let invalid = |expected| InputError::Invalid {
                    name: input.name.clone(),
                    expected,
                    value: quoted(given),
                };
                input.check(given).map_err(invalid)?;
            }
            values.insert(input.name.clone(), value.clone());
        }
        Ok(values)
    }

    /// Returns a JSON Schema of the values of all inputs, from which a form can be made.
    #[must_use]
    pub fn input_schema(&self) -> Value {
        let inputs = self.all_inputs();
        let properties: Map<String, Value> =
            inputs.iter().map(|input| (input.name.clone(), schema(input))).collect();
        let required: Vec<&str> =
            inputs.iter().filter(|input| input.default.is_none()).map(|input| input.name.as_str()).collect();
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }
}

/// Sets the values of inputs, and their variables, which win over all others.
pub fn set_inputs(facts: &mut Facts, values: IndexMap<String, String>) {
    facts.variables.extend(values.iter().map(|(name, value)| (Input::variable(name), value.clone())));
    facts.inputs = values;
}

fn schema(input: &Input) -> Value {
    let mut schema = match input.kind {
        InputKind::String => json!({ "type": "string" }),
        InputKind::Number => json!({ "type": "number" }),
        InputKind::Boolean => json!({ "type": "boolean" }),
        InputKind::Choice => json!({ "type": "string", "enum": input.options }),
    };
    let typed = |text: &String| match input.kind {
        InputKind::Number | InputKind::Boolean => serde_json::from_str(text).unwrap_or_default(),
        InputKind::String | InputKind::Choice => Value::from(text.as_str()),
    };
    let parts = [
        ("description", input.description.as_deref().map(Value::from)),
        ("default", input.default.as_ref().map(typed)),
        ("pattern", input.pattern.as_deref().map(Value::from)),
    ];
    for (key, value) in parts {
        if let Some(value) = value {
            schema[key] = value;
        }
    }
    schema
}

impl CommentTrigger {
    /// Returns the texts of the groups of its pattern in a comment; `None` if the comment does not match. A group that takes no part
    /// is absent.
    #[must_use]
    pub fn captures(&self, text: &str) -> Option<IndexMap<String, String>> {
        let pattern = compile_pattern(&self.pattern).ok()?;
        let captures = pattern.captures(text)?;
        let group = |name: &String| Some((name.clone(), captures.name(name)?.as_str().to_owned()));
        Some(self.groups.iter().filter_map(group).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::InputError;
    use crate::pipeline::{Pipeline, parse};
    use indexmap::IndexMap;
    use serde_json::json;

    const FILE: &str = r#"
name: deploy
on:
  comment: { pattern: "^/deploy (?P<env>\\w+)( (?P<why>.*))?$" }
  manual:
    inputs:
      env: { type: choice, options: [dev, prod], default: dev, description: Where to }
      count: { type: number, default: 2 }
      dry: { type: boolean, default: "true" }
      version: { pattern: "^v[0-9]+$" }
jobs: { a: { image: i, script: [x] } }
"#;

    fn file() -> Pipeline {
        parse(FILE).unwrap()
    }

    fn values(given: &[(&str, &str)]) -> Result<IndexMap<String, String>, InputError> {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        file().on.input_values(&given, true)
    }

    #[test]
    fn values_are_checked_by_type_and_defaults_fill_the_rest() {
        let all = values(&[("version", "v2"), ("env", "prod")]).unwrap();
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(all, [("env", "prod"), ("count", "2"), ("dry", "true"), ("version", "v2"), ("why", "")]);
        for (given, message) in [
            (vec![], "the input `version` (string) has no default and needs a value"),
            (vec![("version", "2")], "the input `version` takes a text that matches `^v[0-9]+$`, not `2`"),
            (vec![("env", "prd")], "the input `env` takes one of `dev`, `prod`, not `prd`"),
            (vec![("count", "many")], "the input `count` takes a number, not `many`"),
            (vec![("count", "NaN")], "the input `count` takes a number"),
            (vec![("dry", "yes")], "the input `dry` takes `true` or `false`, not `yes`"),
            (vec![("environ", "dev")], "the pipeline has no input `environ`; "),
        ] {
            let error = values(&given).unwrap_err().to_string();
            assert!(error.starts_with(message), "{given:?}: {error}");
        }
        for number in ["1", "-1.5", "2e3"] {
            assert!(values(&[("version", "v1"), ("count", number)]).is_ok(), "{number}");
        }
    }

    #[test]
    fn events_need_no_value_for_inputs_without_a_default() {
        let values = file().on.input_values(&IndexMap::new(), false).unwrap();
        assert_eq!(values.get("version"), None);
        assert_eq!(values["env"], "dev");
    }

    #[test]
    fn schema_describes_a_form() {
        let schema = file().on.input_schema();
        assert_eq!(
            schema["properties"]["env"],
            json!({ "type": "string", "enum": ["dev", "prod"], "default": "dev", "description": "Where to" })
        );
        assert_eq!(schema["properties"]["count"], json!({ "type": "number", "default": 2 }));
        assert_eq!(schema["properties"]["dry"], json!({ "type": "boolean", "default": true }));
        assert_eq!(schema["required"], json!(["version"]));
        assert_eq!(schema["additionalProperties"], false);
    }

    #[test]
    fn groups_of_a_comment_are_inputs() {
        let comment = file().on.comment.unwrap();
        assert_eq!(comment.groups, ["env", "why"]);
        let found = comment.captures("/deploy prod now; rm -rf /").unwrap();
        assert_eq!((found["env"].as_str(), found["why"].as_str()), ("prod", "now; rm -rf /"));
        assert!(!comment.captures("/deploy prod").unwrap().contains_key("why"));
        for text in ["deploy prod", "/deploy", "please\n/deploy prod", "/deploy prod\nrm"] {
            assert_eq!(comment.captures(text), None, "{text}");
        }
    }

    #[test]
    fn inputs_are_variables_of_the_pipeline() {
        let variables = file().variables;
        assert_eq!((variables["INPUT_ENV"].as_str(), variables["INPUT_VERSION"].as_str()), ("dev", ""));
        assert_eq!(variables["INPUT_WHY"], "");
    }
}
