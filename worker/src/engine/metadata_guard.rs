//! Keeps job containers from instance metadata, and so from the credentials of the machine's role.
//!
//! Rules of the `raw` table drop what comes in from the engine's bridge for the metadata addresses, before anything is
//! routed. That holds whether the address is on this machine or behind it, with any of the engine's own rules (its chains,
//! `DOCKER-PROXY_USER` among them, are of the `filter` table, come and go with the engine's version and settings, and do not see
//! what this machine itself answers), and after the engine starts again. The machine's own processes, this worker
//! among them, do not come in from the bridge and are not touched. The rules are the same for all workers of a machine and
//! stay when one ends, since containers of another may still run.

use super::BridgeNetwork;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::Stdio,
};
use tokio::process::Command;

/// Where instances find their metadata.
pub const METADATA: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];
/// Seconds to wait for whoever else changes rules.
const IPTABLES_WAIT_S: &str = "10";
const TABLE: &str = "raw";

/// Containers on `bridge` cannot reach `addresses` afterwards; or why that cannot be had.
pub async fn block(bridge: &BridgeNetwork, addresses: &[IpAddr]) -> Result<(), String> {
    for address in addresses {
        let tool = match address {
            IpAddr::V4(_) => "iptables",
            IpAddr::V6(_) if has_ipv6() => "ip6tables",
            IpAddr::V6(_) => continue,
        };
        let address = address.to_string();
        let rule = ["PREROUTING", "-i", &bridge.interface, "-d", &address, "-j", "DROP"];
        if run(tool, TABLE, "-C", &rule).await.is_ok() {
            continue;
        }
        run(tool, TABLE, "-I", &rule).await?;
        // A tool that says yes and does nothing, as one for another kernel may, must not be believed.
        run(tool, TABLE, "-C", &rule).await?;
    }
    Ok(())
}

/// Whether this machine speaks IPv6 at all.
pub(crate) fn has_ipv6() -> bool {
    std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|interfaces| !interfaces.is_empty())
}

/// Runs `iptables` or `ip6tables`.
pub(crate) async fn run(tool: &str, table: &str, action: &str, rule: &[&str]) -> Result<(), String> {
    let mut command = Command::new(tool);
    command.args(["-w", IPTABLES_WAIT_S, "-t", table, action]).args(rule).stdin(Stdio::null());
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
    Err(format!("`{tool} -t {table} {action} {}` failed: {words}", rule.join(" ")))
}
