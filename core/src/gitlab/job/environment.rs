//! Translates `environment`.

use serde_yaml::{Mapping, Value};

use super::duration;
use super::services::reference_or_empty;
use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::gitlab::variables::Scope;
use crate::pipeline::EnvironmentAction;
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::yaml::tree::MapEntry;

/// The keys that say what the job does with the environment, and how it is stopped.
#[derive(Default)]
struct StopKeys {
    action: Option<String>,
    on_stop: Option<String>,
    auto_stop_in: Option<String>,
    tier: Option<String>,
}

impl StopKeys {
    fn read(&mut self, part: &MapEntry, path: &Path, scope: &Scope, log: &mut Log) {
        let text = values::text(&part.value).unwrap_or_default();
        let is_auto_stop = part.key == "auto_stop_in";
        let known = scope.expand(text);
        // A rule may set the variable, and one that nobody sets is never.
        let late = |unknown| {
            let late = || scope.without_unset(text, Scope::references).map(|without| without.text);
            if is_auto_stop { late() } else { Err(unknown) }
        };
        let text = match known.or_else(late) {
            Ok(text) => text,
            Err(unknown) => {
                let what = format!("`{}`", part.key);
                let why = format!("`{unknown}` is not known before the job runs");
                let at = path.key(&part.key);
                log.unsupported_at(&at, part.value.location, &what, &why, "write the value directly");
                return;
            }
        };
        match part.key.as_str() {
            "action" => self.action = Some(text).filter(|action| action != "start"),
            "on_stop" => self.on_stop = Some(text),
            "auto_stop_in" if text == "never" || text.trim().is_empty() => {}
            "auto_stop_in" if text.contains("${") => self.auto_stop_in = Some(text),
            "auto_stop_in" => {
                if let Some(seconds) = duration::seconds(&text) {
                    self.auto_stop_in = Some(duration::native(seconds));
                } else {
                    let message = format!("{} is not a duration", quoted(&text));
                    log.invalid(&path.key("auto_stop_in"), part.value.location, message);
                }
            }
            _ => self.tier = Some(text),
        }
    }

    /// Writes the keys that have a meaning with the action.
    fn write(self, all: &mut Mapping) {
        let is = |action: EnvironmentAction| self.action.as_deref() == Some(action.name());
        let (on_stop, auto_stop_in) = match &self.action {
            None => (self.on_stop, self.auto_stop_in),
            Some(_) if is(EnvironmentAction::Stop) => (None, None),
            Some(_) => (None, self.auto_stop_in),
        };
        let keys = [
            ("action", self.action),
            ("on_stop", on_stop),
            ("auto_stop_in", auto_stop_in),
            ("tier", self.tier),
        ];
        all.extend(keys.into_iter().filter_map(|(key, value)| Some((key.into(), value?.into()))));
    }
}

/// Translates `environment`: a name, or a mapping.
pub(crate) fn environment(entry: &MapEntry, path: &Path, scope: &Scope, log: &mut Log) -> Option<Value> {
    let path = path.key("environment");
    let mut name = Some(&entry.value);
    let mut url = None;
    let mut stop = StopKeys::default();
    if values::is_mapping(&entry.value) {
        // Without a name, which is reported, the keys are probably variables.
        entry.value.get("name")?;
        name = None;
        for part in values::entries(&entry.value) {
            match part.key.as_str() {
                "name" => name = Some(&part.value),
                "url" => url = Some(&part.value),
                "action" | "on_stop" | "auto_stop_in" | "deployment_tier" => {
                    stop.read(part, &path, scope, log);
                }
                "kubernetes" => log.ignored(&path, part, "there is no cluster"),
                _ => log.unknown_key(
                    &path,
                    part,
                    &["name", "url", "action", "on_stop", "auto_stop_in", "deployment_tier", "kubernetes"],
                ),
            }
        }
    }
    let Some((text, node)) = name.and_then(|node| values::text(node).map(|text| (text, node))) else {
        log.wrong_type(&path, &entry.value, "a name, or a mapping with `name`");
        return None;
    };
    let mut all = Mapping::new();
    all.insert("name".into(), reference_or_empty(text, node, &path.key("name"), scope, log)?.into());
    if let Some((text, node)) = url.and_then(|node| values::text(node).map(|text| (text, node))) {
        let is_address =
            |text: &str| ["https://", "http://", "${"].iter().any(|start| text.starts_with(start));
        match scope.late_references(text) {
            Ok(address) if is_address(&address) || !text.contains('$') => {
                all.insert("url".into(), address.into());
            }
            Ok(_) => {
                let why = "the variables in it are not set, so that it is no address";
                log.ignored_at(&path.key("url"), node.location, "`url`", why);
            }
            Err(unknown) => {
                let why = format!("`{unknown}` is not known before the job runs");
                log.ignored_at(&path.key("url"), node.location, "`url`", &why);
            }
        }
    }
    stop.write(&mut all);
    Some(Value::Mapping(all))
}
