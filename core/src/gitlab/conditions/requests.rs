//! Decides whether a file may have jobs for merge requests.

use std::rc::Rc;

use crate::gitlab::keys;
use crate::gitlab::values;
use crate::pipeline::yaml::tree::Node;

/// Whether the rules of `workflow`, or those of a job, may hold for a merge request, as far as that can be seen in each condition by
/// itself. In GitLab a file has pipelines of merge requests then, whether it mentions them or not.
pub(crate) fn may_have_jobs(root: &Node) -> bool {
    let rules_of = |node: &Node| node.get("rules").is_some_and(|entry| any_may_hold(&entry.value));
    let workflow = root.get("workflow").filter(|entry| entry.value.get("rules").is_some());
    if let Some(entry) = workflow {
        return rules_of(&entry.value);
    }
    let is_job = |name: &str| !name.starts_with('.') && !keys::TOP.contains(&name);
    values::entries(root).iter().any(|entry| is_job(&entry.key) && rules_of(&entry.value))
}

fn any_may_hold(rules: &Rc<Node>) -> bool {
    values::list(rules).into_iter().any(|rule| {
        let text = |key| rule.get(key).and_then(|entry| values::text(&entry.value));
        text("when") != Some("never") && text("if").is_none_or(may_hold)
    })
}

/// Whether a condition may hold for a merge request: there is no branch and no tag then, and the source is a merge request.
fn may_hold(condition: &str) -> bool {
    let negates = ["!=", "!~", "||", "null"].iter().any(|sign| condition.contains(sign));
    let others = ["$CI_COMMIT_BRANCH", "$CI_COMMIT_TAG", "$CI_PIPELINE_SOURCE =="];
    negates || !others.iter().any(|name| condition.contains(name))
}

#[cfg(test)]
mod tests {
    use super::may_hold;

    #[test]
    fn conditions_on_branches_tags_and_other_sources_do_not_hold() {
        for condition in [
            "$CI_COMMIT_BRANCH",
            "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH",
            "$CI_COMMIT_TAG =~ /^v/",
            "$CI_PIPELINE_SOURCE == \"push\" && $A",
        ] {
            assert!(!may_hold(condition), "{condition}");
        }
        for condition in
            ["$A", "$CI_COMMIT_BRANCH != \"main\"", "$CI_COMMIT_TAG == null", "$A || $CI_COMMIT_TAG"]
        {
            assert!(may_hold(condition), "{condition}");
        }
    }
}
