//! Translates `id_tokens`.

use serde_yaml::{Mapping, Value};

use super::services::{reference, sequence};
use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::gitlab::variables::Scope;
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::yaml::tree::MapEntry;

/// Returns the native `id_tokens`.
pub(super) fn id_tokens(entry: &MapEntry, path: &Path, scope: &Scope, log: &mut Log) -> Option<Value> {
    let path = path.key("id_tokens");
    let mut all = Mapping::new();
    for token in values::entries(&entry.value) {
        let at = path.key(&token.key);
        let Some(aud) = token.value.get("aud").filter(|aud| !aud.value.is_null()) else {
            let message = format!("the ID token {} has no `aud`", quoted(&token.key));
            log.invalid(&at, token.key_location, message);
            continue;
        };
        for part in values::entries(&token.value).iter().filter(|part| part.key != "aud") {
            log.unknown_key(&at, part, &["aud"]);
        }
        let at = at.key("aud");
        let texts = values::texts(&aud.value, &at, log);
        let texts: Vec<String> =
            texts.into_iter().filter_map(|(text, node)| reference(text, node, &at, scope, log)).collect();
        let mut body = Mapping::new();
        body.insert("aud".into(), sequence(texts));
        all.insert(token.key.clone().into(), body.into());
    }
    (!all.is_empty()).then_some(Value::Mapping(all))
}
