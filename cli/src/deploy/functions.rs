//! The functions' programs: where they are found or built, and whether Lambda can run them.

use super::{
    package::{is_zip, zip},
    program::{GLIBC, Needs},
    tokens::hash,
};
use crate::{
    args::Architecture,
    failure::{Failure, Outcome},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The functions, by the names of their programs and zips.
pub const NAMES: [&str; 5] = ["api", "sweep", "dead_letter", "scale", "tell"];

/// What the functions must run on.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The processor, if that is decided.
    pub architecture: Option<Architecture>,
    /// An emulator runs them on a machine whose C library nobody knows.
    pub emulated: bool,
}

/// Functions ready to be uploaded.
#[derive(Debug)]
pub struct Functions {
    /// Their zips, by name.
    pub zips: BTreeMap<&'static str, Vec<u8>>,
    /// Says what is in them: it is another whenever any of them is.
    pub version: String,
    /// Their processor, unless they came as zips.
    pub architecture: Option<Architecture>,
    /// Where they came from.
    pub origin: PathBuf,
}

/// Takes the functions from `told`, or from beside this program, or builds them in the checkout around the working
/// directory.
pub fn gather(told: Option<&Path>, wanted: Wanted) -> Outcome<Functions> {
    if let Some(directory) = told {
        return take(directory, wanted);
    }
    let here = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
    if let Some(directory) = here.filter(|directory| NAMES.iter().all(|name| directory.join(name).is_file()))
    {
        return take(&directory, wanted);
    }
    let checkout = std::env::current_dir()?
        .ancestors()
        .find(|directory| directory.join("functions/Cargo.toml").is_file())
        .map(Path::to_owned)
        .ok_or_else(|| {
            Failure::usage(
                "the functions' programs are neither beside tidemill nor is this a checkout of Tidemill: name their \
                 directory with --functions (a release's archive has them)",
            )
        })?;
    take(&build(&checkout, wanted)?, wanted)
}

/// The functions in `directory`, as programs or as zips.
fn take(directory: &Path, wanted: Wanted) -> Outcome<Functions> {
    let mut zips = BTreeMap::new();
    let mut contents = String::new();
    let mut architecture = wanted.architecture;
    let mut seen = None;
    let mut missing = Vec::new();
    for name in NAMES {
        let (program, packed) = (directory.join(name), directory.join(format!("{name}.zip")));
        let (path, bytes) = match (fs::read(&program), fs::read(&packed)) {
            (Ok(bytes), _) => (program, bytes),
            (Err(_), Ok(bytes)) => (packed, bytes),
            (Err(_), Err(_)) => {
                missing.push(name);
                continue;
            }
        };
        contents.push_str(&hash(&bytes));
        if is_zip(&bytes) {
            zips.insert(name, bytes);
            continue;
        }
        let needs = Needs::of(&bytes).ok_or_else(|| {
            Failure::usage(format!("{} is neither a Linux program nor a zip of one", path.display()))
        })?;
        let architecture = *architecture.get_or_insert(needs.architecture);
        let hindrance = needs.hindrance(architecture);
        if let Some(why) = hindrance.filter(|_| !wanted.emulated || needs.architecture != architecture) {
            return Err(Failure::usage(format!(
                "{} {why}\n{}",
                path.display(),
                cross_build(architecture, "-p functions --bins", "--functions", "")
            )));
        }
        seen = Some(architecture);
        zips.insert(name, zip(&bytes)?);
    }
    if !missing.is_empty() {
        return Err(Failure::usage(format!(
            "{} lacks {}: it must hold {}, each as a program or as a zip\nIn a checkout, build them with: cargo build \
             --release -p functions --bins",
            directory.display(),
            missing.join(", "),
            NAMES.join(", ")
        )));
    }
    // Enough to tell versions apart, and short enough to read.
    let mut version = hash(contents);
    version.truncate(16);
    Ok(Functions { zips, version, architecture: seen, origin: directory.to_owned() })
}

/// How to build for machines unlike this one.
pub fn cross_build(architecture: Architecture, packages: &str, flag: &str, file: &str) -> String {
    let target = architecture.target();
    format!(
        "In a checkout, build for it with (cargo install cargo-zigbuild; pip install ziglang; rustup target add {target}):\n  \
         cargo zigbuild --release {packages} --target {target}.{}.{}\nand then give {flag} target/{target}/release{file}",
        GLIBC.0, GLIBC.1
    )
}

/// Builds the functions for this machine, and gives the directory that they are in.
fn build(checkout: &Path, wanted: Wanted) -> Outcome<PathBuf> {
    let here = Architecture::of_this_machine().filter(|_| cfg!(target_os = "linux"));
    if let Some(other) = wanted.architecture.filter(|wanted| Some(*wanted) != here) {
        return Err(Failure::usage(format!(
            "this machine does not build for Linux on {other} by itself\n{}",
            cross_build(other, "-p functions --bins", "--functions", "")
        )));
    }
    crate::errln!("building the functions: cargo build --release -p functions --bins");
    let built = Command::new("cargo")
        .args([
            "build",
            "--release",
            "-p",
            "functions",
            "--bins",
            "--message-format",
            "json-render-diagnostics",
        ])
        .current_dir(checkout)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| {
            Failure::system(format!("cargo cannot be started: {error}; name built ones with --functions"))
        })?;
    if !built.status.success() {
        return Err(Failure::system("the functions were not built; cargo's own words are above"));
    }
    String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| Some(Path::new(message["executable"].as_str()?).parent()?.to_owned()))
        .next_back()
        .ok_or_else(|| {
            Failure::system("cargo built the functions, but did not say where; name them with --functions")
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{NAMES, Wanted, take};
    use crate::args::Architecture;
    use std::fs;

    const WANTED: Wanted = Wanted { architecture: None, emulated: false };

    fn program(machine: u8, glibc: &str) -> Vec<u8> {
        let mut bytes = b"\x7fELF".to_vec();
        bytes.resize(18, 0);
        bytes.extend([machine, 0]);
        bytes.extend(format!("\0GLIBC_{glibc}\0").bytes());
        bytes
    }

    #[test]
    fn programs_are_packed_and_their_processor_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        for name in NAMES {
            fs::write(dir.path().join(name), program(0xb7, "2.34")).unwrap();
        }
        let first = take(dir.path(), WANTED).unwrap();
        assert_eq!(first.architecture, Some(Architecture::Arm64));
        assert_eq!(first.zips.len(), NAMES.len());
        assert_eq!(first.version, take(dir.path(), WANTED).unwrap().version);
        fs::write(dir.path().join("scale"), program(0xb7, "2.33")).unwrap();
        assert_ne!(first.version, take(dir.path(), WANTED).unwrap().version);
    }

    #[test]
    fn what_cannot_run_is_refused_with_the_command_that_builds_it() {
        let dir = tempfile::tempdir().unwrap();
        let words = take(dir.path(), WANTED).unwrap_err().words;
        assert!(words.contains("lacks api, sweep, dead_letter, scale, tell"), "{words}");
        for name in NAMES {
            fs::write(dir.path().join(name), program(0x3e, "2.39")).unwrap();
        }
        let words = take(dir.path(), WANTED).unwrap_err().words;
        assert!(words.contains("--target x86_64-unknown-linux-gnu.2.34"), "{words}");
        let arm = Wanted { architecture: Some(Architecture::Arm64), emulated: true };
        let words = take(dir.path(), arm).unwrap_err().words;
        assert!(words.contains("--target aarch64-unknown-linux-gnu.2.34"), "{words}");
        assert!(take(dir.path(), Wanted { emulated: true, ..WANTED }).is_ok());
        fs::write(dir.path().join("api"), "#!/bin/sh\n").unwrap();
        let words = take(dir.path(), WANTED).unwrap_err().words;
        assert!(words.contains("neither a Linux program nor a zip"), "{words}");
    }
}
