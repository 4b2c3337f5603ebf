//! Keeps isolated jobs from the machine that they run on.
//!
//! Rules of the `mangle` table drop what containers begin to send to any address of this machine: that of their bridge, its
//! others, and published ports, as addresses are only translated afterwards. DNS and what the operator allows pass, and so does
//! what answers the machine. The rules name bridges by how their names begin; only networks of Tidemill have such names, so
//! that nothing else on the machine is touched. They are the same for all workers that allow the same ports, and stay when one
//! ends, since containers of another may still run.

use super::metadata_guard::{has_ipv6, run};
use crate::store::short_hash;

const TABLE: &str = "mangle";

/// Closes the machine to containers on bridges whose names begin with what is returned; or says why that cannot be had.
pub async fn close(allowed: &[u16]) -> Result<String, String> {
    let mut allowed = allowed.to_vec();
    allowed.sort_unstable();
    allowed.dedup();
    let ports: Vec<String> = allowed.iter().map(u16::to_string).collect();
    // Workers that allow other ports have other bridges.
    let hash = short_hash(&[&ports.join(",")]);
    let hash = hash.get(..4).unwrap_or(&hash);
    let (bridges, chain) = (format!("tm{hash}-"), format!("TIDEMILL-{hash}"));
    let interface = format!("{bridges}+");
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
    require("iptables", &chain, &interface, &rules).await?;
    if has_ipv6() {
        // The networks have no IPv6: whatever comes is not meant to.
        require("ip6tables", &chain, &interface, &[vec!["-j", "DROP"]]).await?;
    }
    Ok(bridges)
}

/// What comes in from `interface` goes through `chain`, which has `rules`, afterwards.
async fn require(tool: &str, chain: &str, interface: &str, rules: &[Vec<&str>]) -> Result<(), String> {
    // One that is there already is filled up: each rule is looked for below.
    let _ = run(tool, TABLE, "-N", &[chain]).await;
    for rule in rules {
        let rule = [&[chain], &rule[..]].concat();
        if run(tool, TABLE, "-C", &rule).await.is_ok() {
            continue;
        }
        run(tool, TABLE, "-A", &rule).await?;
        // A tool that says yes and does nothing, as one for another kernel may, must not be believed.
        run(tool, TABLE, "-C", &rule).await?;
    }
    let jump = ["PREROUTING", "-i", interface, "-j", chain];
    if run(tool, TABLE, "-C", &jump).await.is_err() {
        run(tool, TABLE, "-I", &jump).await?;
        run(tool, TABLE, "-C", &jump).await?;
    }
    Ok(())
}
