//! Reads the requirements of a Linux binary: CPU architecture and glibc version.

use crate::args::Architecture;

/// The glibc version of Amazon Linux 2023, on which functions and workers run.
pub const MAX_GLIBC_VERSION: (u32, u32) = (2, 34);

/// Requirements of a binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requirements {
    /// CPU architecture.
    pub architecture: Architecture,
    /// Minimum glibc version; `None`: statically linked.
    pub glibc: Option<(u32, u32)>,
}

impl Requirements {
    /// Returns the requirements of an ELF binary. `None`: not an ELF binary, or of an architecture that AWS does not offer.
    pub fn of(program: &[u8]) -> Option<Self> {
        let machine = program.get(18..20).filter(|_| program.starts_with(b"\x7fELF"))?;
        let architecture = match machine {
            [0x3e, 0] => Architecture::X86_64,
            [0xb7, 0] => Architecture::Arm64,
            _ => return None,
        };
        Some(Self { architecture, glibc: newest_glibc(program) })
    }

    /// Returns why the binary cannot run on Amazon Linux 2023 with this architecture; `None`: it can.
    pub fn incompatibility(&self, architecture: Architecture) -> Option<String> {
        if self.architecture != architecture {
            return Some(format!("is built for {}, not for {architecture}", self.architecture));
        }
        let (major, minor) = self.glibc.filter(|required| *required > MAX_GLIBC_VERSION)?;
        Some(format!(
            "needs glibc {major}.{minor}, and Amazon Linux 2023 has {}.{}",
            MAX_GLIBC_VERSION.0, MAX_GLIBC_VERSION.1
        ))
    }
}

/// Returns the newest of the symbol versions (such as `GLIBC_2.34`) that the dynamic linker checks.
fn newest_glibc(program: &[u8]) -> Option<(u32, u32)> {
    const GLIBC_SYMBOL_PREFIX: &[u8] = b"\0GLIBC_";
    positions(program, GLIBC_SYMBOL_PREFIX)
        .filter_map(|at| version(&program[at + GLIBC_SYMBOL_PREFIX.len()..]))
        .max()
}

fn positions<'a>(text: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    text.windows(needle.len()).enumerate().filter_map(move |(at, part)| (part == needle).then_some(at))
}

fn version(text: &[u8]) -> Option<(u32, u32)> {
    let end = text.iter().position(|byte| *byte == 0)?;
    let mut parts = std::str::from_utf8(&text[..end]).ok()?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Requirements;
    use crate::args::Architecture;

    fn program(machine: u8, versions: &str) -> Vec<u8> {
        let mut bytes = b"\x7fELF".to_vec();
        bytes.resize(18, 0);
        bytes.extend([machine, 0]);
        bytes.extend(versions.replace(' ', "\0").bytes());
        bytes
    }

    #[test]
    fn required_glibc_is_the_newest_symbol_version() {
        let requirements =
            Requirements::of(&program(0xb7, " GLIBC_2.17 GLIBC_2.34 GLIBC_2.9 GLIBC_PRIVATE ")).unwrap();
        assert_eq!(requirements, Requirements { architecture: Architecture::Arm64, glibc: Some((2, 34)) });
        assert_eq!(requirements.incompatibility(Architecture::Arm64), None);
        assert!(
            requirements.incompatibility(Architecture::X86_64).unwrap().contains("arm64, not for x86_64")
        );
        let newer = Requirements::of(&program(0x3e, " GLIBC_2.39 ")).unwrap();
        assert!(newer.incompatibility(Architecture::X86_64).unwrap().contains("glibc 2.39"));
        assert_eq!(Requirements::of(&program(0x3e, " static ")).unwrap().glibc, None);
    }

    #[test]
    fn other_files_have_no_requirements() {
        for other in [&b"#!/bin/sh\n"[..], b"", b"\x7fELF", &program(0x28, "")] {
            assert_eq!(Requirements::of(other), None);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn test_binary_requires_this_architecture() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let requirements = Requirements::of(&program).unwrap();
        assert_eq!(Some(requirements.architecture), Architecture::of_this_machine());
    }
}
