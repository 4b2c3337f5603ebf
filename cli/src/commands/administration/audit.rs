//! `audit`: shows the audit log.

use crate::{
    args::Audit,
    deployment::{Deployment, query_encoded},
    failure::Outcome,
    output::{self, Printable},
    settings::Settings,
};
use std::{fmt::Write as _, io::Write};
use tidemill_core::{
    access::{AuditEntry, AuditList},
    api::path,
};

/// Maximum number of entries per page.
const MAX_PAGE: usize = 200;

/// `tidemill audit`.
pub async fn audit(settings: &Settings, args: &Audit) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let mut entries: Vec<AuditEntry> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let remaining = (args.limit as usize).saturating_sub(entries.len());
        if remaining == 0 {
            break;
        }
        let mut query = format!("?limit={}", remaining.min(MAX_PAGE));
        let filters =
            [("repo", &args.repo), ("who", &args.who), ("action", &args.action), ("cursor", &cursor)];
        for (name, value) in filters {
            if let Some(value) = value {
                let _ = write!(query, "&{name}={}", query_encoded(value));
            }
        }
        let page: AuditList = deployment.get(&format!("{}{query}", path::AUDIT)).await?;
        entries.extend(page.entries);
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    deployment.close().await;
    if args.format.is_json() {
        return Ok(output::print_json(&entries)?);
    }
    let mut out = output::stdout();
    if entries.is_empty() {
        writeln!(out, "no entries")?;
    }
    for entry in &entries {
        let from = entry.from.as_ref().map(|from| format!(" from {}", Printable(from))).unwrap_or_default();
        let repo = entry.repo.as_ref().map(|repo| format!(" of {}", Printable(repo))).unwrap_or_default();
        writeln!(
            out,
            "{}  {} ({}){from}  {} {}{repo}: {}",
            entry.at,
            Printable(&entry.who),
            Printable(&entry.token),
            Printable(&entry.action),
            Printable(&entry.target),
            Printable(&entry.outcome)
        )?;
    }
    Ok(out.flush()?)
}
