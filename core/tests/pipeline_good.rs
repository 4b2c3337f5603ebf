//! Files that are right: fixtures, the examples, and every example of the reference.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tidemill_core::execution::facts::Facts;
use tidemill_core::pipeline::{Need, Pipeline, json_schema, parse, parse_with_warnings};
use tidemill_core::plan::Plan;
use tidemill_core::text::diagnostics::render_human;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn yaml_files(folder: PathBuf) -> Vec<(String, String)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
        .map(|path| {
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn good(name: &str, source: &str) -> Pipeline {
    let parsed = parse_with_warnings(source)
        .unwrap_or_else(|found| panic!("{}", render_human(name, source, &found, false)));
    assert!(parsed.warnings.is_empty(), "{}", render_human(name, source, &parsed.warnings, false));
    parsed.pipeline
}

#[test]
fn fixtures_parse_as_expected() {
    for (name, source) in yaml_files(root().join("core/tests/fixtures/good")) {
        insta::assert_yaml_snapshot!(name.as_str(), good(&name, &source));
    }
}

#[test]
fn examples_and_reference_are_valid() {
    let mut examples = yaml_files(root().join("examples"));
    examples.extend(yaml_files(root().join(".pipelines")));
    assert!(examples.len() >= 5);
    let reference = crate::reference::examples();
    assert!(reference.len() >= 15, "only {} examples in the reference", reference.len());
    for (name, source) in examples.iter().chain(&reference) {
        let pipeline = good(name, &without_include(source));
        let plan = Plan::for_facts(&pipeline, &Facts { branch: Some("main".into()), ..Facts::default() });
        assert!(plan.is_ok_and(|plan| !plan.jobs.is_empty()), "{name} cannot be planned");
    }
}

/// An example of `include` names files that are not there; the rest of it is right.
fn without_include(source: &str) -> String {
    let mut inside = false;
    let kept = source.lines().filter(|line| {
        inside = line.starts_with("include:") || inside && line.starts_with(' ');
        !inside
    });
    kept.fold(String::new(), |text, line| text + line + "\n")
}

/// Marks the keys of `schema`'s records that `value` has, as `record.key`.
fn mark(
    value: &serde_json::Value,
    schema: &serde_json::Value,
    all: &serde_json::Value,
    used: &mut BTreeSet<String>,
) {
    let named = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/"));
    let (name, schema) = named.map_or(("RawPipeline", schema), |name| (name, &all["$defs"][name]));
    for branch in schema["anyOf"].as_array().into_iter().chain(schema["allOf"].as_array()).flatten() {
        mark(value, branch, all, used);
    }
    for item in value.as_array().into_iter().flatten() {
        mark(item, &schema["items"], all, used);
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        if let Some(known) = schema["properties"].get(key) {
            used.insert(format!("{name}.{key}"));
            mark(inner, known, all, used);
        } else if schema["additionalProperties"].is_object() {
            mark(inner, &schema["additionalProperties"], all, used);
        }
    }
}

#[test]
fn reference_has_entry_and_example_of_each_key_of_schema() {
    let text = std::fs::read_to_string(root().join("docs/pipeline-reference.md")).unwrap();
    let schema = json_schema();
    let mut used = BTreeSet::new();
    // Those marked `yml` need files from elsewhere.
    let fragments =
        text.split("```yml\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned);
    for source in crate::reference::examples().into_iter().map(|(_, source)| source).chain(fragments) {
        let mut yaml: serde_yaml::Value = serde_yaml::from_str(&source).unwrap();
        yaml.apply_merge().unwrap();
        mark(&serde_json::to_value(&yaml).unwrap(), &schema, &schema, &mut used);
    }
    let records = schema["$defs"].as_object().unwrap().iter().map(|(name, record)| (name.as_str(), record));
    let mut keys = 0;
    for (record, schema) in records.chain([("RawPipeline", &schema)]) {
        for key in schema["properties"].as_object().into_iter().flat_map(|keys| keys.keys()) {
            keys += 1;
            assert!(
                used.contains(&format!("{record}.{key}")),
                "no example of the reference has `{key}` of {record}"
            );
            let entry = match record {
                "RawPipeline" => text.contains(&format!("\n### `{key}`\n")),
                "RawJob" => {
                    let row = text.contains(&format!("\n| `{key}` |"));
                    let headed =
                        ["", " of a job"].iter().any(|end| text.contains(&format!("\n### `{key}`{end}\n")));
                    row && headed
                }
                _ => text.contains(&format!("`{key}`")),
            };
            assert!(entry, "the reference has no entry on `{key}` of {record}");
        }
    }
    assert!(keys > 100, "only {keys} keys were found");
}

#[test]
fn schema_matches_reader() {
    let validator = jsonschema::validator_for(&json_schema()).unwrap();
    let files = yaml_files(root().join("examples")).into_iter().chain(crate::reference::examples());
    for (name, source) in files.chain(yaml_files(root().join("core/tests/fixtures/good"))) {
        let mut yaml: serde_yaml::Value = serde_yaml::from_str(&source).unwrap();
        yaml.apply_merge().unwrap();
        let json = serde_json::to_value(&yaml).unwrap();
        let errors: Vec<_> =
            validator.iter_errors(&json).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
    for bad in [
        serde_json::json!({ "name": "x" }),
        serde_json::json!({ "name": "x", "jobs": { "a": { "image": "x", "scirpt": "y" } } }),
        serde_json::json!({ "name": "x", "jobs": { "a": { "image": "x", "script": "y", "retry": 11 } } }),
        serde_json::json!({ "name": "x", "jobs": [{ "image": "x", "script": "y" }] }),
    ] {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
}

#[test]
fn documented_schema_is_current() {
    let path = root().join("docs/pipeline.schema.json");
    let current = format!("{}\n", serde_json::to_string_pretty(&json_schema()).unwrap());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == current, "docs/pipeline.schema.json is old; run this test with UPDATE_SCHEMA=1");
}

#[test]
fn literals_defaults_and_merges_are_preserved() {
    let pipeline = good("design", include_str!("fixtures/good/design.yml"));
    assert_eq!(pipeline.variables["VERSION"], "1.10");
    assert_eq!(pipeline.variables["DEBUG"], "true");
    let unit = &pipeline.jobs[1];
    assert_eq!((unit.stage.as_str(), unit.timeout_s, unit.retry), ("test", 1200, 1));
    assert_eq!((unit.resources.cpus, unit.resources.memory_bytes), (Some(2.0), Some(1_610_612_736)));
    assert_eq!((unit.variables["A"].as_str(), unit.variables["B"].as_str()), ("default", "own"));
    assert_eq!(unit.matrix.0[0].keys["level"], ["0", "1"]);
    assert_eq!(pipeline.jobs[0].needs, None);
    assert_eq!(pipeline.jobs[2].needs.as_deref(), Some(&[Need::of("unit")][..]));

    let anchors = good("anchors", include_str!("fixtures/good/anchors.yml"));
    assert_eq!(anchors.stages, ["test"]);
    assert_eq!(anchors.jobs[0].script, ["echo one", "echo two", "echo three"]);
    assert_eq!((anchors.jobs[1].retry, anchors.jobs[1].timeout_s), (0, 300));
    assert_eq!(anchors.jobs[1].variables["VERSION"], "1.10");
    assert_eq!(anchors.jobs[1].variables["OWN"], "yes");
}

#[test]
fn pipeline_round_trips() {
    let pipeline = parse(include_str!("fixtures/good/design.yml")).unwrap();
    let stored = serde_json::to_string(&pipeline).unwrap();
    assert_eq!(serde_json::from_str::<Pipeline>(&stored).unwrap(), pipeline);
}
