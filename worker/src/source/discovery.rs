//! What a commit holds for the server: its pipeline files, and what it changed.

use super::{
    git::{self, SourceError},
    reach::Remote,
    tree::objects_of,
};
use std::path::Path;
use tidemill_core::{
    discovery::{Discovery, MOST_CHANGED, MOST_FILES, PipelineFile},
    gitlab,
    pipeline::{MAX_FILE_BYTES, assemble},
};

/// Where pipeline files are.
const FOLDER: &str = ".pipelines";
/// The file of another system that is read where there is no such folder.
const GITLAB: &str = ".gitlab-ci.yml";

/// What a commit holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The commit's full hash.
    pub commit: String,
    /// Its pipeline files, what they include put in.
    pub files: Vec<PipelineFile>,
    /// Paths that it changed, where that is known.
    pub changed: Option<Vec<String>>,
    /// Paths of all its files, unless they are too many.
    pub paths: Option<Vec<String>>,
    /// Mistakes of files that could not be put together, as they are shown.
    pub mistakes: Vec<String>,
}

/// Looks at `commit` of `remote`; what is fetched stays below `cache`.
pub fn discover(
    remote: &Remote,
    branch: Option<&str>,
    commit: &str,
    wanted: &Discovery,
    cache: &Path,
) -> Result<Found, SourceError> {
    let (url, reference) = (remote.url(), wanted.fetch_ref.as_deref());
    let shown =
        if git::is_full_hash(commit) { commit.to_owned() } else { shown_by(remote, reference, commit)? };
    let repo = objects_of(remote, branch, reference, &shown, cache)?;
    // Of an annotated tag, what is known may be the tag's own object.
    let commit = &git::run(git::at(&repo).args(["rev-parse", "--verify", &format!("{shown}^{{commit}}")]))?;
    let commit = commit.trim();
    let list = git::run(git::at(&repo).args(["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit]))?;
    let all: Vec<String> = list.split_terminator('\0').map(str::to_owned).collect();
    let mut mistakes = Vec::new();
    let mut files = Vec::new();
    let read = |path: &str| show(&repo, commit, path);
    let is_wanted = |path: &&String| {
        if wanted.only.is_empty() { is_pipeline(path) } else { wanted.only.contains(path) && *path != GITLAB }
    };
    for path in all.iter().filter(is_wanted).take(MOST_FILES) {
        let text = read(path).map_err(SourceError::new)?;
        match assemble(path, &text, &read) {
            Ok(assembled) => files.push(PipelineFile { path: path.clone(), text: assembled.text }),
            Err(found) => mistakes.push(found.render(false)),
        }
    }
    let may_be_gitlab = wanted.only.is_empty() || wanted.only.iter().any(|path| path == GITLAB);
    if files.is_empty() && mistakes.is_empty() && may_be_gitlab && all.iter().any(|path| path == GITLAB) {
        let text = read(GITLAB).map_err(SourceError::new)?;
        match gitlab::translate(GITLAB, &text, &read, &gitlab::Settings::of(name_of(url))) {
            Ok(assembled) => files.push(PipelineFile { path: GITLAB.to_owned(), text: assembled.text }),
            Err(found) => mistakes.push(found.render(false)),
        }
    }
    let changed = changed(&repo, remote, commit, wanted);
    let paths = (all.len() <= MOST_CHANGED).then_some(all);
    Ok(Found { commit: commit.to_owned(), files, changed, paths, mistakes })
}

/// The last part of a repository's address.
fn name_of(url: &str) -> &str {
    let path = url.trim_end_matches('/').trim_end_matches(".git").trim_end_matches('/');
    path.rsplit(['/', ':']).next().unwrap_or(path)
}

/// The commit that a ref of `remote` shows now; its hash begins with `short`.
fn shown_by(remote: &Remote, reference: Option<&str>, short: &str) -> Result<String, SourceError> {
    let reference = reference.filter(|name| !name.starts_with('-'));
    let reference =
        reference.ok_or_else(|| SourceError::new(format!("`{short}` is not a full commit hash")))?;
    let url = remote.url();
    let mut command = git::command();
    let connection = remote.connect(&mut command)?;
    let shown = git::run(command.args(["ls-remote", "--", &connection.url, reference]))
        .map_err(|error| connection.explain(error))?;
    let is_it = |line: &&str| line.split_once('\t').is_some_and(|(_, name)| name == reference);
    let line = shown.lines().find(is_it);
    let hash = line.and_then(|line| line.split_once('\t')).map(|(hash, _)| hash);
    let hash = hash.ok_or_else(|| SourceError::new(format!("{url} has no {reference}")))?;
    if !git::is_full_hash(hash) || !hash.starts_with(short) {
        return Err(SourceError::new(format!(
            "{reference} of {url} is not at {short} any more, but at {hash}"
        )));
    }
    Ok(hash.to_owned())
}

fn is_pipeline(path: &str) -> bool {
    let name = path.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/'));
    name.is_some_and(|name| {
        let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
        !name.contains('/') && matches!(extension, Some("yml" | "yaml"))
    })
}

/// The text of a file at a commit.
fn show(repo: &Path, commit: &str, path: &str) -> Result<String, String> {
    let object = format!("{commit}:{path}");
    let size = git::run(git::at(repo).args(["cat-file", "-s", &object]))
        .map_err(|_| format!("there is no file {path}"))?;
    if size.trim().parse::<usize>().is_ok_and(|size| size > MAX_FILE_BYTES) {
        return Err(format!("{path} has {} bytes, and {MAX_FILE_BYTES} is the limit", size.trim()));
    }
    git::run(git::at(repo).args(["cat-file", "blob", &object])).map_err(|error| error.to_string())
}

/// What changed since the commit before, or since the branch that it is to go into was left. Whatever cannot be told is not
/// known, and then every condition on changes holds.
fn changed(repo: &Path, remote: &Remote, commit: &str, wanted: &Discovery) -> Option<Vec<String>> {
    let fetch = |what: &str| {
        let mut command = git::at(repo);
        let connection = remote.connect(&mut command)?;
        git::run(command.args(["fetch", "--quiet", "--", &connection.url, what]))
    };
    let from = match (&wanted.before, &wanted.target_branch) {
        (_, Some(branch)) => {
            let name = format!("refs/heads/{branch}");
            // The mirror may have an older one.
            let kept = format!("+{name}:{name}");
            drop(fetch(&kept));
            git::run(git::at(repo).args(["merge-base", &name, commit])).ok()?.trim().to_owned()
        }
        (Some(before), None) if git::is_full_hash(before) && before.bytes().any(|digit| digit != b'0') => {
            let there = git::run(git::at(repo).args(["cat-file", "-e", &format!("{before}^{{commit}}")]));
            if there.is_err() {
                fetch(before).ok()?;
            }
            before.clone()
        }
        _ => return None,
    };
    let diff = ["diff", "--name-only", "-z", "--no-renames", &from, commit];
    let names = git::run(git::at(repo).args(diff)).ok()?;
    let changed: Vec<String> = names.split_terminator('\0').map(str::to_owned).collect();
    (changed.len() <= MOST_CHANGED).then_some(changed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Found, discover};
    use crate::source::{Remote, git};
    use std::{fs, path::Path};
    use tidemill_core::discovery::Discovery;

    fn git_in(dir: &Path, words: &[&str]) -> String {
        let identity =
            ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"];
        git::run(git::command().current_dir(dir).args(identity).args(words)).unwrap().trim().to_owned()
    }

    fn commit(dir: &Path, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        git_in(dir, &["add", "-A"]);
        git_in(dir, &["commit", "-q", "-m", "x"]);
        git_in(dir, &["rev-parse", "HEAD"])
    }

    fn find(dir: &Path, cache: &Path, commit: &str, wanted: &Discovery) -> Found {
        discover(&Remote::on_disk(dir), Some("main"), commit, wanted, cache).unwrap()
    }

    #[test]
    fn pipeline_files_and_changes_are_found_at_the_commit() {
        let (place, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dir = place.path();
        git_in(dir, &["init", "-q", "-b", "main"]);
        let jobs = "jobs: { j: { image: i, script: x } }\n";
        let first = commit(dir, &[(".gitlab-ci.yml", "job: { script: x }\n"), ("src/a.rs", "1")]);
        let found = find(dir, cache.path(), &first, &Discovery::default());
        assert!(found.files[0].text.contains("image"), "native: {}", found.files[0].text);
        assert_eq!((found.files[0].path.as_str(), found.changed), (".gitlab-ci.yml", None));
        let one = format!("name: one\n{jobs}");
        let two = "name: two\ninclude: shared/jobs.yml\n";
        let second = commit(
            dir,
            &[
                (".pipelines/one.yml", one.as_str()),
                (".pipelines/two.yaml", two),
                (".pipelines/notes.txt", "no"),
                (".pipelines/deeper/three.yml", "no"),
                ("shared/jobs.yml", jobs),
                ("src/b c.rs", "1"),
            ],
        );
        let since = Discovery { before: Some(first.clone()), ..Discovery::default() };
        let found = find(dir, cache.path(), &second, &since);
        let names: Vec<&str> = found.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(names, [".pipelines/one.yml", ".pipelines/two.yaml"]);
        assert!(found.files[1].text.contains("script"), "{}", found.files[1].text);
        assert_eq!(found.changed.unwrap().len(), 6);
        assert!(found.paths.unwrap().contains(&"src/b c.rs".to_owned()) && found.mistakes.is_empty());

        git_in(dir, &["checkout", "-q", "-b", "topic", &first]);
        let topic =
            commit(dir, &[("src/a.rs", "2"), (".pipelines/bad.yml", "name: bad\ninclude: none.yml\n")]);
        let onto = Discovery { target_branch: Some("main".into()), ..Discovery::default() };
        let found = discover(&Remote::on_disk(dir), Some("topic"), &topic, &onto, cache.path()).unwrap();
        assert_eq!(found.changed.unwrap(), [".pipelines/bad.yml", "src/a.rs"]);
        assert!(found.mistakes[0].contains("none.yml"), "{:?}", found.mistakes);
        // What a ref shows, where the commit is not known or shortened.
        let shown = |commit: &str, reference: &str| {
            let wanted = Discovery {
                fetch_ref: Some(reference.into()),
                only: vec![".pipelines/one.yml".into()],
                ..Discovery::default()
            };
            discover(&Remote::on_disk(dir), None, commit, &wanted, cache.path())
        };
        git_in(dir, &["branch", "main", &second, "--force"]);
        let found = shown("", "refs/heads/main").unwrap();
        assert_eq!((&found.commit, found.files.len()), (&second, 1));
        assert_eq!(shown(&second[..12], "refs/heads/main").unwrap().commit, second);
        assert!(shown(&first[..12], "refs/heads/main").is_err() && shown("", "refs/heads/none").is_err());
        git_in(dir, &["tag", "-a", "v1", "-m", "x", &second]);
        let object = git_in(dir, &["rev-parse", "refs/tags/v1"]);
        assert_ne!(object, second);
        assert_eq!(find(dir, cache.path(), &object, &Discovery::default()).commit, second);
        let new_branch = Discovery { before: Some("0".repeat(40)), ..Discovery::default() };
        assert_eq!(find(dir, cache.path(), &topic, &new_branch).changed, None);
    }
}
