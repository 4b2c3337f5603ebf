//! Which values the keys of a job have in its execution.

use tidemill_core::plan::{Plan, PlannedJob};

/// Returns a property of the job `job`, or that of another job after a `/`, as text.
pub(crate) fn value(plan: &Plan, what: &str) -> String {
    let (what, name) = what.split_once('/').unwrap_or((what, "job"));
    if what == "names" {
        return list(plan.jobs.iter().map(|job| job.name.as_str()));
    }
    if what == "stages" {
        return list(plan.stages.iter());
    }
    let Some(ix) = plan.jobs.iter().position(|job| job.name == name) else { return "no job".to_owned() };
    let job = &plan.jobs[ix];
    if what == "sources" {
        let sources = plan.artifact_sources(u32::try_from(ix).unwrap());
        return list(sources.into_iter().map(|ix| plan.jobs[ix as usize].name.clone()));
    }
    property(job, what)
}

fn list(items: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    items.into_iter().map(|item| item.as_ref().to_owned()).collect::<Vec<_>>().join(" | ")
}

fn property(job: &PlannedJob, what: &str) -> String {
    if let Some(name) = what.strip_prefix('$') {
        return job.variables.get(name).cloned().unwrap_or_else(|| "not set".to_owned());
    }
    let around = &job.surroundings;
    let cache = around.caches.first().cloned();
    let artifacts = job.artifacts.clone().unwrap_or_default();
    let service = around.services.first();
    match what {
        "stage" => job.stage.clone(),
        "image" => job.image.clone(),
        "entrypoint" => list(job.image_options.entrypoint.clone().unwrap_or_default()),
        "user" => job.image_options.user.clone().unwrap_or_default(),
        "script" => list(&job.script),
        "after_script" => list(&around.after_script),
        "needs" => list(&job.needs),
        "waits" => (if job.after_stages.is_some() { "stages" } else { "needs" }).to_owned(),
        "timeout" => job.timeout_s.to_string(),
        "retry" => job.retry.to_string(),
        "retry codes" => format!("{:?}", job.retry_for.exit_codes),
        "allow" => job.allow_failure.to_string(),
        "allow codes" => format!("{:?}", job.allow_exit_codes),
        "labels" => list(job.runs_on.iter().map(|(name, value)| format!("{name}={value}"))),
        "caches" => around.caches.len().to_string(),
        "cache paths" => cache.map(|cache| list(cache.paths)).unwrap_or_default(),
        "cache key" => cache.map(|cache| cache.key).unwrap_or_default(),
        "cache files" => cache.map(|cache| list(cache.key_files)).unwrap_or_default(),
        "cache fallback" => cache.map(|cache| list(cache.fallback_keys)).unwrap_or_default(),
        "cache policy" => cache.map(|cache| format!("{:?}", cache.policy)).unwrap_or_default(),
        "cache when" => cache.map(|cache| format!("{:?}", cache.when)).unwrap_or_default(),
        "artifacts" => list(artifacts.paths),
        "artifacts exclude" => list(artifacts.exclude),
        "artifacts name" => artifacts.name.unwrap_or_default(),
        "artifacts expose" => artifacts.expose_as.unwrap_or_default(),
        "artifacts when" => format!("{:?}", artifacts.when),
        "artifacts expire" => artifacts.expire_in_s.map(|seconds| seconds.to_string()).unwrap_or_default(),
        "artifacts untracked" => artifacts.untracked.to_string(),
        "junit" => list(artifacts.reports.junit),
        "coverage report" => list(artifacts.reports.coverage),
        "id tokens" => {
            list(around.id_tokens.iter().map(|token| format!("{}={}", token.variable, token.aud.join(","))))
        }
        "outputs" => list(&around.outputs),
        "coverage" => around.coverage.clone().unwrap_or_default(),
        "environment" => around.environment.as_ref().map(|to| to.name.clone()).unwrap_or_default(),
        "auto stop" => {
            let seconds = around.environment.as_ref().and_then(|to| to.auto_stop_in_s);
            seconds.map_or_else(|| "never".to_owned(), |seconds| seconds.to_string())
        }
        "url" => around.environment.as_ref().and_then(|to| to.url.clone()).unwrap_or_default(),
        "services" => list(around.services.iter().map(|service| &service.image)),
        "alias" => service.map(|service| list(&service.alias)).unwrap_or_default(),
        "command" => service.and_then(|service| service.command.clone()).map(list).unwrap_or_default(),
        "depth" => around.checkout.depth.map(|depth| depth.to_string()).unwrap_or_default(),
        "checkout" => format!("{:?}", around.checkout.content),
        "submodules" => format!("{:?}", around.checkout.submodules),
        _ => panic!("unknown property {what}"),
    }
}

/// A job whose variants each need the variant of another job with the same value.
const EACH_VARIANT: &str = "parallel: {matrix: [{OS: [deb, rpm]}]}\nneeds: [{job: second, parallel: {matrix: [{OS: ['$[[ matrix.OS ]]']}]}}]";
const EACH_VARIANT_WITHOUT_ARTIFACTS: &str = "parallel: {matrix: [{OS: [deb, rpm]}]}\nrules: [{if: $CI_COMMIT_BRANCH}]\nneeds: [first, {job: second, artifacts: false, parallel: {matrix: [{OS: '$[[matrix.OS]]'}]}}]";

/// GitLab's example of `cache: policy` with a variable.
const CACHE_OF_RULES: &str = "rules: [{if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH, variables: {POLICY: pull-push}}, {if: $CI_COMMIT_BRANCH != $CI_DEFAULT_BRANCH, variables: {POLICY: pull}}]\ncache: {key: gems, paths: [x], policy: $POLICY}";
const CACHE_OF_OTHER_RULES: &str = "rules: [{if: $CI_COMMIT_TAG, variables: {POLICY: pull-push}}, {if: $CI_COMMIT_BRANCH, variables: {POLICY: pull}}]\ncache: {key: gems, paths: [x], policy: $POLICY}";
const STOP_OF_RULES: &str = "rules: [{if: $CI_COMMIT_BRANCH, variables: {TTL: 2 days}}]\nenvironment: {name: review, auto_stop_in: $TTL}";

/// Keys of a job, a property, and its value for a push to `main`.
pub(crate) const KEYS: &[(&str, &str, &str)] = &[
    // Variables that nobody sets are empty.
    ("rules: [{if: $CI, variables: {BASE: $CI_MERGE_REQUEST_DIFF_BASE_SHA}}]", "$BASE", ""),
    ("rules: [{if: $CI, variables: {BASE: 'a-$NOBODY-$FIXED'}}]", "$BASE", "a--x"),
    ("cache: {key: 'k-$NOBODY', paths: [x]}", "cache key", "k-"),
    ("cache: {key: $NOBODY, paths: [x]}", "cache key", "default"),
    ("environment: 'review-$NOBODY'", "environment", "review-"),
    ("tags: ['linux$NOBODY']", "labels", "linux=true"),
    ("resource_group: $NOBODY", "stage", "test"),
    // Stages, needs and artifacts of other jobs.
    ("", "stage", "test"),
    ("", "waits", "stages"),
    ("", "sources", "first | second: [deb] | second: [rpm]"),
    ("stage: build", "sources", ""),
    ("stage: deploy", "sources", "first | second: [deb] | second: [rpm]"),
    ("stage: .pre", "stage", ".pre"),
    ("stage: .post", "stage", ".post"),
    ("needs: []", "waits", "needs"),
    ("needs: []", "needs", ""),
    ("needs: []", "sources", ""),
    ("needs: [first]", "needs", "first"),
    ("needs: [first]", "sources", "first"),
    ("needs: [second]", "needs", "second: [deb] | second: [rpm]"),
    ("needs: ['second: [deb]']", "needs", "second: [deb]"),
    ("needs: [{job: second, parallel: {matrix: [{OS: rpm}]}}]", "needs", "second: [rpm]"),
    ("needs: [{job: first, artifacts: false}]", "needs", "first"),
    ("needs: [{job: first, artifacts: false}]", "sources", ""),
    ("needs: [{job: first, artifacts: false}, second]", "sources", "second: [deb] | second: [rpm]"),
    ("needs: [{job: first, optional: true}]", "needs", "first"),
    ("needs: [{job: nobody, optional: true}]", "needs", ""),
    ("needs: [first, second]\ndependencies: [first]", "sources", "first"),
    ("needs: [first]\ndependencies: []", "sources", ""),
    (EACH_VARIANT, "names", "first | second: [deb] | second: [rpm] | job: [deb] | job: [rpm]"),
    (EACH_VARIANT, "needs/job: [deb]", "second: [deb]"),
    (EACH_VARIANT, "needs/job: [rpm]", "second: [rpm]"),
    (EACH_VARIANT, "sources/job: [rpm]", "second: [rpm]"),
    (EACH_VARIANT_WITHOUT_ARTIFACTS, "needs/job: [rpm]", "first | second: [rpm]"),
    (EACH_VARIANT_WITHOUT_ARTIFACTS, "sources/job: [rpm]", "first"),
    ("needs: [{job: second, optional: true, parallel: {matrix: [{OS: arch}]}}]", "needs", ""),
    (
        "needs: [{job: second, optional: true, parallel: {matrix: [{OS: [arch, rpm]}]}}]",
        "needs",
        "second: [rpm]",
    ),
    ("script: ['']", "script", ":"),
    ("timeout: one hour", "timeout", "3600"),
    ("environment: {name: a, url: $NOBODY}", "url", ""),
    (
        "environment: {name: a, url: 'https://$CI_COMMIT_REF_SLUG.example.org'}",
        "url",
        "https://main.example.org",
    ),
    // Variables of rules in keys that take one of a few values.
    (CACHE_OF_RULES, "cache policy", "PullPush"),
    (CACHE_OF_OTHER_RULES, "cache policy", "Pull"),
    (STOP_OF_RULES, "auto stop", "172800"),
    ("environment: {name: a, auto_stop_in: $NOBODY}", "auto stop", "never"),
    ("environment: {name: a, auto_stop_in: 1 week and 2 days}", "auto stop", "777600"),
    ("rules: [{needs: [first]}]", "needs", "first"),
    ("rules: [{if: $CI_COMMIT_BRANCH, needs: ['second: [deb]']}]", "needs", "second: [deb]"),
    ("rules: [{if: $CI_COMMIT_TAG, needs: [first]}, {when: always}]", "waits", "stages"),
    ("rules: [{if: $CI_COMMIT_TAG, needs: [first]}, {needs: []}]", "waits", "needs"),
    ("needs: [first]\nrules: [{when: always}]", "needs", "first"),
    ("needs: [first]\nrules: [{needs: [second]}]", "needs", "second: [deb] | second: [rpm]"),
    ("needs: [first]\nrules: [{needs: []}]", "needs", ""),
    ("needs: [first]\nrules: [{needs: [second]}]", "sources", "second: [deb] | second: [rpm]"),
    ("needs: [{job: first, artifacts: false}]\nrules: [{needs: [first]}]", "sources", "first"),
    ("rules: [{needs: [{job: first, artifacts: false}]}]", "sources", ""),
    (
        "rules: [{needs: [{job: first, artifacts: false}, second]}]",
        "sources",
        "second: [deb] | second: [rpm]",
    ),
    ("rules: [{needs: [{job: nobody, optional: true}]}]", "needs", ""),
    ("needs: [first, second]\ndependencies: [first]\nrules: [{needs: [first]}]", "sources", "first"),
    ("dependencies: [first]\nrules: [{needs: [second]}]", "sources", ""),
    ("dependencies: []", "sources", ""),
    ("dependencies: [first]", "sources", "first"),
    ("dependencies: [second]", "sources", "second: [deb] | second: [rpm]"),
    ("dependencies: ['second: [rpm]']", "sources", "second: [rpm]"),
    ("stage: build\ndependencies: [first]", "sources", ""),
    ("stage: build\nneeds: [first]", "sources", "first"),
    // Images and services.
    ("", "image", "img:1"),
    ("image: own:2", "image", "own:2"),
    ("image: {name: own:2}", "image", "own:2"),
    ("image: {name: own:2, entrypoint: ['']}", "entrypoint", ""),
    ("image: {name: own:2, entrypoint: [/bin/sh, -c]}", "entrypoint", "/bin/sh | -c"),
    ("image: {name: own:2, docker: {user: ann}}", "user", "ann"),
    ("image: own:$FIXED", "image", "own:x"),
    ("image: own:${FIXED}", "image", "own:x"),
    ("image: own:$CI_COMMIT_SHORT_SHA", "image", "own:01234567"),
    ("image: own:$CI_COMMIT_REF_SLUG", "image", "own:main"),
    ("image: own:$CI_JOB_NAME", "image", "own:job"),
    ("image: own:$CI_PIPELINE_ID", "image", "own:${CI_PIPELINE_ID}"),
    ("services: [db:1]", "services", "db:1"),
    ("services: [{name: db:1, alias: one}]", "services", "db:1"),
    ("services: [{name: db:1, alias: 'one, two'}]", "alias", "one | two | db"),
    ("services: [{name: db:1, command: [a, b]}]", "command", "a | b"),
    ("services: ['db:$FIXED', {name: 'q:$CI_COMMIT_REF_NAME'}]", "services", "db:x | q:main"),
    // Variables.
    ("", "$FIXED", "x"),
    ("", "$EMPTY", ""),
    ("", "$NOT_SET", "not set"),
    ("variables: {FIXED: y}", "$FIXED", "y"),
    ("variables: {NEW: a}", "$NEW", "a"),
    ("variables: {NEW: 5}", "$NEW", "5"),
    ("variables: {NEW: 1.10}", "$NEW", "1.1"),
    ("variables: {NEW: '1.10'}", "$NEW", "1.10"),
    ("variables: {NEW: true}", "$NEW", "true"),
    ("variables: {NEW: '012'}", "$NEW", "012"),
    ("variables: {NEW: 012}", "$NEW", "10"),
    ("variables: {NEW: ''}", "$NEW", ""),
    ("variables: {NEW: a-$FIXED}", "$NEW", "a-x"),
    ("variables: {NEW: 'a-${FIXED}b'}", "$NEW", "a-xb"),
    ("variables: {NEW: a$$b}", "$NEW", "a$b"),
    ("variables: {NEW: {value: a-$FIXED, expand: false}}", "$NEW", "a-$FIXED"),
    ("variables: {A: $B, B: b}", "$A", "b"),
    ("inherit: {variables: false}", "$FIXED", "not set"),
    ("inherit: {variables: [FIXED]}", "$FIXED", "x"),
    ("inherit: {variables: [FIXED]}", "$COMMON", "not set"),
    ("inherit: {variables: true}", "$COMMON", "all"),
    ("inherit: {variables: false}\nvariables: {OWN: o}", "$OWN", "o"),
    ("rules: [{if: $CI_COMMIT_BRANCH, variables: {FIXED: r}}]", "$FIXED", "r"),
    ("variables: {FIXED: j}\nrules: [{if: $CI_COMMIT_BRANCH, variables: {FIXED: r}}]", "$FIXED", "r"),
    ("rules: [{if: $CI_COMMIT_TAG, variables: {FIXED: r}}, {when: always}]", "$FIXED", "x"),
    ("rules: [{if: $CI, variables: {NEW: b-$COMMON}}]", "$NEW", "b-all"),
    ("rules: [{if: $CI, variables: {NEW: $CI_COMMIT_REF_NAME}}]", "$NEW", "main"),
    ("rules: [{if: $CI, variables: {NEW: x, OTHER: o-$NEW}}]", "$OTHER", "o-x"),
    ("variables: {NEW: j}\nrules: [{if: $CI, variables: {OTHER: o-$NEW, NEW: x}}]", "$OTHER", "o-x"),
    // A value that depends on the execution, where another rule sets the variable.
    (
        "variables: {NEW: n-$CI_COMMIT_REF_NAME}\nrules: [{if: $CI_COMMIT_TAG, variables: {NEW: r}}, {if: $CI}]",
        "$NEW",
        "n-main",
    ),
    (
        "variables: {NEW: n-$CI_COMMIT_REF_NAME}\nrules: [{if: $CI, variables: {NEW: r}}, {if: $CI}]",
        "$NEW",
        "r",
    ),
    (
        "variables: {NEW: n-$CI_COMMIT_REF_NAME}\nimage: own:$NEW\nrules: [{if: $CI_COMMIT_TAG, variables: {NEW: r}}, {if: $CI}]",
        "image",
        "own:n-main",
    ),
    (
        "variables: {NEW: n-$CI_PIPELINE_ID}\nrules: [{if: $CI_COMMIT_TAG, variables: {NEW: r}}, {if: $CI}]",
        "script",
        "[ -n \"${NEW+x}\" ] || export NEW=\"n-${CI_PIPELINE_ID}\" | echo",
    ),
    (
        "variables: {NEW: n-$OLD, OLD: o-$CI_PIPELINE_ID}\nrules: [{if: $CI_COMMIT_TAG, variables: {NEW: r, OLD: r}}, {if: $CI}]",
        "script",
        "[ -n \"${OLD+x}\" ] || export OLD=\"o-${CI_PIPELINE_ID}\" | [ -n \"${NEW+x}\" ] || export NEW=\"n-${OLD}\" | echo",
    ),
    // Outcomes.
    ("", "allow", "false"),
    ("allow_failure: true", "allow", "true"),
    ("allow_failure: {exit_codes: 137}", "allow codes", "[137]"),
    ("allow_failure: {exit_codes: [1, 2]}", "allow codes", "[1, 2]"),
    ("allow_failure: {exit_codes: [3, 464]}", "allow codes", "[3]"),
    ("allow_failure: {exit_codes: 464}", "allow", "false"),
    ("", "retry", "0"),
    ("retry: 0", "retry", "0"),
    ("retry: 2", "retry", "2"),
    ("retry: {max: 1}", "retry", "1"),
    ("retry: {max: 2, when: script_failure}", "retry", "2"),
    ("retry: {max: 2, when: [runner_system_failure, stuck_or_timeout_failure]}", "retry", "2"),
    ("retry: {max: 1, exit_codes: 137}", "retry codes", "[137]"),
    ("retry: {max: 1, exit_codes: [1, 255]}", "retry codes", "[1, 255]"),
    ("retry: {max: 1, exit_codes: 464}", "retry", "0"),
    ("retry: {max: 1, exit_codes: [0, 9]}", "retry codes", "[9]"),
    ("", "timeout", "3600"),
    ("timeout: 30 minutes", "timeout", "1800"),
    ("timeout: 1h 30m", "timeout", "5400"),
    ("timeout: 3 hours 30 minutes", "timeout", "12600"),
    ("timeout: 1 day", "timeout", "86400"),
    ("timeout: 90 seconds", "timeout", "90"),
    ("timeout: '1:30:00'", "timeout", "5400"),
    // Scripts.
    ("script: echo a", "script", "echo a"),
    ("script: [echo a, echo b]", "script", "echo a | echo b"),
    ("script: [[echo a], [echo b, [echo c]]]", "script", "echo a | echo b | echo c"),
    ("after_script: [echo z]", "after_script", "echo z"),
    ("script: !reference [first, script]", "script", "echo"),
    // Caches.
    ("cache: {paths: [a]}", "cache paths", "a"),
    ("cache: {paths: [a, b/c]}", "cache paths", "a | b/c"),
    ("cache: {paths: [a]}", "cache key", "default"),
    ("cache: {paths: [a], key: k}", "cache key", "k"),
    ("cache: {paths: [a], key: 5}", "cache key", "5"),
    ("cache: {paths: [a], key: $CI_COMMIT_REF_SLUG}", "cache key", "main"),
    ("cache: {paths: [a], key: '$CI_JOB_NAME-$FIXED'}", "cache key", "job-x"),
    ("cache: {paths: [a], key: {files: [lock, other]}}", "cache files", "lock | other"),
    ("cache: {paths: [a], fallback_keys: [b, $CI_DEFAULT_BRANCH]}", "cache fallback", "b | main"),
    ("cache: {paths: [a]}\nvariables: {CACHE_FALLBACK_KEY: f}", "cache fallback", "f"),
    ("cache: {paths: [a]}", "cache policy", "PullPush"),
    ("cache: {paths: [a], policy: pull}", "cache policy", "Pull"),
    ("cache: {paths: [a], policy: push}", "cache policy", "Push"),
    ("cache: {paths: [a], policy: pull-push}", "cache policy", "PullPush"),
    ("cache: {paths: [a], policy: $HOW}\nvariables: {HOW: pull}", "cache policy", "Pull"),
    ("cache: {paths: [a]}", "cache when", "OnSuccess"),
    ("cache: {paths: [a], when: always}", "cache when", "Always"),
    ("cache: {paths: [a], when: on_failure}", "cache when", "OnFailure"),
    ("cache: [{paths: [a], key: one}, {paths: [b], key: two}]", "caches", "2"),
    ("cache: []", "caches", "0"),
    ("cache: {}", "caches", "0"),
    ("cache: {key: k}", "caches", "0"),
    // Artifacts.
    ("artifacts: {paths: [a, b/*]}", "artifacts", "a | b/*"),
    ("artifacts: {paths: [out-$FIXED]}", "artifacts", "out-x"),
    ("artifacts: {paths: [$CI_PROJECT_DIR/a]}", "artifacts", "a"),
    ("artifacts: {paths: [a], exclude: [a/b]}", "artifacts exclude", "a/b"),
    ("artifacts: {paths: [a], name: '$CI_JOB_NAME-$CI_COMMIT_REF_NAME'}", "artifacts name", "job-main"),
    ("artifacts: {paths: [a], expose_as: the report}", "artifacts expose", "the report"),
    ("artifacts: {paths: [a]}", "artifacts when", "OnSuccess"),
    ("artifacts: {paths: [a], when: always}", "artifacts when", "Always"),
    ("artifacts: {paths: [a], when: on_failure}", "artifacts when", "OnFailure"),
    ("artifacts: {paths: [a], expire_in: 1 week}", "artifacts expire", "604800"),
    ("artifacts: {paths: [a], expire_in: '420'}", "artifacts expire", "420"),
    ("artifacts: {paths: [a], expire_in: 3 mins 4 sec}", "artifacts expire", "184"),
    ("artifacts: {paths: [a], expire_in: 2 hrs 20 min}", "artifacts expire", "8400"),
    ("artifacts: {paths: [a], expire_in: 2h20min}", "artifacts expire", "8400"),
    ("artifacts: {untracked: true}", "artifacts untracked", "true"),
    (
        "artifacts: {reports: {coverage_report: {coverage_format: jacoco, path: 'a/*.xml'}}}",
        "coverage report",
        "a/*.xml",
    ),
    ("id_tokens: {T: {aud: b}}", "id tokens", "T=b"),
    (
        "id_tokens: {T: {aud: ['https://$FIXED', $CI_COMMIT_BRANCH]}, U: {aud: c}}",
        "id tokens",
        "T=https://x,main | U=c",
    ),
    ("artifacts: {reports: {junit: a.xml}}", "junit", "a.xml"),
    ("artifacts: {reports: {junit: [a.xml, b/*.xml]}}", "junit", "a.xml | b/*.xml"),
    ("artifacts: {reports: {dotenv: a.env}}", "outputs", "a.env"),
    ("coverage: '/TOTAL (\\d+)%/'", "coverage", "TOTAL (\\d+)%"),
    // Environments.
    ("environment: production", "environment", "production"),
    ("environment: {name: review/$CI_COMMIT_REF_SLUG}", "environment", "review/main"),
    (
        "environment: {name: a, url: 'https://$CI_COMMIT_REF_SLUG.example.com'}",
        "url",
        "https://main.example.com",
    ),
    (
        "environment: {name: a, url: 'https://example.com/$CI_JOB_ID'}",
        "url",
        "https://example.com/${CI_JOB_ID}",
    ),
    ("environment: {name: a, action: start}", "environment", "a"),
    // Labels and sources.
    ("tags: [docker]", "labels", "docker=true"),
    ("tags: [docker, arm64]", "labels", "arm64=true | docker=true"),
    ("tags: [$FIXED]", "labels", "x=true"),
    ("tags: []", "labels", ""),
    ("variables: {GIT_DEPTH: 3}", "depth", "3"),
    ("variables: {GIT_STRATEGY: none}", "checkout", "Nothing"),
    // Matrices.
    ("parallel: 3", "names", "first | second: [deb] | second: [rpm] | job 1/3 | job 2/3 | job 3/3"),
    (
        "parallel: {matrix: [{A: [1, 2]}]}",
        "names",
        "first | second: [deb] | second: [rpm] | job: [1] | job: [2]",
    ),
    (
        "parallel: {matrix: [{A: [1, 2], B: [x, y]}]}",
        "names",
        "first | second: [deb] | second: [rpm] | job: [1, x] | job: [1, y] | job: [2, x] | job: [2, y]",
    ),
    (
        "parallel: {matrix: [{A: 1}, {B: [x]}]}",
        "names",
        "first | second: [deb] | second: [rpm] | job: [1] | job: [x]",
    ),
    ("parallel: 2", "$CI_NODE_INDEX/job 2/2", "2"),
    ("parallel: 2", "$CI_NODE_TOTAL/job 1/2", "2"),
    ("parallel: {matrix: [{A: [1, 2]}]}", "$A/job: [2]", "2"),
    ("parallel: {matrix: [{FIXED: [m]}]}", "$FIXED/job: [m]", "m"),
    ("parallel: {matrix: [{A: [v1, v2]}]}\nimage: img:$A", "image/job: [v2]", "img:v2"),
];

/// Whole files, a property of the job `job` or another one, and its value for a push to `main`.
pub(crate) const FILES: &[(&str, &str, &str)] = &[
    ("job: {script: x}", "image", "ruby:3.1"),
    ("job: {script: x}", "stage", "test"),
    ("image: a\njob: {script: x}", "image", "a"),
    ("default: {image: a}\njob: {script: x}", "image", "a"),
    ("default: {image: a}\njob: {script: x, image: b}", "image", "b"),
    ("default: {image: a}\njob: {script: x, inherit: {default: false}}", "image", "ruby:3.1"),
    ("default: {image: a, timeout: 5m}\njob: {script: x, inherit: {default: [image]}}", "image", "a"),
    ("default: {image: a, timeout: 5m}\njob: {script: x, inherit: {default: [image]}}", "timeout", "3600"),
    ("default: {image: a, timeout: 5m}\njob: {script: x}", "timeout", "300"),
    ("default: {image: a, retry: 2}\njob: {script: x}", "retry", "2"),
    ("default: {image: a, retry: 2}\njob: {script: x, retry: 0}", "retry", "0"),
    ("default: {image: a, tags: [t]}\njob: {script: x}", "labels", "t=true"),
    ("default: {image: a, tags: [t]}\njob: {script: x, tags: [u]}", "labels", "u=true"),
    ("default: {image: a, before_script: [b]}\njob: {script: x}", "script", "b | x"),
    ("default: {image: a, before_script: [b]}\njob: {script: x, before_script: []}", "script", "x"),
    ("default: {image: a, after_script: [z]}\njob: {script: x}", "after_script", "z"),
    ("default: {image: a, after_script: [z]}\njob: {script: x, after_script: []}", "after_script", ""),
    ("default: {image: a, cache: {paths: [c]}}\njob: {script: x}", "cache paths", "c"),
    ("default: {image: a, cache: {paths: [c]}}\njob: {script: x, cache: []}", "caches", "0"),
    ("default: {image: a, services: [s]}\njob: {script: x}", "services", "s"),
    ("default: {image: a, services: [s]}\njob: {script: x, services: []}", "services", ""),
    ("default: {image: a, artifacts: {paths: [o]}}\njob: {script: x}", "artifacts", "o"),
    // Templates: a mapping is merged, a list is replaced.
    (".b: {image: a, script: [b]}\njob: {extends: .b}", "script", "b"),
    (".b: {image: a, script: [b]}\njob: {extends: .b, script: [c]}", "script", "c"),
    (".b: {image: a, variables: {A: a, B: b}}\njob: {extends: .b, script: x, variables: {B: c}}", "$A", "a"),
    (".b: {image: a, variables: {A: a, B: b}}\njob: {extends: .b, script: x, variables: {B: c}}", "$B", "c"),
    (".b: {image: a}\n.c: {image: b}\njob: {extends: [.b, .c], script: x}", "image", "b"),
    (".b: {image: a}\n.c: {extends: .b}\njob: {extends: .c, script: x}", "image", "a"),
    (".b: {image: a, tags: [t, u]}\njob: {extends: .b, script: x, tags: [v]}", "labels", "v=true"),
    ("b: {image: a, script: x, stage: deploy}\njob: {extends: b}", "stage", "deploy"),
    (
        ".b: {s: [one, two]}\njob: {image: a, script: [zero, !reference [.b, s]]}",
        "script",
        "zero | one | two",
    ),
    (".b: &b {image: a}\njob: {<<: *b, script: x}", "image", "a"),
    (".l: &l [one]\njob: {image: a, script: [*l, two]}", "script", "one | two"),
    // Stages.
    (
        "stages: [one, two]\njob: {image: a, script: x, stage: two}\nk: {image: a, script: x, stage: one}",
        "stages",
        "one | two",
    ),
    (
        "stages: [one, two]\njob: {image: a, script: x, stage: two}\nk: {image: a, script: x, stage: one}",
        "names",
        "k | job",
    ),
    (
        "stages: [one]\njob: {image: a, script: x, stage: one}\np: {image: a, script: x, stage: .pre}\nq: {image: a, script: x, stage: .post}",
        "names",
        "p | job | q",
    ),
    ("job: {image: a, script: x, stage: deploy}\nk: {image: a, script: x, stage: build}", "names", "k | job"),
    ("types: [one]\njob: {image: a, script: x, stage: one}", "stage", "one"),
    // Variables of the workflow: above the global ones, below those of the job.
    (
        "variables: {A: g}\nworkflow: {rules: [{if: $CI_COMMIT_BRANCH, variables: {A: w}}]}\njob: {image: a, script: x}",
        "$A",
        "w",
    ),
    (
        "variables: {A: g}\nworkflow: {rules: [{if: $CI_COMMIT_TAG, variables: {A: w}}, {when: always}]}\njob: {image: a, script: x}",
        "$A",
        "g",
    ),
    (
        "workflow: {rules: [{if: $CI_COMMIT_BRANCH, variables: {A: w}}]}\njob: {image: a, script: x, variables: {A: j}}",
        "$A",
        "j",
    ),
    (
        "workflow: {rules: [{if: $CI_COMMIT_BRANCH, variables: {A: w}}]}\njob: {image: a, script: x, rules: [{if: $CI, variables: {A: r}}]}",
        "$A",
        "r",
    ),
    ("variables: {A: {value: g, description: d}}\njob: {image: a, script: x}", "$A", "g"),
    // Ruby's parser does not ask for an indentation within quotation marks.
    ("job:\n  image: a\n  script:\n    - 'one\n  two'\n    - three", "script", "one two | three"),
    ("job:\n  image: a\n  script: x\n  variables:\n    A: \"one\n  two\"", "$A", "one two"),
    // The last of two equal keys counts; a date, a number and a word of YAML 1.1 are read as Ruby does.
    ("job: {image: a, script: x, stage: build, stage: deploy}", "stage", "deploy"),
    ("variables: {A: yes, B: off}\njob: {image: a, script: x}", "$A", "true"),
    ("variables: {A: yes, B: off}\njob: {image: a, script: x}", "$B", "false"),
    ("variables: {A: 0x1F}\njob: {image: a, script: x}", "$A", "31"),
    ("variables: {A: 1_000}\njob: {image: a, script: x}", "$A", "1000"),
    // A job that rules left out is not needed if the need is optional.
    (
        "stages: [b, t]\nk: {stage: b, image: a, script: x, rules: [{if: $CI_COMMIT_TAG}]}\njob: {stage: t, image: a, script: x, needs: [{job: k, optional: true}]}",
        "needs",
        "",
    ),
];
