//! `init`: creates a starter pipeline file that fits the kind of repository.

use crate::{
    args::Init,
    failure::Outcome,
    pipeline::{git_facts, new_file},
};
use std::path::Path;

/// A kind of repository: the file that identifies it, and its usual image and commands.
struct Kind {
    file: &'static str,
    name: &'static str,
    image: &'static str,
    build: &'static [&'static str],
    test: &'static [&'static str],
}

const KINDS: &[Kind] = &[
    Kind {
        file: "Cargo.toml",
        name: "Rust",
        image: "rust:1",
        build: &["cargo build --locked"],
        test: &["cargo test --locked"],
    },
    Kind {
        file: "go.mod",
        name: "Go",
        image: "golang:1",
        build: &["go build ./..."],
        test: &["go vet ./...", "go test ./..."],
    },
    Kind {
        file: "package.json",
        name: "Node.js",
        image: "node:lts",
        build: &["npm ci"],
        test: &["npm ci", "npm test"],
    },
    Kind {
        file: "pyproject.toml",
        name: "Python",
        image: "python:3",
        build: &["pip install ."],
        test: &["pip install . pytest", "pytest"],
    },
    Kind {
        file: "requirements.txt",
        name: "Python",
        image: "python:3",
        build: &["pip install -r requirements.txt"],
        test: &["pip install -r requirements.txt pytest", "pytest"],
    },
    Kind {
        file: "pom.xml",
        name: "Maven",
        image: "maven:3",
        build: &["mvn -B compile"],
        test: &["mvn -B test"],
    },
    Kind {
        file: "build.gradle",
        name: "Gradle",
        image: "gradle:8",
        build: &["gradle build -x test"],
        test: &["gradle test"],
    },
    Kind {
        file: "Gemfile",
        name: "Ruby",
        image: "ruby:3",
        build: &["bundle install"],
        test: &["bundle install", "bundle exec rake"],
    },
    Kind {
        file: "Makefile",
        name: "make",
        image: "buildpack-deps:stable",
        build: &["make"],
        test: &["make test"],
    },
];

const OTHER: Kind = Kind {
    file: "",
    name: "any",
    image: "debian:stable-slim",
    build: &["echo \"replace this with your build commands\""],
    test: &["echo \"replace this with your test commands\""],
};

/// `tidemill init`.
pub fn init(args: &Init) -> Outcome {
    let kind = KINDS.iter().find(|kind| Path::new(kind.file).exists()).unwrap_or(&OTHER);
    new_file::write(&args.output, args.force, &starter(kind, &default_branch()))?;
    crate::output::outln!(
        "created {} for a {} repository; next: tidemill run",
        args.output.display(),
        kind.name
    );
    Ok(())
}

/// Returns the default branch of the current repository, quoted for YAML; `main` if it is unknown.
fn default_branch() -> String {
    let facts = git_facts::of_working_tree(Path::new("."), git_facts::RequiredFacts::REFS);
    let branch = facts.default_branch.or(facts.branch).unwrap_or_else(|| "main".to_owned());
    serde_json::to_string(&branch).unwrap_or(branch)
}

fn starter(kind: &Kind, branch: &str) -> String {
    let commands =
        |all: &[&str]| all.iter().fold(String::new(), |text, line| text + "      - " + line + "\n");
    format!(
        "# Reference: docs/pipeline-reference.md of Tidemill. Check with: tidemill check\n\
         name: ci\n\n# A server with this repository starts the pipeline for these events.\non:\n  push:\n    branches: \
         [{}]\n  pull_request:\n\nstages: [build, test]\n\ndefaults:\n  image: {}\n\njobs:\n  build:\n    stage: build\n    script:\n{}\n  \
         test:\n    stage: test\n    script:\n{}",
        branch,
        kind.image,
        commands(kind.build),
        commands(kind.test)
    )
}

#[cfg(test)]
mod tests {
    use super::{KINDS, OTHER, starter};
    use tidemill_core::pipeline::parse;

    #[test]
    fn every_starter_file_is_valid() {
        for kind in KINDS.iter().chain([&OTHER]) {
            assert!(
                starter(kind, "main").contains("\non:\n  push:\n    branches: [main]\n  pull_request:\n")
            );
            assert!(parse(&starter(kind, "main")).is_ok(), "{}: {}", kind.name, starter(kind, "main"));
        }
    }
}
