//! The `tidemill` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidemill_cli::main()
}
