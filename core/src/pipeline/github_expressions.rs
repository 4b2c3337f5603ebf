//! Expressions of GitHub Actions, `${{ .. }}`, which no shell and no key here knows.

/// Properties of the context `github`, and the variables that have them here.
const VARIABLES: [(&str, &str); 12] = [
    ("actor", "CI_COMMIT_AUTHOR"),
    ("base_ref", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME"),
    ("event_name", "CI_PIPELINE_SOURCE"),
    ("head_ref", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME"),
    ("job", "CI_JOB_NAME"),
    ("ref_name", "CI_COMMIT_REF_NAME"),
    ("repository", "CI_PROJECT_PATH"),
    ("repository_owner", "CI_PROJECT_NAMESPACE"),
    ("run_id", "CI_PIPELINE_ID"),
    ("run_number", "CI_PIPELINE_IID"),
    ("sha", "CI_COMMIT_SHA"),
    ("workspace", "CI_PROJECT_DIR"),
];

/// An expression in a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GithubExpression<'a> {
    /// The position of its `$`, in characters from 0.
    pub(crate) at: usize,
    /// Its number of characters.
    pub(crate) length: usize,
    /// What stands between the braces.
    pub(crate) content: &'a str,
}

impl<'a> GithubExpression<'a> {
    /// Finds the first expression in a text.
    pub(crate) fn first_in(text: &'a str) -> Option<Self> {
        let (before, rest) = text.split_once("${{")?;
        let (content, _) = rest.split_once("}}")?;
        let content_length = content.chars().count();
        Some(Self { at: before.chars().count(), length: content_length + 5, content: content.trim() })
    }

    /// Says what to write instead in a script.
    pub(crate) fn advice(&self) -> String {
        let name = |name: &str| {
            let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            (is_name && !name.is_empty()).then(|| name.to_owned())
        };
        let found = self.content.split_once('.').and_then(|(context, rest)| match context {
            "env" | "vars" | "matrix" => Some(format!("write `${}`", name(rest)?)),
            "secrets" => {
                let name = name(rest)?;
                Some(format!("write `${name}`; a native file also names it under `secrets` of the job"))
            }
            "inputs" => Some(format!("write `$[[ inputs.{} ]]`", name(rest)?)),
            "github" => {
                let (_, ours) = VARIABLES.iter().find(|(theirs, _)| *theirs == rest)?;
                Some(format!("write `${ours}`"))
            }
            _ => None,
        });
        found
            .unwrap_or_else(|| "a script has variables, secrets and keys of the matrix as `$NAME`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::{GithubExpression, VARIABLES};
    use crate::execution::predefined::is_predefined;

    #[test]
    fn advice_names_what_to_write() {
        for (text, at, length, advice) in [
            ("echo ${{ secrets.TOKEN }}", 5, 20, "write `$TOKEN`; "),
            ("é ${{env.A}}", 2, 10, "write `$A`"),
            ("${{ github.sha }}", 0, 17, "write `$CI_COMMIT_SHA`"),
            ("${{ inputs.level }}", 0, 19, "write `$[[ inputs.level ]]`"),
            ("${{ github.event.number }}", 0, 26, "a script has "),
            ("${{ hashFiles('**/a.lock') }}", 0, 29, "a script has "),
        ] {
            let found = GithubExpression::first_in(text);
            let found = found.map(|one| (one.at, one.length, one.advice().starts_with(advice)));
            assert_eq!(found, Some((at, length, true)), "{text}");
        }
        assert_eq!(GithubExpression::first_in("${A} $[[ inputs.a ]] {{ a }} ${{"), None);
        assert!(VARIABLES.iter().all(|(_, ours)| is_predefined(ours)));
    }
}
