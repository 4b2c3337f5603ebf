//! Checks the table of masked encodings in docs/secrets.md with real programs.

use std::{path::Path, process::Command};
use tidemill_worker::mask::{MaskStream, SecretMask};

/// Pairs of secrets that differ in letters and digits only, so that programs escape both alike.
const PAIRS: [[&str; 2]; 2] = [
    ["tk-s3cr3t/Va'l\"ue+&<b>$HOME\\w% z,é9", "qm-d7bn8k/Xo'h\"yj+&<b>$HOME\\w% z,ü4"],
    [
        "-----BEGIN KEY-----\nMIIEow+AAK/CAQ'EA x7\n  \"id\": \"4f2c\",\n-----END KEY-----",
        "-----BEGIN KEY-----\nQUJKdz+GHT/XWR'OL v3\n  \"id\": \"9b8e\",\n-----END KEY-----",
    ],
];

struct Row {
    needs: String,
    command: String,
    is_masked: bool,
}

fn rows() -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/secrets.md");
    let text = std::fs::read_to_string(path).unwrap();
    let table =
        text.split_once("<!-- masking -->\n").unwrap().1.split_once("<!-- end of masking -->").unwrap().0;
    let row = |line: &str| {
        let line = line.replace("\\|", "\u{0}");
        let cells: Vec<String> = line
            .trim_matches('|')
            .split(" | ")
            .map(|cell| cell.trim().trim_matches('`').replace('\u{0}', "|"))
            .collect();
        let [needs, command, masked] =
            cells.try_into().unwrap_or_else(|cells| panic!("three cells: {cells:?}"));
        assert!(masked == "yes" || masked == "no", "{masked}");
        Row { needs, command, is_masked: masked == "yes" }
    };
    table.lines().skip(2).map(row).collect()
}

fn printed(command: &str, directory: &Path, secret: &str) -> Vec<u8> {
    let mut shell = Command::new("bash");
    shell.args(["-c", command]).current_dir(directory).env_clear();
    for name in ["PATH", "HOME"] {
        shell.env(name, std::env::var_os(name).unwrap_or_default());
    }
    let output = shell.envs([("SECRET", secret), ("LC_ALL", "C.UTF-8"), ("PWD", "/")]).output().unwrap();
    assert!(output.status.success() && !output.stdout.is_empty(), "{command}: {output:?}");
    output.stdout
}

fn masked(mask: &SecretMask, bytes: &[u8], size: usize) -> String {
    let mut stream = MaskStream::default();
    let mut masked_output: Vec<u8> =
        bytes.chunks(size).flat_map(|chunk| mask.push(&mut stream, chunk)).collect();
    masked_output.extend(mask.finish(&mut stream));
    String::from_utf8_lossy(&masked_output).into_owned()
}

#[test]
fn documented_masking_table_is_correct() {
    let rows = rows();
    assert!(rows.iter().filter(|row| row.is_masked).count() >= 49, "{} rows", rows.len());
    let mut wrong = Vec::new();
    // One directory for all rows, as some programs print its name.
    let directory = tempfile::tempdir().unwrap();
    for Row { needs, command, is_masked } in &rows {
        let is_available =
            Command::new("sh").args(["-c", &format!("command -v {needs} >/dev/null")]).status().unwrap();
        if !is_available.success() {
            eprintln!("skipped, as {needs} is not installed: {command}");
            continue;
        }
        let mut leaks = false;
        for pair in PAIRS {
            let masked_output = pair.map(|secret| {
                let (mask, bytes) =
                    (SecretMask::new([secret]).unwrap(), printed(command, directory.path(), secret));
                let masked_output = masked(&mask, &bytes, 1 << 16);
                for size in [1, 7] {
                    assert_eq!(masked(&mask, &bytes, size), masked_output, "{command} in chunks of {size}");
                }
                masked_output
            });
            leaks |= masked_output[0] != masked_output[1] || !masked_output[0].contains("[masked]");
            if *is_masked && leaks {
                wrong.push(format!("{command}\n{}\n{}", masked_output[0], masked_output[1]));
                break;
            }
        }
        if !*is_masked && !leaks {
            wrong.push(format!("{command}\nis masked, but documented as not masked"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n---\n"));
}
