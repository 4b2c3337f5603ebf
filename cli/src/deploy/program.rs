//! What a Linux program needs of the machine that it runs on, read from the program itself.

use crate::args::Architecture;

/// The C library of Amazon Linux 2023, on which functions and workers run.
pub const GLIBC: (u32, u32) = (2, 34);

/// What a program needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The processor.
    pub architecture: Architecture,
    /// The oldest C library that will do; `None`: it brings its own.
    pub glibc: Option<(u32, u32)>,
}

impl Needs {
    /// What an ELF program needs; `None`: it is none, or is for a processor that AWS does not have.
    pub fn of(program: &[u8]) -> Option<Self> {
        let machine = program.get(18..20).filter(|_| program.starts_with(b"\x7fELF"))?;
        let architecture = match machine {
            [0x3e, 0] => Architecture::X86_64,
            [0xb7, 0] => Architecture::Arm64,
            _ => return None,
        };
        Some(Self { architecture, glibc: newest_glibc(program) })
    }

    /// Why the program cannot run on Amazon Linux 2023 with this processor; `None`: it can.
    pub fn hindrance(&self, architecture: Architecture) -> Option<String> {
        if self.architecture != architecture {
            return Some(format!("is built for {}, not for {architecture}", self.architecture));
        }
        let (major, minor) = self.glibc.filter(|needed| *needed > GLIBC)?;
        Some(format!("needs glibc {major}.{minor}, and Amazon Linux 2023 has {}.{}", GLIBC.0, GLIBC.1))
    }
}

/// The newest version among the names of symbol versions (`GLIBC_2.34`) that the dynamic linker reads.
fn newest_glibc(program: &[u8]) -> Option<(u32, u32)> {
    const NAME: &[u8] = b"\0GLIBC_";
    memchr_all(program, NAME).filter_map(|at| version(&program[at + NAME.len()..])).max()
}

fn memchr_all<'a>(text: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    text.windows(wanted.len()).enumerate().filter_map(move |(at, part)| (part == wanted).then_some(at))
}

fn version(text: &[u8]) -> Option<(u32, u32)> {
    let end = text.iter().position(|byte| *byte == 0)?;
    let mut parts = std::str::from_utf8(&text[..end]).ok()?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Needs;
    use crate::args::Architecture;

    fn program(machine: u8, versions: &str) -> Vec<u8> {
        let mut bytes = b"\x7fELF".to_vec();
        bytes.resize(18, 0);
        bytes.extend([machine, 0]);
        bytes.extend(versions.replace(' ', "\0").bytes());
        bytes
    }

    #[test]
    fn the_newest_library_that_is_asked_for_counts() {
        let needs = Needs::of(&program(0xb7, " GLIBC_2.17 GLIBC_2.34 GLIBC_2.9 GLIBC_PRIVATE ")).unwrap();
        assert_eq!(needs, Needs { architecture: Architecture::Arm64, glibc: Some((2, 34)) });
        assert_eq!(needs.hindrance(Architecture::Arm64), None);
        assert!(needs.hindrance(Architecture::X86_64).unwrap().contains("arm64, not for x86_64"));
        let newer = Needs::of(&program(0x3e, " GLIBC_2.39 ")).unwrap();
        assert!(newer.hindrance(Architecture::X86_64).unwrap().contains("glibc 2.39"));
        assert_eq!(Needs::of(&program(0x3e, " static ")).unwrap().glibc, None);
    }

    #[test]
    fn what_is_no_program_of_linux_is_told_apart() {
        for other in [&b"#!/bin/sh\n"[..], b"", b"\x7fELF", &program(0x28, "")] {
            assert_eq!(Needs::of(other), None);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_very_program_is_read() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let needs = Needs::of(&program).unwrap();
        assert_eq!(Some(needs.architecture), Architecture::of_this_machine());
    }
}
