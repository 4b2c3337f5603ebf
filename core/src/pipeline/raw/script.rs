//! `script`, `before_script` and `after_script`.

use schemars::json_schema;

use super::field::{Read, Reader, inline_schema};
use super::scalars::Text;
use crate::pipeline::finding::{Finding, FindingLocation, Trail};
use crate::pipeline::github_expressions::GithubExpression;
use crate::pipeline::yaml::tree::{Kind, Node, wrong_type};
use crate::text::shell_variables::ShellVariables;

/// Shell lines. Nested lists are flattened, so that anchors can share lines.
#[derive(Debug, Default)]
pub(crate) struct Script(pub(crate) Vec<String>);

impl Read for Script {
    fn read(node: &Node, path: &Trail<'_>, reader: &mut Reader) -> Option<Self> {
        let capacity = if let Kind::Sequence(items) = &node.kind { items.len() } else { 1 };
        let mut lines = Vec::with_capacity(capacity);
        collect_lines(node, path, reader, &mut lines).then_some(Self(lines))
    }
}

fn collect_lines(node: &Node, path: &Trail<'_>, reader: &mut Reader, lines: &mut Vec<String>) -> bool {
    match &node.kind {
        Kind::Sequence(items) => {
            let mut good = true;
            for (at, item) in items.iter().enumerate() {
                good &= collect_lines(item, &path.index(at), reader, lines);
            }
            good
        }
        Kind::Mapping(_) => {
            let finding = wrong_type(node, &path.to_path(), "a line of shell").help(
                "YAML reads `name: value` as a mapping; put the line between quotes, or use a block (`- |`)",
            );
            reader.findings.push(finding);
            false
        }
        Kind::Scalar { .. } => match Text::read(node, path, reader) {
            Some(line) => {
                // A here-document may be a file of that system.
                if let Some(found) = GithubExpression::first_in(&line.0)
                    && ShellVariables::of(&line.0).has_expressions
                {
                    let spot = FindingLocation::TextRange(path.to_path(), found.at, found.length);
                    let message =
                        "`${{ }}` is an expression of GitHub Actions, which the shell does not know";
                    let finding = Finding::error("not-expanded", spot, message);
                    reader.findings.push(finding.warning().help(found.advice()));
                }
                lines.push(line.0);
                true
            }
            None => false,
        },
    }
}

inline_schema!([] Script, "Script", _ => json_schema!({ "anyOf": [
            { "type": ["string", "boolean", "number"] },
            { "type": "array", "items": { "type": ["string", "boolean", "number", "array"] } },
        ] }));
