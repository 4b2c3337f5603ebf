//! Unusual files, scripts and images of which users of CI systems reported trouble.

use crate::cases::{images::UserImage, project::Project};

/// Returns what a log has after `key=` at the start of a line.
fn value<'a>(log: &'a str, key: &str) -> &'a str {
    let line = log.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {key} in {log}"))
}

#[test]
fn files_with_unusual_names_and_links_pass_from_job_to_job() {
    let file = r#"
name: names
stages: [make, use]
defaults: { image: "IMAGE" }
jobs:
  make:
    stage: make
    script:
      - mkdir -p out/empty 'out/ lead' && cd out
      - touch 'a b' "q'uote" 'dq"' 'back\slash' -- -dash 'col:on' 'é' '[x]' 'tail ' '*' '?' '$HOME' '%41' '#h' '~' ..dots .hidden
      - touch "$(printf 'new\nline')" "$(printf 'bad\377byte')" "$(printf 'tab\tx')" "$(head -c 250 /dev/zero | tr '\0' l)"
      - 'for i in $(seq 1 40); do deep=$deep/deepdirectory; done; mkdir -p ".$deep"; echo deep >".$deep/file"'
      - ln -s 'a b' relative; ln -s /etc/passwd absolute; ln -s nowhere dangling; ln -s .. up; ln -s loop loop
      - mkdir closed; echo x >closed/file; chmod 444 closed/file; chmod 555 closed; chmod 600 'a b'; chmod 755 dq*
      - mkfifo pipe; dd if=/dev/zero of=sparse bs=1 count=1 seek=20M 2>/dev/null; touch -d '2001-02-03 04:05:06' '[x]'
      - &list |
        echo "names=$(find . ! -type p -print0 | sort -z | sha256sum)"
        echo "links=$(find . -type l -exec readlink {} \; | sort | sha256sum)"
        echo "modes=$(find . -type f -exec stat -c %a {} \; | sort | sha256sum)"
    artifacts: { paths: [out/] }
  use:
    stage: use
    script:
      - cd out
      - *list
      - echo "deep=$(find . -name file -path '*deepdirectory*' -exec cat {} \;)"
      - echo "time=$(stat -c %Y '[x]')" && echo "size=$(stat -c %s sparse)" && echo "link=$(readlink absolute)"
      - rm -rf ./* && echo "removed=yes"
"#;
    let project = Project::new(&[("ci.yml", file)]);
    project.run("ci.yml", 0);
    let (made, used) = (project.log("make"), project.log("use"));
    for key in ["names", "links", "modes"] {
        assert_eq!(value(&made, key), value(&used, key), "{key}\n{made}\n{used}");
    }
    assert_eq!((value(&used, "deep"), value(&used, "size")), ("deep", "20971521"));
    assert_eq!((value(&used, "time"), value(&used, "link")), ("981173106", "/etc/passwd"));
    assert_eq!(value(&used, "removed"), "yes");
    let got = project.repo().join("../got");
    let artifacts = project.tidemill(&["artifacts", "-o", &got.to_string_lossy()]);
    assert_eq!(artifacts.code, 0, "{artifacts:?}");
}

#[test]
fn line_ends_of_windows_in_a_pipeline_file_do_not_reach_the_shell() {
    let native = "name: crlf\r\ndefaults: { image: \"IMAGE\" }\r\njobs:\r\n  block:\r\n    script: |\r\n      if true; then\r\n        \
                  echo inside | cat -A\r\n      fi\r\n      cat <<END | cat -A\r\n      here\r\n      END\r\n  items:\r\n    \
                  variables: { V: v }\r\n    script:\r\n      - echo \"$V\" | cat -A\r\n      - >\r\n        echo\r\n        folded | \
                  cat -A\r\n";
    let gitlab = "block:\r\n  image: IMAGE\r\n  script:\r\n    - |\r\n      if true; then\r\n        echo inside | cat -A\r\n      \
                  fi\r\n";
    let project = Project::new(&[("ci.yml", native), (".gitlab-ci.yml", gitlab)]);
    project.run("ci.yml", 0);
    let (block, items) = (project.log("block"), project.log("items"));
    assert!(block.contains("\ninside$\n") && block.contains("\nhere$\n"), "{block}");
    assert!(items.contains("\nv$\n") && items.contains("\nfolded$\n"), "{items}");
    project.run(".gitlab-ci.yml", 0);
    let log = project.log("block");
    assert!(log.contains("\ninside$\n") && !log.contains("^M"), "{log}");
}

#[test]
fn processes_in_the_background_do_not_hold_a_job() {
    let file = r#"
name: background
defaults: { image: "IMAGE" }
jobs:
  left:
    timeout: 60s
    script:
      - sleep 1000 &
      - nohup sleep 1000 >/dev/null 2>&1 &
      - setsid sleep 1000 &
      - (trap '' TERM HUP; sleep 1000) &
      - trap 'echo "left with $?"' EXIT
      - echo done
  reads:
    script: ['cat >input; echo "bytes=$(wc -c <input)"', 'read x || echo "end=yes"']
"#;
    let project = Project::new(&[("ci.yml", file)]);
    let started = std::time::Instant::now();
    project.run("ci.yml", 0);
    assert!(started.elapsed().as_secs() < 50, "{:?}", started.elapsed());
    let log = project.log("left");
    assert!(log.contains("\ndone\nleft with 0\n"), "{log}");
    let log = project.log("reads");
    assert_eq!((value(&log, "bytes"), value(&log, "end")), ("0", "yes"), "{log}");
}

#[test]
fn script_that_ends_itself_or_removes_its_directory_has_the_result_of_the_shell() {
    let file = r#"
name: ends
defaults: { image: "IMAGE" }
jobs:
  killed: { allow_failure: { exit_codes: [137] }, script: ['kill -9 $$', echo never] }
  terminated: { allow_failure: { exit_codes: [143] }, script: ['kill -TERM $$', echo never] }
  hidden: { allow_failure: { exit_codes: [7] }, script: ['exec >out.txt 2>&1', 'echo never', exit 7] }
  removed:
    script: ['rm -rf ./* ./.[!.]*', 'mkdir d && cd d && rmdir ../d', 'echo x >/workspace/kept', 'exit']
    artifacts: { paths: [kept] }
  trapped:
    allow_failure: { exit_codes: [3] }
    script: ["trap 'echo \"trap=$?\"; exit 3' EXIT", "false"]
    after_script: ['echo "after=$CI_JOB_STATUS"']
"#;
    let project = Project::new(&[("ci.yml", file)]);
    project.run("ci.yml", 0);
    for job in ["killed", "terminated", "hidden"] {
        let log = project.log(job);
        assert!(!log.lines().any(|line| line == "never"), "{log}");
    }
    let log = project.log("trapped");
    assert_eq!((value(&log, "trap"), value(&log, "after")), ("1", "failed"), "{log}");
}

#[test]
fn image_with_an_odd_entry_point_user_directory_and_environment_runs_a_job() {
    let wrapper = UserImage::new(
        "RUN printf '#!/bin/sh\\necho entry point\\nexec \"$@\"\\n' >/ep && chmod +x /ep\nENTRYPOINT [\"/ep\"]\nCMD [\"foo\"]",
    );
    let numeric = UserImage::new("WORKDIR /nowhere/x\nENV HOME=/root\nUSER 12345");
    let unknown = UserImage::new("USER ghost");
    let odd = UserImage::new(
        "ENV PS4=boo ENV=/etc/none BASH_ENV=/etc/none CDPATH=/tmp TMPDIR=/none POSIXLY_CORRECT=1 LC_ALL=C.UTF-8\n\
         VOLUME [\"/workspace\", \"/workspace/build\", \"/tmp\"]\nSTOPSIGNAL SIGKILL\nHEALTHCHECK --interval=1s CMD false\n\
         SHELL [\"/bin/none\"]",
    );
    let file = r#"
name: odd
stages: [first, second]
jobs:
  wrapper: { stage: first, image: WRAPPER, script: ['echo "ran=yes"'] }
  numeric: { stage: first, image: NUMERIC, script: ['echo "user=$(id -u)" && touch "$HOME/x" && echo x >y', 'echo "pwd=$PWD"'] }
  unknown: { stage: first, image: UNKNOWN, allow_failure: true, script: ['echo "ran=yes"'] }
  odd:
    stage: first
    image: ODD
    script:
      - mkdir -p s build && echo x >build/out && cd s
      - 'echo "pwd=$PWD"; echo "tmp=$TMPDIR"; printf "text=é\n"'
    artifacts: { paths: [build/] }
  next: { stage: second, image: ODD, script: ['echo "out=$(cat build/out)"'] }
"#;
    let file = file.replace("WRAPPER", &wrapper.0).replace("NUMERIC", &numeric.0);
    let file = file.replace("UNKNOWN", &unknown.0).replace("ODD", &odd.0);
    let project = Project::new(&[("ci.yml", &file)]);
    let run = project.run("ci.yml", 0);
    assert!(run.stderr.contains("no user `ghost`") || run.stdout.contains("no user `ghost`"), "{run:?}");
    assert_eq!(value(&project.log("wrapper"), "ran"), "yes");
    let log = project.log("numeric");
    assert_eq!((value(&log, "user"), value(&log, "pwd")), ("12345", "/workspace"), "{log}");
    let log = project.log("odd");
    assert_eq!(value(&log, "pwd"), "/workspace/s", "{log}");
    assert_eq!((value(&log, "tmp"), value(&log, "text")), ("/none", "é"), "{log}");
    assert_eq!(value(&project.log("next"), "out"), "x");
}
