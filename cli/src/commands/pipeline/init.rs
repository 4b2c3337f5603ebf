//! `init`: creates a starter pipeline file that fits the kind of repository.

use crate::{
    args::Init,
    failure::Outcome,
    output::{self, Printable},
    pipeline::{file, git_facts, new_file},
    settings::docker_host,
    view::hint::quoted,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};
use tidemill_core::gitlab;
use tidemill_worker::engine::local_images;

/// A kind of repository: the file that identifies it, and its usual image and commands.
struct Kind {
    file: &'static str,
    name: &'static str,
    image: &'static str,
    /// The commands of its only job: what one job installs is not there in another.
    script: &'static [&'static str],
}

/// The kinds of repositories; the first whose file exists counts.
const KINDS: &[Kind] = &[
    Kind {
        file: "Cargo.lock",
        name: "Rust",
        image: "rust:1",
        script: &["cargo build --locked", "cargo test --locked"],
    },
    Kind { file: "Cargo.toml", name: "Rust", image: "rust:1", script: &["cargo build", "cargo test"] },
    Kind { file: "go.mod", name: "Go", image: "golang:1", script: &["go vet ./...", "go test ./..."] },
    Kind { file: "package-lock.json", name: "Node.js", image: "node:lts", script: &["npm ci", "npm test"] },
    Kind {
        file: "yarn.lock",
        name: "Node.js",
        image: "node:lts",
        script: &["yarn install --frozen-lockfile", "yarn test"],
    },
    Kind {
        file: "pnpm-lock.yaml",
        name: "Node.js",
        image: "node:lts",
        script: &["corepack enable", "pnpm install --frozen-lockfile", "pnpm test"],
    },
    Kind { file: "package.json", name: "Node.js", image: "node:lts", script: &["npm install", "npm test"] },
    Kind {
        file: "pyproject.toml",
        name: "Python",
        image: "python:3",
        script: &["pip install . pytest", "pytest"],
    },
    Kind { file: "setup.py", name: "Python", image: "python:3", script: &["pip install . pytest", "pytest"] },
    Kind {
        file: "requirements.txt",
        name: "Python",
        image: "python:3",
        script: &["pip install -r requirements.txt pytest", "pytest"],
    },
    Kind { file: "pom.xml", name: "Maven", image: "maven:3", script: &["mvn -B verify"] },
    Kind { file: "build.gradle", name: "Gradle", image: "gradle:8", script: &["gradle build"] },
    Kind { file: "build.gradle.kts", name: "Gradle", image: "gradle:8", script: &["gradle build"] },
    Kind { file: "Gemfile", name: "Ruby", image: "ruby:3", script: &["bundle install", "bundle exec rake"] },
    Kind {
        file: "composer.json",
        name: "PHP",
        image: "composer:2",
        script: &["composer install --no-interaction", "composer test"],
    },
    Kind {
        file: "CMakeLists.txt",
        name: "CMake",
        image: "buildpack-deps:stable",
        script: &[
            "apt-get update && apt-get install -y cmake",
            "cmake -S . -B build",
            "cmake --build build",
            "ctest --test-dir build --output-on-failure",
        ],
    },
    Kind { file: "Makefile", name: "make", image: "buildpack-deps:stable", script: &["make", "make test"] },
];

const OTHER: Kind = Kind {
    file: "",
    name: "",
    image: "debian:stable-slim",
    script: &["echo \"replace this with the commands that build and test\""],
};

/// What runs the scripts of a `package.json`.
const NODE_RUNNERS: [&str; 3] = ["npm", "pnpm", "yarn"];

/// Images for any kind of repository, in the order of preference: they have a shell and usual commands.
const GENERAL_IMAGES: [&str; 5] = ["debian", "ubuntu", "alpine", "busybox", "tidemill-demo"];

/// Maximum size of a `package.json` that is read, in bytes.
const MAX_PACKAGE_LEN: u64 = 1 << 20;

/// `tidemill init`.
pub async fn init(args: &Init) -> Outcome {
    let root = root()?;
    let kind = kind_of(|file| root.join(file).exists());
    let path = args.output.clone().unwrap_or_else(|| root.join(".pipelines/ci.yml"));
    let proposal = match local_images(docker_host()?.as_deref()).await {
        Ok(images) => propose(kind, &images),
        Err(error) => Proposal {
            image: kind.image.to_owned(),
            origin: format!("not checked: {}", Printable(error.to_string())),
        },
    };
    let is_found_first = path.parent().is_some_and(|directory| directory.ends_with(".pipelines"));
    let gitlab = gitlab::FILE_NAMES.iter().find(|name| is_found_first && root.join(name).is_file());
    let commands = commands(kind, &package_scripts(&root.join("package.json")));
    new_file::write(&path, args.force, &starter(&commands, &proposal.image, &default_branch()))?;
    if let Some(gitlab) = gitlab {
        crate::output::errln!(
            "warning: a directory .pipelines replaces {gitlab}, which is no longer used; to translate it instead: \
             tidemill import --force"
        );
    }
    let name = path.to_string_lossy();
    let kind = Some(kind.name).filter(|kind| !kind.is_empty());
    let reply =
        json!({ "created": name, "kind": kind, "image": proposal.image, "image_origin": proposal.origin });
    output::print_reply(args.format.is_json(), &reply, || {
        let kind = kind.map(|kind| format!(" for a {kind} repository")).unwrap_or_default();
        format!(
            "created {}{kind}\nimage {}: {}\nnext: tidemill run{}",
            Printable(&name),
            Printable(&proposal.image),
            proposal.origin,
            file_option(&path)
        )
    })?;
    Ok(())
}

/// Returns the kind of a repository, given which files exist.
fn kind_of(exists: impl Fn(&str) -> bool) -> &'static Kind {
    KINDS.iter().find(|kind| exists(kind.file)).unwrap_or(&OTHER)
}

/// Returns the scripts of a `package.json`; none if it cannot be read, as `npm` will say then.
fn package_scripts(path: &Path) -> serde_json::Map<String, Value> {
    let mut text = String::new();
    let read = fs::File::open(path).and_then(|file| file.take(MAX_PACKAGE_LEN).read_to_string(&mut text));
    let package = read.ok().and_then(|_| serde_json::from_str::<Value>(&text).ok());
    package.and_then(|package| package.get("scripts")?.as_object().cloned()).unwrap_or_default()
}

/// Returns the commands for a kind of repository. Of a Node.js package, only scripts that it has: `build`, if there is one, and `test`,
/// unless it is the one that `npm init` writes.
fn commands(kind: &Kind, scripts: &serde_json::Map<String, Value>) -> Vec<String> {
    let mut commands: Vec<String> = kind.script.iter().map(|line| (*line).to_owned()).collect();
    let Some(runner) = commands.last().and_then(|line| line.strip_suffix(" test")).map(str::to_owned) else {
        return commands;
    };
    if !NODE_RUNNERS.contains(&runner.as_str()) {
        return commands;
    }
    let test = scripts.get("test").and_then(Value::as_str);
    if test.is_none_or(|test| test.contains("no test specified")) {
        commands.pop();
    }
    if scripts.contains_key("build") {
        let at = commands.len() - usize::from(commands.last().is_some_and(|line| line.ends_with(" test")));
        commands.insert(at, format!("{runner} run build"));
    }
    commands
}

/// Returns the option with which `run` finds the new file, unless it finds it without.
fn file_option(path: &Path) -> String {
    let is_only = file::pipeline_files().is_ok_and(|files| {
        let is_path = |file: &PathBuf| file.canonicalize().ok() == path.canonicalize().ok();
        files.len() == 1 && files.iter().all(is_path)
    });
    if is_only { String::new() } else { format!(" -f {}", quoted(&path.to_string_lossy())) }
}

/// Returns the root of the current repository: servers look for pipelines there. Outside of repositories, the current directory.
fn root() -> Outcome<PathBuf> {
    let current_dir = std::env::current_dir()?;
    let root = current_dir.ancestors().find(|directory| directory.join(".git").exists());
    // Relative paths are easier to read.
    Ok(root.filter(|root| *root != current_dir).map(Path::to_owned).unwrap_or_default())
}

/// An image for the jobs of a new file.
#[derive(Debug, PartialEq, Eq)]
struct Proposal {
    image: String,
    /// Where the image is.
    origin: String,
}

/// Proposes an image that the engine has: the usual one, another version of it, or for any kind of repository a general one.
/// Otherwise the usual one, which the first run pulls.
fn propose(kind: &Kind, local: &[String]) -> Proposal {
    let on_this_machine =
        |image: &str| Proposal { image: image.to_owned(), origin: "on this machine".to_owned() };
    if local.iter().any(|image| image == kind.image) {
        return on_this_machine(kind.image);
    }
    let repository = |image: &str| image.split(':').next().unwrap_or_default().to_owned();
    let usual = repository(kind.image);
    let general = GENERAL_IMAGES.iter().filter(|_| kind.file.is_empty()).map(|name| (*name).to_owned());
    for name in std::iter::once(usual).chain(general) {
        let versions = local.iter().filter(|image| repository(image) == name);
        // Of several versions, the one with the longest number is usually the newest.
        if let Some(image) = versions.max_by_key(|image| (image.ends_with(":latest"), image.len(), *image)) {
            return on_this_machine(image);
        }
    }
    let origin = "not on this machine; the first run pulls it from its registry".to_owned();
    Proposal { image: kind.image.to_owned(), origin }
}

/// Returns the default branch of the current repository, quoted for YAML; `main` if it is unknown.
fn default_branch() -> String {
    let facts = git_facts::WorkingTree::read(Path::new(".")).facts(git_facts::RequiredFacts::default());
    let branch = facts.default_branch.or(facts.branch).unwrap_or_else(|| "main".to_owned());
    serde_json::to_string(&branch).unwrap_or(branch)
}

fn starter(commands: &[String], image: &str, branch: &str) -> String {
    let script = commands.iter().fold(String::new(), |text, line| text + "      - " + line + "\n");
    format!(
        "# Reference: docs/pipeline-reference.md of Tidemill. Check with: tidemill check\n\
         name: ci\n\n# A server with this repository starts the pipeline for these events.\non:\n  push:\n    branches: \
         [{branch}]\n  pull_request:\n\njobs:\n  test:\n    image: {image}\n    script:\n{script}"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{KINDS, OTHER, Proposal, commands, kind_of, package_scripts, propose, starter};
    use serde_json::{Value, json};
    use tidemill_core::pipeline::parse;

    #[test]
    fn every_starter_file_is_valid() {
        for kind in KINDS.iter().chain([&OTHER]) {
            let text = starter(&commands(kind, &serde_json::Map::new()), kind.image, "main");
            assert!(text.contains("\non:\n  push:\n    branches: [main]\n  pull_request:\n"));
            assert!(parse(&text).is_ok_and(|pipeline| pipeline.jobs.len() == 1), "{}: {text}", kind.name);
            assert_eq!(text.matches("image: ").count(), 1, "{text}");
            assert!(text.matches("install").count() <= 1, "{text}");
        }
    }

    #[test]
    fn kind_of_repository_is_that_of_its_most_specific_file() {
        let of = |files: &[&str]| kind_of(|file| files.contains(&file));
        for (files, name, first) in [
            (&["Cargo.toml", "Cargo.lock"][..], "Rust", "cargo build --locked"),
            (&["Cargo.toml", "Makefile"][..], "Rust", "cargo build"),
            (&["package.json", "package-lock.json"][..], "Node.js", "npm ci"),
            (&["package.json", "yarn.lock"][..], "Node.js", "yarn install --frozen-lockfile"),
            (&["package.json", "pnpm-lock.yaml"][..], "Node.js", "corepack enable"),
            (&["package.json"][..], "Node.js", "npm install"),
            (&["build.gradle.kts"][..], "Gradle", "gradle build"),
            (&["CMakeLists.txt", "Makefile"][..], "CMake", "apt-get update && apt-get install -y cmake"),
            (&["composer.json"][..], "PHP", "composer install --no-interaction"),
        ] {
            let kind = of(files);
            assert_eq!((kind.name, kind.script[0]), (name, first), "{files:?}");
        }
        assert_eq!(of(&["README.md"]).name, "");
    }

    #[test]
    fn node_package_runs_the_scripts_that_it_has() {
        let of = |file: &str, package: Value| {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("package.json");
            std::fs::write(&path, package.to_string()).unwrap();
            commands(kind_of(|name| name == file), &package_scripts(&path))
        };
        let unset = "echo \"Error: no test specified\" && exit 1";
        for (file, package, expected) in [
            ("package-lock.json", json!({ "scripts": { "test": "jest" } }), &["npm ci", "npm test"][..]),
            ("package-lock.json", json!({ "scripts": { "test": unset } }), &["npm ci"]),
            (
                "yarn.lock",
                json!({ "scripts": { "test": "jest", "build": "tsc" } }),
                &["yarn install --frozen-lockfile", "yarn run build", "yarn test"],
            ),
            ("package.json", json!({ "scripts": { "build": "tsc" } }), &["npm install", "npm run build"]),
            ("package.json", json!({ "scripts": [] }), &["npm install"]),
            ("composer.json", json!({}), &["composer install --no-interaction", "composer test"]),
        ] {
            assert_eq!(of(file, package.clone()), expected, "{package}");
        }
        let missing = package_scripts(std::path::Path::new("/nonexistent/package.json"));
        assert!(missing.is_empty());
    }

    #[test]
    fn proposed_image_is_one_of_the_engine_if_it_has_any() {
        let rust = &KINDS[0];
        let of = |kind, local: &[&str]| {
            let local: Vec<String> = local.iter().map(|name| (*name).to_owned()).collect();
            let Proposal { image, origin } = propose(kind, &local);
            (image, origin.starts_with("on this machine"))
        };
        assert_eq!(of(rust, &["debian:12", "rust:1", "rust:1.95"]), ("rust:1".into(), true));
        assert_eq!(of(rust, &["debian:12", "rust:1.9", "rust:1.95"]), ("rust:1.95".into(), true));
        assert_eq!(of(rust, &["debian:12", "mirror/rust:1"]), ("rust:1".into(), false));
        assert_eq!(of(&OTHER, &["busybox:1", "alpine:3", "app:1"]), ("alpine:3".into(), true));
        assert_eq!(of(&OTHER, &["app:1"]), ("debian:stable-slim".into(), false));
    }
}
