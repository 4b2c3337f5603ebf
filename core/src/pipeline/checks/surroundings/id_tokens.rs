//! Checks `id_tokens`.

use crate::pipeline::checks::context::{FindingSink, texts};
use crate::pipeline::finding::{Fault, Finding, Path, quoted};
use crate::pipeline::model::{IdTokenRequest, MAX_AUDIENCE_LEN, MAX_ID_TOKENS, SecretRef};
use crate::pipeline::names;
use crate::pipeline::raw::collections::NamedValues;
use crate::pipeline::raw::job_parts::RawIdToken;
use crate::pipeline::references::parse_references;

/// Checks the ID tokens of a job with these secrets, and returns them.
pub(super) fn id_tokens(
    raw: Option<&NamedValues<RawIdToken>>,
    path: &Path,
    secrets: &[SecretRef],
    findings: &mut FindingSink,
) -> Vec<IdTokenRequest> {
    let items = raw.map_or(&[][..], |items| items.0.as_slice());
    if items.len() > MAX_ID_TOKENS {
        let message = format!("{} ID tokens are more than {MAX_ID_TOKENS}, the limit", items.len());
        findings
            .push(Finding::key("out-of-range", path, message).help("name several audiences in one token"));
    }
    let mut all = Vec::with_capacity(items.len());
    for (name, raw) in items {
        let at = path.key(name);
        if !names::is_variable_name(name) {
            let message = format!("{} is not a name of a variable", quoted(name));
            findings.push(
                Finding::key("bad-variable-name", &at, message)
                    .help("use letters, digits and `_`, and no digit at the start"),
            );
        }
        if secrets.iter().any(|secret| secret.variable == *name) {
            let message = format!("{} is the variable of a secret, too", quoted(name));
            findings.push(Finding::key("conflicting-keys", &at, message).help("rename one of the two"));
        }
        let aud = texts(raw.aud.get());
        if raw.aud.is_absent() || raw.aud.get().is_some_and(|aud| aud.0.is_empty()) {
            findings.push(
                Finding::key("missing-key", &at, format!("the ID token {} has no `aud`", quoted(name)))
                    .help("name who verifies it, such as `aud: https://vault.example.org`"),
            );
        }
        if aud.len() > MAX_ID_TOKENS {
            let message = format!("{} audiences are more than {MAX_ID_TOKENS}, the limit", aud.len());
            findings
                .push(Finding::value("out-of-range", &at.key("aud"), message).help("write another token"));
        }
        for text in &aud {
            findings.check(check_audience(text), || at.key("aud"));
        }
        all.push(IdTokenRequest { variable: name.clone(), aud });
    }
    all
}

fn check_audience(text: &str) -> Result<(), Fault> {
    if text.trim().is_empty() || text.len() > MAX_AUDIENCE_LEN {
        let fault = Fault::new("bad-name", format!("must have 1 to {MAX_AUDIENCE_LEN} bytes"));
        return Err(fault.help("name who verifies the token, such as `https://vault.example.org`"));
    }
    if text.contains(char::is_control) {
        return Err(Fault::new("bad-name", "holds a line break or another control character"));
    }
    parse_references(text).map(drop)
}
