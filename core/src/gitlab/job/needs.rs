//! Translates `needs` and `dependencies`.

use std::rc::Rc;

use super::context::Job;
use crate::gitlab::values;
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::yaml::tree::Node;

impl Job<'_> {
    /// Returns the native names of the needed jobs, and of those among them whose artifacts are not requested.
    pub(crate) fn needs(&mut self) -> (Option<Vec<String>>, Vec<String>) {
        let mut without_artifacts = Vec::new();
        let Some(entry) = self.node.get("needs").filter(|entry| !entry.value.is_null()) else {
            return (None, without_artifacts);
        };
        let path = self.path.key("needs");
        let mut all: Vec<String> = Vec::new();
        for item in values::list(&entry.value) {
            let (natives, with_artifacts) = self.need(item, &path);
            if !with_artifacts {
                without_artifacts.extend(natives.iter().cloned());
            }
            all.extend(natives.into_iter().filter(|native| !all.contains(native)).collect::<Vec<_>>());
        }
        (Some(all), without_artifacts)
    }

    /// Returns the native names of the jobs whose artifacts are requested; `None`: of all dependencies.
    pub(crate) fn dependencies(
        &mut self,
        needs: Option<&[String]>,
        without_artifacts: &[String],
    ) -> Option<Vec<String>> {
        let is_requested = |name: &String| {
            needs.is_none_or(|needs| needs.contains(name)) && !without_artifacts.contains(name)
        };
        let Some(entry) = self.node.get("dependencies").filter(|entry| !entry.value.is_null()) else {
            let all = needs.filter(|_| !without_artifacts.is_empty())?;
            return Some(all.iter().filter(|name| is_requested(name)).cloned().collect());
        };
        let path = self.path.key("dependencies");
        let mut dependencies: Vec<String> = Vec::new();
        for item in values::list(&entry.value) {
            let Some(name) = values::text(item) else {
                self.log.wrong_type(&path, item, "the names of jobs");
                continue;
            };
            let Some(natives) = self.file.names.get(name) else {
                self.log.invalid(
                    &path,
                    item.location,
                    format!("unknown job {} in `dependencies`", quoted(name)),
                );
                continue;
            };
            if needs.is_some_and(|needs| natives.iter().any(|native| !needs.contains(native))) {
                let message =
                    format!("the job does not need {}, but lists it under `dependencies`", quoted(name));
                self.log.invalid(&path, item.location, message);
            }
            dependencies.extend(natives.iter().filter(|name| is_requested(name)).cloned());
        }
        Some(dependencies)
    }

    /// Returns the native names of a needed job, and whether its artifacts are requested.
    pub(crate) fn need(&mut self, item: &Rc<Node>, path: &Path) -> (Vec<String>, bool) {
        let mut artifacts = true;
        let mut need = values::text(item).map(|text| (text, item));
        let mut optional = false;
        for part in values::entries(item) {
            match part.key.as_str() {
                "job" => need = values::text(&part.value).map(|text| (text, &part.value)),
                "optional" => optional = values::flag_of(part, path, self.log).unwrap_or(false),
                "artifacts" => artifacts = values::flag_of(part, path, self.log).unwrap_or(true),
                "parallel" => self.log.ignored(path, part, "all variants of the job are needed"),
                "pipeline" | "project" | "ref" => {
                    if part.key != "ref" {
                        let why = "jobs of other pipelines cannot be needed";
                        self.log.unsupported(
                            path,
                            part,
                            why,
                            "remove it, and fetch the files in the job's script",
                        );
                        return (Vec::new(), true);
                    }
                }
                _ => self.log.unknown_key(
                    path,
                    part,
                    &["job", "artifacts", "optional", "parallel", "pipeline", "project"],
                ),
            }
        }
        let Some((name, node)) = need else {
            self.log.wrong_type(path, item, "the names of jobs, or mappings with `job`");
            return (Vec::new(), true);
        };
        let known = self.file.names.get(name).cloned();
        if known.is_none() && !optional {
            self.log.invalid(path, node.location, format!("there is no job {} to need", quoted(name)));
        }
        (known.unwrap_or_default(), artifacts)
    }
}
