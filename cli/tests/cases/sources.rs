//! Cases about the sources that a job gets.

use crate::{
    cases::project::Project,
    support::{git::git, image},
};
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
        let rule = if left_out == "deploy" { "branch == default_branch" } else { "tag != \"\"" };
        let line = said.lines().find(|line| line.starts_with(&format!("left out: {left_out}: ")));
        assert!(said.contains(kept) && line.is_some_and(|line| line.contains(rule)), "{said}");
    }
}

const CONTENT: &[u8] = b"the content of a large file\n";
const CONTENT_HASH: &str = "4a5c2fc6bc98adac426e0762751daad303a48744fb518a31171689d25505bfa8";

#[test]
fn case_real_07_lfs_is_set_up_and_its_program_is_missing() {
    let file = r#"
name: lfs
jobs:
  look: { image: "IMAGE", script: [grep content big.bin] }
  docs: { image: "IMAGE", if: 'changed("docs/**")', script: ["true"] }
  code: { image: "IMAGE", if: 'changed("src/**")', script: ["true"] }
"#;
    let pointer = format!(
        "version https://git-lfs.github.com/spec/v1\noid sha256:{CONTENT_HASH}\nsize {}\n",
        CONTENT.len()
    );
    let project = Project::new(&[("ci.yml", file), ("big.bin", &pointer), ("a.key", "key\n")]);
    project.write(".gitattributes", b"*.bin filter=lfs diff=lfs merge=lfs -text\n*.key filter=secret\n");
    project.commit("attributes");
    git(&project.repo(), &["checkout", "-q", "-b", "topic"]);
    project.write("src/main.c", b"x");
    project.commit("code");
    // Another program than git-lfs, too, which the repository requires and this machine lacks.
    let home = project.repo().with_file_name("home");
    fs::create_dir(&home).unwrap();
    let filter = |name: &str, program: &str| {
        format!(
            "[filter \"{name}\"]\n\tclean = {program} clean\n\tsmudge = {program} smudge\n\tprocess = {program} \
             filter-process\n\trequired = true\n"
        )
    };
    let settings = filter("lfs", "no-git-lfs") + &filter("secret", "no-secrets");
    fs::write(home.join(".gitconfig"), settings).unwrap();
    let tidemill = |args: &[&str]| {
        let mut command = project.command(args);
        command.env("HOME", &home).env_remove("XDG_CONFIG_HOME").env_remove("GIT_CONFIG_GLOBAL");
        let ended = command.output().unwrap();
        (
            ended.status.code(),
            format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr)),
        )
    };
    let url = format!("file://{}", project.repo().display());
    let clone = ["run", "-f", "ci.yml", "--repo", &url, "--branch", "topic"];
    for args in [&["run", "-f", "ci.yml"][..], &clone] {
        let (code, said) = tidemill(args);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("`big.bin` is a pointer of Git LFS"), "{said}");
    }
    // The content is on the disk, and files are newer than git's index: git has to read them again.
    project.write("big.bin", CONTENT);
    project.write("a.key", b"key\n");
    let objects = project.repo().join(".git/lfs/objects/4a/5c");
    fs::create_dir_all(&objects).unwrap();
    fs::write(objects.join(CONTENT_HASH), CONTENT).unwrap();
    for args in [&["run", "-f", "ci.yml"][..], &clone[..5]] {
        let (code, said) = tidemill(args);
        assert_eq!(code, Some(0), "{said}");
        assert!(project.log("look").contains("the content of a large file\n"), "{said}");
    }
    let (code, said) = tidemill(&["plan", "-f", "ci.yml"]);
    assert_eq!(code, Some(0), "{said}");
    let left_out = said.split_once("left out").unwrap().1;
    assert!(left_out.contains("docs") && !left_out.contains("code"), "{said}");
    assert!(!said.contains("cannot list"), "{said}");
    // A changed file of LFS is one, and an unchanged one is none.
    let changed = "name: changed\njobs:\n  big: { image: \"IMAGE\", if: 'changed(\"*.bin\")', script: [\"true\"] }\n  \
                   all: { image: \"IMAGE\", script: [\"true\"] }\n";
    project.write("c.yml", changed.replace("IMAGE", &image()).as_bytes());
    let (_, said) = tidemill(&["plan", "-f", "c.yml"]);
    assert!(said.contains("left out"), "{said}");
    project.write("big.bin", &CONTENT.to_ascii_uppercase());
    assert!(!tidemill(&["plan", "-f", "c.yml"]).1.contains("left out"));
    // Where git lists nothing at all, a warning says what that means.
    fs::write(project.repo().join(".git/index"), "no index").unwrap();
    let (_, said) = tidemill(&["plan", "-f", "c.yml"]);
    assert_eq!(said.matches("git cannot list the changed files").count(), 1, "{said}");
}

#[test]
fn case_everyday_10_depth_and_submodules_of_a_gitlab_file_decide_the_checkout() {
    let file = r#"
all: { image: IMAGE, variables: { GIT_DEPTH: "0" }, script: ["test ! -e .git/shallow"] }
one: { image: IMAGE, variables: { GIT_DEPTH: "1" }, script: ["test $(wc -l <.git/shallow) = 1"] }
usual: { image: IMAGE, script: ["test -s .git/shallow && grep hello vendor/lib/hello.txt"] }
none:
  image: IMAGE
  variables: { GIT_SUBMODULE_STRATEGY: none }
  script: ["test ! -e vendor/lib/hello.txt"]
recursive:
  image: IMAGE
  variables: { GIT_SUBMODULE_STRATEGY: recursive }
  script: ["grep hello vendor/lib/hello.txt"]
"#;
    let project = Project::new(&[(".gitlab-ci.yml", file)]);
    add_submodule(&project);
    for number in 1..=60 {
        project.commit(&format!("c{number}"));
    }
    let url = format!("file://{}", project.repo().display());
    let run = project.tidemill(&["run", "--repo", &url, "--branch", "main"]);
    assert_eq!(run.code, 0, "{run:?}");
}

#[test]
fn case_real_08_pipeline_file_is_that_of_the_commit() {
    let file = |job: &str, word: &str| {
        format!(
            "name: versions\njobs:\n  {job}: {{ image: \"{image}\", script: [grep -q {word} version] }}\n  deploy: {{ image: \
             \"{image}\", if: 'tag != \"\"', script: [\"true\"] }}\n",
            image = image()
        )
    };
    let project = Project::new(&[(".pipelines/ci.yml", &file("first", "one")), ("version", "one\n")]);
    git(&project.repo(), &["tag", "v1"]);
    let first = git(&project.repo(), &["rev-parse", "HEAD"]);
    project.write(".pipelines/ci.yml", file("second", "two").as_bytes());
    project.write("version", b"two\n");
    project.commit("second");
    let second = git(&project.repo(), &["rev-parse", "HEAD"]);
    let url = format!("file://{}", project.repo().display());
    let elsewhere = project.repo().parent().unwrap().to_owned();
    for (option, value, job, is_deployed) in [
        ("--commit", first.as_str(), "first", false),
        ("--commit", second.as_str(), "second", false),
        ("--tag", "v1", "first", true),
        ("--branch", "main", "second", false),
    ] {
        let mut command = project.command(&["run", "--repo", &url, option, value]);
        let ended = command.current_dir(&elsewhere).output().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert!(ended.status.success(), "{option} {value}: {said}");
        assert!(said.contains(&format!("{job}: succeeded")), "{option} {value}: {said}");
        let left_out = said.lines().find(|line| line.starts_with("left out: deploy: "));
        assert_eq!(left_out.is_none(), is_deployed, "{option} {value}: {said}");
        // The rule that decided.
        assert!(left_out.is_none_or(|line| line.contains("tag != \"\"")), "{option} {value}: {said}");
    }
}
