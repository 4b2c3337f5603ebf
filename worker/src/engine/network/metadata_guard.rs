//! Packet filter rules that keep job containers from instance metadata, and so from the credentials of the machine's role.
//!
//! Rules of the `raw` table drop packets from the engine's bridge to the metadata addresses before routing. They hold whether
//! the address is on this machine or behind it, with any of the engine's own rules (its chains, `DOCKER-PROXY_USER` among
//! them, belong to the `filter` table, depend on the engine's version and settings, and do not see what this machine itself
//! answers), and after the engine restarts. Packets of the machine's own processes, such as this worker, do not come from the
//! bridge and are not affected. The rules are the same for all workers of a machine and stay when one ends, since containers
//! of another may still run.

use super::{
    bridge::BridgeNetwork,
    guard_error::GuardError,
    iptables::{has_ipv6, run},
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of the instance metadata service.
pub const METADATA_ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];
const TABLE: &str = "raw";

/// Blocks `addresses` for containers on `bridge`. Fails if that is impossible.
pub async fn block(bridge: &BridgeNetwork, addresses: &[IpAddr]) -> Result<(), GuardError> {
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
        // Verified: a tool for another kernel may report success without effect.
        run(tool, TABLE, "-C", &rule).await?;
    }
    Ok(())
}
