// Pipelines of the browser tests and of the screenshots. They run in the demo's image, a static busybox.

const header = (name) => `name: ${name}
defaults: { image: "${process.env.TIDEMILL_TEST_IMAGE ?? "tidemill-demo:1"}" }
`;

/** A pipeline with one of everything; `broken` makes its tests fail. */
export const delivery = (broken) => `${header("delivery")}
stages: [prepare, build, test, package, deploy]
variables: { CHANNEL: stable }
jobs:
  sources:
    stage: prepare
    script: [echo "resolve versions", "mkdir -p out && echo 1.4.2 > out/version", sleep 0.4]
    artifacts: { paths: [out/version], expire_in: 1 day }
  lint:
    stage: prepare
    script: [echo "no errors found"]
  compile:
    stage: build
    needs: [sources]
    matrix: { target: [linux-x64, linux-arm64, darwin-arm64, windows-x64] }
    script:
      - printf '\\033[1;32m   Compiling\\033[0m mill for %s\\n' "$target"
      - sleep 0.$(( CI_NODE_INDEX * 2 ))
      - mkdir -p out && echo "$target" > out/mill-$target
    artifacts: { paths: [out/], expire_in: 1 day }
  assets:
    stage: build
    needs: [lint]
    script: [sleep 0.3, echo "12 files"]
  unit:
    stage: test
    needs: [compile]
    script:
      - echo "running 48 tests"
      - |
        cat > report.xml <<'XML'
        <testsuite name="mill" tests="4"><testcase classname="gate" name="opens at high water" time="0.2"/>
        <testcase classname="gate" name="closes at low water" time="0.1">${
          broken
            ? '<failure message="expected closed, found open">assertion failed: gate.is_closed()\\n  left: Open\\n right: Closed</failure>'
            : ""
        }</testcase>
        <testcase classname="wheel" name="turns both ways" time="1.4"/><testcase classname="wheel" name="stops" time="0.3"/></testsuite>
        XML
      - '${broken ? `printf "\\033[31merror\\033[0m: gate closes at low water\\n"; exit 1` : `echo "coverage 87.5 %"`}'
    coverage: 'coverage (\\d+\\.\\d+) %'
    artifacts: { reports: { junit: report.xml } }
  browser:
    stage: test
    needs: [compile, assets]
    allow_failure: true
    script: [echo "3 of 40 pages differ", sleep 0.5, exit 3]
  licenses:
    stage: test
    needs: [sources]
    script: [echo "214 dependencies checked"]
  package:
    stage: package
    script: ["mkdir -p out && date > out/mill.tar", sleep 0.4]
    artifacts: { paths: [out/mill.tar], name: mill, expire_in: 1 day }
  staging:
    stage: deploy
    needs: [package]
    environment: { name: staging, url: "https://staging.example.org" }
    script: [echo deployed]
  production:
    stage: deploy
    needs: [staging]
    when: manual
    environment: { name: production, url: "https://example.org" }
    script: [echo deployed]
`;

/** A short pipeline. */
export const checks = (name, seconds = 0.2, code = 0) => `${header(name)}
jobs:
  format: { script: [echo formatted] }
  unit: { script: [echo "unit tests", sleep ${seconds}, exit ${code}] }
`;

/** A job that fails first and succeeds when it is tried again, and one that fails each time. */
export const retried = () => `${header("retried")}
jobs:
  always-fails: { script: [echo "this attempt fails", exit 1], retry: 1 }
  other: { script: [echo fine] }
`;

/** A job that runs until it is canceled. */
export const endless = () => `${header("endless")}
jobs:
  watch: { script: ["i=0; while [ $i -lt 600 ]; do echo line $i; i=$((i+1)); sleep 0.5; done"] }
  after: { needs: [watch], script: [echo after] }
`;

/** A job that waits for another one. */
export const delayed = () => `${header("delayed")}
jobs:
  first: { script: [sleep 3] }
  second: { needs: [first], script: [echo "printed by the second job"] }
`;

/** A job that waits for an approval. */
export const waiting = () => `${header("waiting")}
jobs:
  release: { script: [echo released], when: manual }
`;

/** A job that nobody needs to approve for the execution to end. */
export const optional = () => `${header("optional")}
jobs:
  check: { script: [echo checked] }
  publish: { script: [echo published], when: manual, allow_failure: true }
`;

/** A job of an environment that tests protect. */
export const guarded = (environment) => `${header("guarded")}
jobs:
  open: { script: [echo opened], environment: ${environment} }
`;

/** A pipeline with an input of each type. */
export const withInputs = () => `${header("inputs")}on:
  manual:
    inputs:
      level: { type: number, default: 3, description: "How high the water is" }
      kind: { type: choice, options: [neap, spring] }
      dry: { type: boolean, default: false }
jobs:
  show: { script: ["echo $level $kind $dry"] }
`;

/** Two jobs that fail, with one between them that succeeds. */
export const twoFailures = () => `${header("two-failures")}
jobs:
  first: { script: [exit 3] }
  between: { script: [echo fine] }
  last: { script: [exit 4] }
`;

/** A job with a flaky test and a coverage. */
export const measured = () => `${header("measured")}
jobs:
  unit:
    script:
      - |
        cat > report.xml <<'XML'
        <testsuite name="mill" tests="2"><testcase classname="gate" name="opens slowly" time="0.2">
        <flakyFailure message="timed out">waited for the tide</flakyFailure></testcase>
        <testcase classname="gate" name="closes" time="0.1"/></testsuite>
        XML
      - echo "coverage 87.5 %"
    coverage: 'coverage (\\d+\\.\\d+) %'
    artifacts: { reports: { junit: report.xml } }
`;

/** A job with a test that fails, or passes. */
export const failing = (fails) => `${header("failing")}
jobs:
  unit:
    script:
      - |
        cat > report.xml <<'XML'
        <testsuite name="mill" tests="1"><testcase classname="gate" name="closes" time="0.1">
        ${fails ? '<failure message="stuck"/>' : ""}</testcase></testsuite>
        XML
      - exit ${fails ? 1 : 0}
    artifacts: { reports: { junit: report.xml } }
`;

/**
 * A job of at least a second, and one with tests: the report calls one of them flaky. With `fails`, the first job fails; with
 * `shaky`, another test fails, and passes when the job is tried again.
 */
export const statistics = ({ fails = false, shaky = false } = {}) => `${header("statistics")}
jobs:
  format: { script: [echo formatted] }
  gate: { needs: [format], script: [sleep 1, exit ${fails ? 1 : 0}] }
  unit:
    retry: 1
    script:
      - code=0; result=""
      - if [ "$TIDEMILL_ATTEMPT" = 1 ] && ${shaky}; then code=1; result='<failure message="stuck"/>'; fi
      - |
        cat > report.xml <<XML
        <testsuite name="mill" tests="2"><testcase classname="gate" name="opens slowly" time="0.2">
        <flakyFailure message="timed out">waited for the tide</flakyFailure></testcase>
        <testcase classname="gate" name="closes" time="0.1">$result</testcase></testsuite>
        XML
      - exit $code
    artifacts: { reports: { junit: report.xml } }
`;

/** A job with a summary in Markdown and annotations, and one without. */
export const annotated = () => `${header("annotated")}
jobs:
  lint:
    script:
      - printf '# Water gauge\\n\\n| gate | state |\\n|---|---|\\n| east | **open** |\\n\\n<script>document.title = "changed"</script>\\n' >> "$TIDEMILL_SUMMARY"
      - echo "::warning file=src/gauge.rs,line=3::the gauge is old"
      - echo "::error file=src/gate.rs,line=7,title=Stuck::the gate does not open"
  quiet: { script: [echo quiet] }
`;

/** A job with a text, an image and an HTML report, whose script tries to reach the page around it. */
export const reported = () => `${header("reported")}
jobs:
  report:
    script:
      - mkdir -p out/html && echo "12 of 14 lines" > out/coverage.txt && echo no > out/unknown.bin
      - printf '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="10"><rect width="20" height="10"/></svg>' > out/gauge.svg
      - printf 'document.getElementById("by-script").textContent = "written by a script";try { parent.document.title = "changed" } catch { document.getElementById("parent").textContent = "kept out" }' > out/html/report.js
      - printf '<!doctype html><h1>Coverage of the gate</h1><p id="by-script"></p><p id="parent"></p><script src="report.js"></script>' > out/html/index.html
    artifacts: { paths: [out/], name: reports, expire_in: 1 day }
  other:
    script: ["mkdir -p out && echo 1 > out/other.txt"]
    artifacts: { paths: [out/], name: others, expire_in: 1 day }
`;

/** A job that its rules leave out beside one that runs. */
export const withRules = () => `${header("rules")}variables: { CHANNEL: stable }
jobs:
  always: { script: [echo "$CHANNEL"] }
  release: { script: [echo released], rules: [{ if: 'branch == "release"' }] }
`;

/** More than 200 jobs. What a request may store follows its size, therefore the comment. */
export const wide = () => `${header("wide")}# ${"-".repeat(8000)}

stages: [build, test, report]
jobs:
  build: { stage: build, matrix: { part: [${range(100)}] }, script: [echo "$part"], runs_on: { never: "true" } }
  test: { stage: test, matrix: { part: [${range(100)}] }, script: [echo "$part"] }
  other: { stage: test, matrix: { shard: [${range(12)}] }, script: [echo "$shard"], when: manual }
  report: { stage: report, script: [echo report] }
`;

function range(count) {
  return Array.from({ length: count }, (_, at) => at + 1).join(", ");
}
