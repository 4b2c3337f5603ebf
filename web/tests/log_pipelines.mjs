// Pipelines of the tests of logs. They run in the demo's image, a static busybox.

const image = process.env.TIDEMILL_TEST_IMAGE ?? "tidemill-demo:1";

/** A pipeline with one job, `job`, whose further keys are `more`. */
const pipeline = (name, script, more = "") => `name: ${name}
defaults: { image: "${image}" }
jobs:
  job:
    script:
${script.map((item) => `      - |\n${item.replace(/^/gm, "        ")}`).join("\n")}
${more}`;

/** A command that fails after some that succeed. */
export const failing = () =>
  pipeline(
    "failing",
    [
      'for i in $(seq 60); do echo "prepared $i"; done',
      `for i in $(seq 100); do echo "test $i ok"; [ $i = 60 ] && printf '\\033[31merror\\033[0m: gate closes at low water\\n'; done; exit 7`,
    ],
    "    after_script: [echo cleaned up]\n",
  );

/** What terminals understand, and what must not become markup. */
export const terminal = () =>
  pipeline("terminal", [
    `printf '\\033[1;32mgreen\\033[0m \\033[38;5;208mpalette\\033[0m \\033[38;2;10;20;30mtrue\\033[0m\\n'`,
    `printf '10 %%\\r100 %%\\nabc\\b\\bX\\ncharset\\033(B done\\n'`,
    `printf '\\033]8;;https://example.org/report\\033\\\\the report\\033]8;;\\033\\\\\\n'`,
    `printf '\\033]8;;javascript:alert(1)\\033\\\\no link\\033]8;;\\033\\\\\\n'`,
    `echo '<img src=x onerror=alert(1)><b>bold</b>'`,
    `printf '\\033[0Ksection_start:1700000000:install[collapsed=true]\\r\\033[0KInstall packages\\n'
for i in 1 2 3; do echo "package $i"; done
printf '\\033[0Ksection_end:1700000012:install\\r\\033[0K\\n'`,
  ]);

/** Prints a line each tenth of a second. */
export const ticking = (seconds) =>
  pipeline("ticking", [
    `i=0; while [ $i -lt ${seconds * 10} ]; do i=$((i+1)); echo "tick $i"; sleep 0.1; done`,
  ]);

/** A job whose first attempt takes a while and fails, and whose second one runs for a while. */
export const twice = () =>
  pipeline("twice", ['for i in $(seq 40); do echo "row $i"; sleep 0.1; done; exit 1'], "    retry: 1\n");

/** A log of so many lines. */
export const long = (lines) =>
  pipeline("long", [
    `awk 'BEGIN { for (i = 1; i <= ${lines}; i++) printf "%d the mill turns while the tide comes in\\n", i }'`,
  ]);

/** A job that fails beside a service, whose log is then copied. */
export const withService = () =>
  pipeline(
    "with-service",
    ["echo before", "exit 3"],
    `    services: [{ name: "${image}", alias: db, command: ["sh", "-c", "echo database is ready; sleep 60"] }]\n`,
  );
