//! The shells of images, and the variables that scripts get there.

use super::{
    harness::{Bench, docker, kind},
    images::{Image, declared, sources, stored, succeeds},
};
use std::process::Command;
use tidemill_core::execution::{
    assignment::{Artifacts, ArtifactsWhen},
    failure::FailureKind,
};

#[tokio::test(flavor = "multi_thread")]
async fn shell_is_found_where_the_path_does_not_lead_to_it() {
    let mut bench = Bench::start().await;
    for dockerfile in [
        "FROM test\nENV PATH=/opt/tools",
        "FROM test\nENV PATH=",
        "FROM scratch\nCOPY --from=test /bin/busybox /busybox/sh",
        "FROM scratch\nCOPY --from=test /bin/busybox /usr/bin/sh\nENV PATH=/nowhere\nUSER 1000",
    ] {
        let image = Image::build(dockerfile);
        let log = succeeds(&mut bench, image.job(&["X=1", "echo at:$PWD:$X:"]), dockerfile).await;
        assert!(log.contains("\nat:/workspace:1:\n"), "{dockerfile}: {log}");
    }
    let nothing = Image::build("FROM scratch\nCOPY --from=test /bin/busybox /tool");
    let (end, log) = bench.run(nothing.job(&["true"])).await;
    assert_eq!(kind(&end), Some(FailureKind::ImageUnavailable), "{log}");
    assert!(log.contains("has no shell") && log.contains("/usr/bin"), "{log}");
    bench.stop().await;
}

/// Builds an image that has these programs with their libraries, taken from this machine, and nothing else.
fn image_of(programs: &[&str], lines: &str) -> Image {
    let context = tempfile::tempdir().unwrap();
    let root = context.path().join("root");
    let libraries = Command::new("ldd").args(programs).output().unwrap();
    let libraries = String::from_utf8(libraries.stdout).unwrap();
    let files = libraries.split_ascii_whitespace().filter(|word| word.starts_with('/'));
    // With several programs, each of them is listed with a colon.
    let files = files.filter(|word| !word.ends_with(':'));
    for file in files.chain(programs.iter().copied()) {
        let target = root.join(&file[1..]);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(file, target).unwrap();
    }
    std::fs::write(context.path().join("Dockerfile"), format!("FROM scratch\nCOPY root/ /\n{lines}\n"))
        .unwrap();
    let name = format!("tidemill-test-{}:1", uuid::Uuid::now_v7().simple());
    docker(&["build", "--quiet", "--tag", &name, context.path().to_str().unwrap()]);
    Image(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn script_may_trap_interrupts_where_the_image_has_an_env_that_resets_them() {
    let mut bench = Bench::start().await;
    let image = image_of(&["/bin/bash", "/usr/bin/env"], "");
    let mut assignment = image.job(&["trap 'echo interrupted' INT QUIT", "kill -INT $$", "kill -QUIT $$"]);
    assignment.extras.after_script = vec!["trap 'echo stopped' INT; kill -INT $$".into()];
    let log = succeeds(&mut bench, assignment, "traps").await;
    assert_eq!(log.matches("\ninterrupted\n").count(), 2, "{log}");
    assert!(log.contains("\nstopped\n"), "{log}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn image_with_bash_and_no_other_program_runs_scripts() {
    let mut bench = Bench::start().await;
    let (_repository, source) = sources(&bench.data.path().join("cache"));
    for lines in ["", "USER 1000", "ENV PATH=/nowhere HOME=/nowhere"] {
        let image = image_of(&["/bin/bash"], lines);
        let mut assignment = image.job(&[
            "read -r line <data/a.txt; words=(of bash $line)",
            "echo \"${words[*]}\" >out",
            "cd \"$HOME\"; echo x >file; [[ -s file ]]",
            "false | true",
        ]);
        assignment.extras.after_script = vec!["echo \"after: $CI_JOB_STATUS\"".into()];
        assignment.preparation.source = source.clone();
        assignment.artifacts = Some(Artifacts { when: ArtifactsWhen::Always, ..declared(&["out"]) });
        let (end, log) = bench.run(assignment).await;
        // The pipe's first command fails.
        assert_eq!((kind(&end), end.exit_code), (Some(FailureKind::ScriptFailed), Some(1)), "{lines}: {log}");
        assert!(log.contains("\n$ false | true\n") && log.ends_with("\nafter: failed\n"), "{lines}: {log}");
        assert!(stored(&bench).size > 0, "{lines}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_of_an_image_reach_the_script_whatever_their_names() {
    let mut bench = Bench::start().await;
    let names: Vec<char> = ('A'..='Z').chain('a'..='z').collect();
    let declared: Vec<String> = names.iter().map(|name| format!("{name}=own-{name}")).collect();
    let image = Image::build(&format!("FROM test\nENV {}", declared.join(" ")));
    let expected = names.iter().map(|name| format!("own-{name}")).collect::<Vec<_>>().join(" ");
    let shown = names.iter().map(|name| format!("${name}")).collect::<Vec<_>>().join(" ");
    let mut assignment = image.job(&[&format!("echo \"{shown}\" >seen"), "if true; then", "cat seen; fi"]);
    assignment.extras.after_script = vec![format!("echo \"after: {shown}\"")];
    let log = succeeds(&mut bench, assignment, "one letter each").await;
    assert!(
        log.contains(&format!("\n{expected}\n")) && log.contains(&format!("\nafter: {expected}\n")),
        "{log}"
    );
    bench.stop().await;
}
