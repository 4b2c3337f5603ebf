//! Cases about the sources that a job gets.

use crate::{cases::project::Project, support::git::git};
use std::fs;

const LOOK: &str = "name: look\njobs: { look: { image: \"IMAGE\", script: [SCRIPT] } }\n";

fn project(script: &str, files: &[(&str, &str)]) -> Project {
    let pipeline = LOOK.replace("SCRIPT", script);
    let mut all = vec![("ci.yml", pipeline.as_str())];
    all.extend(files);
    Project::new(&all)
}

/// Makes a repository beside the project's and adds it as the submodule `vendor/lib`.
fn add_submodule(project: &Project) {
    let lib = project.repo().with_file_name("lib");
    fs::create_dir(&lib).unwrap();
    fs::write(lib.join("hello.txt"), "hello from the submodule\n").unwrap();
    git(&lib, &["init", "-q", "-b", "main"]);
    git(&lib, &["add", "-A"]);
    git(&lib, &["commit", "-q", "-m", "lib"]);
    let url = format!("file://{}", lib.display());
    git(
        &project.repo(),
        &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &url, "vendor/lib"],
    );
    project.commit("submodule");
}

fn run_clone(project: &Project, more: &[&str], code: i32) {
    // A shell's `$PWD/../repository` is an address, too.
    let name = project.repo().file_name().unwrap().to_string_lossy().into_owned();
    let url = format!("file://{}/../{name}", project.repo().display());
    let run = project.tidemill(&[&["run", "-f", "ci.yml", "--repo", &url][..], more].concat());
    assert_eq!(run.code, code, "{run:?}");
}

#[test]
fn case_everyday_08_files_of_submodules_are_there() {
    let project = project("grep hello vendor/lib/hello.txt", &[]);
    add_submodule(&project);
    project.run("ci.yml", 0);
    project.write("dirty.txt", b"x");
    project.run("ci.yml", 0);
    run_clone(&project, &["--branch", "main"], 0);
}

#[test]
fn case_everyday_10_tags_and_main_branch_are_there() {
    let script = "\"test -e .git/refs/tags/v1.0 && test -e .git/refs/tags/v1.1 && cat .git/packed-refs .git/refs/remotes/origin/main\"";
    let project = project(script, &[]);
    for number in 1..=30 {
        project.commit(&format!("c{number}"));
        if number == 4 {
            git(&project.repo(), &["tag", "-a", "v1.0", "-m", "v1.0"]);
        }
    }
    git(&project.repo(), &["tag", "v1.1"]);
    git(&project.repo(), &["checkout", "-q", "-b", "topic"]);
    project.commit("topic");
    project.run("ci.yml", 0);
    run_clone(&project, &["--branch", "topic"], 0);
}

#[test]
fn case_everyday_11_pointer_of_lfs_without_content_is_an_error() {
    let pointer = "version https://git-lfs.github.com/spec/v1\n\
                   oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
    let project = project("ls -l big.bin", &[("big.bin", pointer)]);
    project.write(".gitattributes", b"*.bin filter=lfs diff=lfs merge=lfs -text\n");
    project.commit("lfs");
    let run = project.tidemill(&["run", "-f", "ci.yml"]);
    assert_eq!(run.code, 1, "{run:?}");
    let said = format!("{run:?}");
    assert!(said.contains("`big.bin` is a pointer of Git LFS"), "{said}");
    run_clone(&project, &["--branch", "main"], 1);
}

#[test]
fn case_everyday_35_rules_read_the_message_of_the_commit() {
    let file = "always: { image: \"IMAGE\", script: ['echo \"title: $CI_COMMIT_TITLE\"'] }\n\
                full: { image: \"IMAGE\", script: [\"true\"], rules: [{ if: '$CI_COMMIT_MESSAGE =~ /\\[full\\]/' }] }\n";
    let project = Project::new(&[(".gitlab-ci.yml", file)]);
    let plan = project.tidemill(&["plan", "-f", ".gitlab-ci.yml"]);
    assert!(plan.stdout.contains("left out"), "{plan:?}");
    project.commit("work [full]");
    let plan = project.tidemill(&["plan", "-f", ".gitlab-ci.yml"]);
    assert!(!plan.stdout.contains("left out"), "{plan:?}");
    project.run(".gitlab-ci.yml", 0);
    let log = project.log("always");
    assert!(log.contains("title: work [full]"), "{log}");
}

#[test]
fn case_everyday_35_native_conditions_read_message_title_and_author_of_the_commit() {
    let file = r#"
name: facts
jobs:
  always: { image: "IMAGE", script: ["true"] }
  full: { image: "IMAGE", script: ["true"], if: 'commit_message.contains("[full]")' }
  title: { image: "IMAGE", script: ["true"], if: 'commit_title == "Fix the wheel"' }
  own: { image: "IMAGE", script: ["true"], if: 'commit_author.matches("^Ann .*@example\\.org>$")' }
"#;
    let project = Project::new(&[("ci.yml", file)]);
    let left_out = |shown: &str| {
        let lines = shown.lines().filter_map(|line| line.strip_prefix("left out: "));
        lines.map(|line| line.split(':').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(left_out(&project.run("ci.yml", 0).stderr), ["full", "title", "own"]);
    let author = "--author=Ann Example <ann@example.org>";
    git(
        &project.repo(),
        &["commit", "-q", "--allow-empty", author, "-m", "Fix the wheel", "-m", "In [full]."],
    );
    assert_eq!(left_out(&project.run("ci.yml", 0).stderr), [""; 0]);
    let report = project.tidemill(&["report"]);
    let message = report.stdout.lines().find(|line| line.starts_with("message "));
    assert_eq!(message, Some("message     Fix the wheel  by Ann Example <ann@example.org>"), "{report:?}");
}

#[test]
fn case_real_01_tracked_and_ignored_files_and_line_endings_are_kept() {
    let script = "\"test \\\"$(cat vendor/libx.a)\\\" = bin && od -c fixture.txt | grep -q '\\\\\\\\r'\"";
    let project = project(script, &[(".gitignore", "*.a\n")]);
    project.write("vendor/libx.a", b"bin");
    project.write("fixture.txt", b"a\r\nb\r\n");
    git(&project.repo(), &["add", "-f", "vendor/libx.a"]);
    project.commit("files");
    project.write(".gitattributes", b"* text=auto\n");
    project.commit("attributes");
    project.run("ci.yml", 0);
}

#[test]
fn case_real_08_tag_and_default_branch_of_another_repository_are_known() {
    let file = r#"
name: tags
jobs:
  always: { image: "IMAGE", script: ["env | grep -E 'TAG|BRANCH' || true"] }
  release: { image: "IMAGE", if: 'tag != ""', script: [echo releasing] }
  deploy: { image: "IMAGE", if: branch == default_branch, script: [echo deploying] }
"#;
    let project = Project::new(&[(".pipelines/ci.yml", file)]);
    git(&project.repo(), &["tag", "v1.2.3"]);
    let url = format!("file://{}", project.repo().display());
    for (more, kept, left_out) in [
        (&["--branch", "v1.2.3"][..], "release", "deploy"),
        (&["--tag", "v1.2.3"][..], "release", "deploy"),
        (&["--branch", "main"][..], "deploy", "release"),
        (&[][..], "deploy", "release"),
    ] {
        let mut command = project.command(&[&["run", "--repo", &url][..], more].concat());
        let ended = command.current_dir(project.repo().parent().unwrap()).output().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert!(ended.status.success(), "{said}");
        assert!(said.contains(kept) && said.contains(&format!("left out: {left_out}")), "{said}");
    }
}
