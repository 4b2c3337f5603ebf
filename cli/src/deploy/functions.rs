//! Finds or builds the function binaries, and checks that Lambda can run them.

use super::{
    package::{is_zip, zip},
    program::{MAX_GLIBC_VERSION, Requirements},
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

/// Names of the function binaries, and of the zip files without their extension.
pub const NAMES: [&str; 5] = ["api", "sweep", "authorize", "scale", "notify"];

/// Where the functions run.
#[derive(Debug, Clone, Copy)]
pub struct Platform {
    /// CPU architecture; `None`: that of the binaries.
    pub architecture: Option<Architecture>,
    /// Whether an emulator runs them, whose C library is unknown.
    pub is_emulated: bool,
}

/// Functions to upload.
#[derive(Debug)]
pub struct PackagedFunctions {
    /// Zips by name.
    pub zips: BTreeMap<&'static str, Vec<u8>>,
    /// Hash of all functions.
    pub version: String,
    /// CPU architecture; `None` for zips.
    pub architecture: Option<Architecture>,
    /// Directory of the binaries.
    pub origin: PathBuf,
}

/// Loads the functions from `directory`, by default from the directory of this binary. If they are not there, builds them in the
/// checkout that contains the working directory.
pub fn load(directory: Option<&Path>, platform: Platform) -> Outcome<PackagedFunctions> {
    if let Some(directory) = directory {
        return load_from(directory, platform);
    }
    let own_directory = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
    if let Some(directory) =
        own_directory.filter(|directory| NAMES.iter().all(|name| directory.join(name).is_file()))
    {
        return load_from(&directory, platform);
    }
    let checkout = std::env::current_dir()?
        .ancestors()
        .find(|directory| directory.join("functions/Cargo.toml").is_file())
        .map(Path::to_owned)
        .ok_or_else(|| {
            Failure::usage(
                "the function binaries are not in the directory of tidemill, and this is not a checkout of Tidemill: pass \
                 their directory with --functions (release archives contain them)",
            )
        })?;
    load_from(&build(&checkout, platform)?, platform)
}

/// Loads the functions in `directory`: binaries or zip files.
fn load_from(directory: &Path, platform: Platform) -> Outcome<PackagedFunctions> {
    let mut zips = BTreeMap::new();
    let mut contents = String::new();
    let mut architecture = platform.architecture;
    let mut detected = None;
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
        let requirements = Requirements::of(&bytes).ok_or_else(|| {
            Failure::usage(format!("{} is neither a Linux binary nor a zip file", path.display()))
        })?;
        let architecture = *architecture.get_or_insert(requirements.architecture);
        let incompatibility = requirements.incompatibility(architecture);
        if let Some(reason) =
            incompatibility.filter(|_| !platform.is_emulated || requirements.architecture != architecture)
        {
            return Err(Failure::usage(format!(
                "{} {reason}\n{}",
                path.display(),
                cross_build(architecture, "-p tidemill-functions --bins", "--functions", "")
            )));
        }
        detected = Some(architecture);
        let packed = zip(&bytes)
            .map_err(|error| Failure::system(format!("{} cannot be packed: {error}", path.display())))?;
        zips.insert(name, packed);
    }
    if !missing.is_empty() {
        return Err(Failure::usage(format!(
            "{} lacks {}: it must contain {}, each as a binary or zip file\nIn a checkout, build them with: cargo build \
             --release -p tidemill-functions --bins",
            directory.display(),
            missing.join(", "),
            NAMES.join(", ")
        )));
    }
    // 64 bits identify a version, and are short enough to read.
    let mut version = hash(contents);
    version.truncate(16);
    Ok(PackagedFunctions { zips, version, architecture: detected, origin: directory.to_owned() })
}

/// Returns instructions for building `packages` for `architecture`.
pub fn cross_build(architecture: Architecture, packages: &str, flag: &str, file: &str) -> String {
    let target = architecture.target();
    format!(
        "In a checkout, cross-build with (cargo install cargo-zigbuild; pip install ziglang; rustup target add {target}):\n  \
         cargo zigbuild --release {packages} --target {target}.{}.{}\nand then use {flag} target/{target}/release{file}",
        MAX_GLIBC_VERSION.0, MAX_GLIBC_VERSION.1
    )
}

/// Builds the functions for this machine, and returns their directory.
fn build(checkout: &Path, platform: Platform) -> Outcome<PathBuf> {
    let own = Architecture::of_this_machine().filter(|_| cfg!(target_os = "linux"));
    if let Some(other) = platform.architecture.filter(|platform| Some(*platform) != own) {
        return Err(Failure::usage(format!(
            "this machine cannot build for Linux on {other} natively\n{}",
            cross_build(other, "-p tidemill-functions --bins", "--functions", "")
        )));
    }
    crate::output::errln!("building the functions: cargo build --release -p tidemill-functions --bins");
    let built = Command::new("cargo")
        .args([
            "build",
            "--release",
            "-p",
            "tidemill-functions",
            "--bins",
            "--message-format",
            "json-render-diagnostics",
        ])
        .current_dir(checkout)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| {
            Failure::system(format!(
                "cargo cannot be started: {error}; pass a directory with built functions with --functions"
            ))
        })?;
    if !built.status.success() {
        return Err(Failure::system("building the functions failed; see cargo's output above"));
    }
    String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| Some(Path::new(message["executable"].as_str()?).parent()?.to_owned()))
        .next_back()
        .ok_or_else(|| {
            Failure::system("cargo did not report the directory of the functions; pass it with --functions")
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{NAMES, Platform, load_from};
    use crate::args::Architecture;
    use std::fs;

    const PLATFORM: Platform = Platform { architecture: None, is_emulated: false };

    fn program(machine: u8, glibc: &str) -> Vec<u8> {
        let mut bytes = b"\x7fELF".to_vec();
        bytes.resize(18, 0);
        bytes.extend([machine, 0]);
        bytes.extend(format!("\0GLIBC_{glibc}\0").bytes());
        bytes
    }

    #[test]
    fn programs_are_packed_and_their_architecture_is_detected() {
        let dir = tempfile::tempdir().unwrap();
        for name in NAMES {
            fs::write(dir.path().join(name), program(0xb7, "2.34")).unwrap();
        }
        let first = load_from(dir.path(), PLATFORM).unwrap();
        assert_eq!(first.architecture, Some(Architecture::Arm64));
        assert_eq!(first.zips.len(), NAMES.len());
        assert_eq!(first.version, load_from(dir.path(), PLATFORM).unwrap().version);
        fs::write(dir.path().join("scale"), program(0xb7, "2.33")).unwrap();
        assert_ne!(first.version, load_from(dir.path(), PLATFORM).unwrap().version);
    }

    #[test]
    fn incompatible_program_is_rejected_with_the_build_command() {
        let dir = tempfile::tempdir().unwrap();
        let message = load_from(dir.path(), PLATFORM).unwrap_err().message;
        assert!(message.contains("lacks api, sweep, authorize, scale, notify"), "{message}");
        for name in NAMES {
            fs::write(dir.path().join(name), program(0x3e, "2.39")).unwrap();
        }
        let message = load_from(dir.path(), PLATFORM).unwrap_err().message;
        assert!(message.contains("--target x86_64-unknown-linux-gnu.2.34"), "{message}");
        let arm = Platform { architecture: Some(Architecture::Arm64), is_emulated: true };
        let message = load_from(dir.path(), arm).unwrap_err().message;
        assert!(message.contains("--target aarch64-unknown-linux-gnu.2.34"), "{message}");
        assert!(load_from(dir.path(), Platform { is_emulated: true, ..PLATFORM }).is_ok());
        fs::write(dir.path().join("api"), "#!/bin/sh\n").unwrap();
        let message = load_from(dir.path(), PLATFORM).unwrap_err().message;
        assert!(message.contains("neither a Linux binary nor a zip file"), "{message}");
    }
}
