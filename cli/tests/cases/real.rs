//! Cases of the group `real`.

use crate::cases::project::Project;

#[test]
fn case_real_15_shell_errors_name_the_line_of_the_script() {
    let file = r#"
name: lines
jobs:
  unknown-command: { image: "IMAGE", script: [echo one, no-such-command] }
  unfinished:
    image: "IMAGE"
    script:
      - echo one
      - |
        echo two
        if true; then
        echo three
"#;
    let project = Project::new(&[("ci.yml", file)]);
    project.run("ci.yml", 1);
    let log = project.log("unknown-command");
    assert!(log.contains("script: line 2: no-such-command: not found"), "{log}");
    let log = project.log("unfinished");
    assert!(log.contains("script: line 5: syntax error"), "{log}");
}

#[test]
fn case_real_15_variables_name_paths_in_the_sources() {
    let file = r#"
name: paths
variables: { PIP_CACHE_DIR: "${CI_PROJECT_DIR}/.cache/pip" }
jobs:
  job:
    image: "IMAGE"
    variables: { TOOLS: "${CI_PROJECT_DIR}/tools:${HOME}/bin" }
    script:
      - test "$PIP_CACHE_DIR" = "$PWD/.cache/pip"
      - test "$TOOLS" = "$PWD/tools:\${HOME}/bin"
"#;
    let project = Project::new(&[("ci.yml", file)]);
    project.run("ci.yml", 0);
}
