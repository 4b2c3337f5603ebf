//! Comments on pull requests: who may start something by one.

use crate::repositories::record::Repository;
use tidemill_core::repository::webhook::PullRequestComment;

/// Checks that the author of a comment may start pipelines of a repository. Returns the reason if not.
pub(super) fn check_author(of: &Repository, comment: &PullRequestComment) -> Result<(), String> {
    let author = &comment.author;
    let is_listed = of.comment_authors.iter().any(|name| name.eq_ignore_ascii_case(author));
    let provider = of.provider;
    match (of.comment_authors.is_empty(), comment.may_write) {
        (false, _) if is_listed && !author.is_empty() => Ok(()),
        (false, _) => Err(format!("{author} is not among the `--comment-authors` of the repository")),
        (true, Some(true)) => Ok(()),
        (true, Some(false)) => {
            Err(format!("{author} is not an owner, a member or a collaborator of the repository"))
        }
        (true, None) => Err(format!(
            "the webhooks of {provider} do not say what {author} may do; name those who may start pipelines with `tidemill repo add \
             --comment-authors`"
        )),
    }
}
