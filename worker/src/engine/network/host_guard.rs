//! Packet filter rules that keep isolated jobs from reaching the machine that they run on.
//!
//! Rules of the `mangle` table drop connections that containers open to any address of this machine: the address of their
//! bridge, other addresses, and published ports, as addresses are translated only afterwards. DNS, the ports that the operator
//! allows, and replies to the machine pass. The rules match bridges by a name prefix that only networks of Tidemill have, so
//! that no other traffic is affected. They are the same for all workers that allow the same ports, and stay when a worker ends,
//! since containers of another may still run.

use super::{
    guard_error::GuardError,
    iptables::{has_ipv6, run},
};
use crate::store::short_hash;

const TABLE: &str = "mangle";

/// Closes this machine to containers on bridges with the returned name prefix. Fails if that is impossible.
pub async fn close(allowed_ports: &[u16]) -> Result<String, GuardError> {
    let mut allowed_ports = allowed_ports.to_vec();
    allowed_ports.sort_unstable();
    allowed_ports.dedup();
    let ports: Vec<String> = allowed_ports.iter().map(u16::to_string).collect();
    // Workers that allow other ports use other bridges.
    let hash = short_hash(&[&ports.join(",")]);
    let hash = hash.get(..4).unwrap_or(&hash);
    let (bridge_prefix, chain) = (format!("tm{hash}-"), format!("TIDEMILL-{hash}"));
    let interface = format!("{bridge_prefix}+");
    let mut rules: Vec<Vec<&str>> = vec![
        vec!["-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "RETURN"],
        vec!["-p", "udp", "--dport", "53", "-j", "RETURN"],
        vec!["-p", "tcp", "--dport", "53", "-j", "RETURN"],
    ];
    rules.extend(ports.iter().map(|port| vec!["-p", "tcp", "--dport", port, "-j", "RETURN"]));
    rules.extend(
        ["LOCAL", "BROADCAST", "MULTICAST"]
            .map(|kind| vec!["-m", "addrtype", "--dst-type", kind, "-j", "DROP"]),
    );
    ensure_chain("iptables", &chain, &interface, &rules).await?;
    if has_ipv6() {
        // The networks have no IPv6, so any packet is unexpected.
        ensure_chain("ip6tables", &chain, &interface, &[vec!["-j", "DROP"]]).await?;
    }
    Ok(bridge_prefix)
}

/// Ensures that packets from `interface` pass through `chain`, and that it has all `rules`.
async fn ensure_chain(
    tool: &str,
    chain: &str,
    interface: &str,
    rules: &[Vec<&str>],
) -> Result<(), GuardError> {
    // The chain may exist already; missing rules are added below.
    let _ = run(tool, TABLE, "-N", &[chain]).await;
    for rule in rules {
        let rule = [&[chain], &rule[..]].concat();
        if run(tool, TABLE, "-C", &rule).await.is_ok() {
            continue;
        }
        run(tool, TABLE, "-A", &rule).await?;
        // Verified: a tool for another kernel may report success without effect.
        run(tool, TABLE, "-C", &rule).await?;
    }
    let jump = ["PREROUTING", "-i", interface, "-j", chain];
    if run(tool, TABLE, "-C", &jump).await.is_err() {
        run(tool, TABLE, "-I", &jump).await?;
        run(tool, TABLE, "-C", &jump).await?;
    }
    Ok(())
}
