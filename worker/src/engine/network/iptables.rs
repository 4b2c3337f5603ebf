//! Runs `iptables` and `ip6tables`.

use super::guard_error::GuardError;
use std::process::Stdio;
use tokio::process::Command;

/// Seconds to wait while another process changes rules.
const IPTABLES_WAIT_S: &str = "10";

/// Whether this machine has IPv6.
pub fn has_ipv6() -> bool {
    std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|interfaces| !interfaces.is_empty())
}

/// Runs `tool`, which is `iptables` or `ip6tables`.
pub async fn run(tool: &str, table: &str, action: &str, rule: &[&str]) -> Result<(), GuardError> {
    let mut command = Command::new(tool);
    command.args(["-w", IPTABLES_WAIT_S, "-t", table, action]).args(rule).stdin(Stdio::null());
    let output = match command.output().await {
        Ok(output) => output,
        Err(error) => return Err(GuardError::NoTool { tool: tool.to_owned(), error }),
    };
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
    Err(GuardError::Rule { command: format!("{tool} -t {table} {action} {}", rule.join(" ")), message })
}
