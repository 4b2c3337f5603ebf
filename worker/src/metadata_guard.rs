//! Keeps job containers from instance metadata, and so from the credentials of the machine's role.
//!
//! Rules of the `raw` table drop what comes in from the engine's bridge for the metadata addresses, before anything is
//! routed. That holds whether the address is on this machine or behind it, with any of the engine's own rules (its chains,
//! `DOCKER-USER` among them, are of the `filter` table, come and go with the engine's version and settings, and do not see
//! what this machine itself answers), and after the engine starts again. The machine's own processes, this worker
//! among them, do not come in from the bridge and are not touched. The rules are the same for all workers of a machine and
//! stay when one ends, since containers of another may still run.

use crate::engine::Bridge;
use std::process::Stdio;
use tokio::process::Command;

/// The tools, and where each address family's metadata is.
const FAMILIES: [(&str, &str); 2] = [("iptables", "169.254.169.254/32"), ("ip6tables", "fd00:ec2::254/128")];
/// Seconds to wait for whoever else changes rules.
const WAIT_S: &str = "10";

/// Containers on `bridge` cannot reach instance metadata afterwards; or why that cannot be had.
pub async fn block(bridge: &Bridge) -> Result<(), String> {
    for (tool, address) in FAMILIES {
        if tool == "ip6tables" && !has_ipv6() {
            continue;
        }
        let rule = ["PREROUTING", "-i", &bridge.interface, "-d", address, "-j", "DROP"];
        if run(tool, "-C", &rule).await.is_ok() {
            continue;
        }
        run(tool, "-I", &rule).await?;
        // A tool that says yes and does nothing, as one for another kernel may, must not be believed.
        run(tool, "-C", &rule).await?;
    }
    Ok(())
}

/// Whether this machine speaks IPv6 at all.
fn has_ipv6() -> bool {
    std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|interfaces| !interfaces.is_empty())
}

async fn run(tool: &str, action: &str, rule: &[&str]) -> Result<(), String> {
    let mut command = Command::new(tool);
    command.args(["-w", WAIT_S, "-t", "raw", action]).args(rule).stdin(Stdio::null());
    let done = match command.output().await {
        Ok(done) => done,
        Err(error) => {
            return Err(format!("`{tool}` cannot be run: {error}; install it, and run the worker as root"));
        }
    };
    if done.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&done.stderr).trim().replace('\n', " ");
    Err(format!("`{tool} -t raw {action} {}` failed: {words}", rule.join(" ")))
}
