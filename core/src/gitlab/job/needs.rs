//! `needs` and `dependencies`.

use std::rc::Rc;

use super::context::Job;
use crate::gitlab::values;
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::yaml::tree::Node;

impl Job<'_> {
    /// Native names of the needed jobs, and of those among them whose artifacts are not wanted.
    pub(crate) fn needs(&mut self) -> (Option<Vec<String>>, Vec<String>) {
        let mut spared = Vec::new();
        let Some(entry) = self.node.get("needs").filter(|entry| !entry.value.is_null()) else {
            return (None, spared);
        };
        let path = self.path.key("needs");
        let mut all: Vec<String> = Vec::new();
        for item in values::list(&entry.value) {
            let (natives, with_artifacts) = self.need(item, &path);
            if !with_artifacts {
                spared.extend(natives.iter().cloned());
            }
            all.extend(natives.into_iter().filter(|native| !all.contains(native)).collect::<Vec<_>>());
        }
        (Some(all), spared)
    }

    /// Native names of the jobs whose artifacts are wanted; `None`: of all that are waited for.
    pub(crate) fn dependencies(
        &mut self,
        needs: Option<&[String]>,
        spared: &[String],
    ) -> Option<Vec<String>> {
        let wanted = |name: &String| needs.is_none_or(|needs| needs.contains(name)) && !spared.contains(name);
        let Some(entry) = self.node.get("dependencies").filter(|entry| !entry.value.is_null()) else {
            let all = needs.filter(|_| !spared.is_empty())?;
            return Some(all.iter().filter(|name| wanted(name)).cloned().collect());
        };
        let path = self.path.key("dependencies");
        let mut named: Vec<String> = Vec::new();
        for item in values::list(&entry.value) {
            let Some(name) = values::text(item) else {
                self.log.wrong_type(&path, item, "the names of jobs");
                continue;
            };
            let Some(natives) = self.file.names.get(name) else {
                self.log.wrong(
                    &path,
                    item.location,
                    format!("there is no job {} to depend on", quoted(name)),
                );
                continue;
            };
            if needs.is_some_and(|needs| natives.iter().any(|native| !needs.contains(native))) {
                let words = format!("the job does not need {}, whose artifacts it is to get", quoted(name));
                self.log.wrong(&path, item.location, words);
            }
            named.extend(natives.iter().filter(|name| wanted(name)).cloned());
        }
        Some(named)
    }

    /// Native names of a needed job, and whether its artifacts are wanted.
    pub(crate) fn need(&mut self, item: &Rc<Node>, path: &Path) -> (Vec<String>, bool) {
        let mut artifacts = true;
        let mut wanted = values::text(item).map(|text| (text, item));
        let mut optional = false;
        for part in values::entries(item) {
            match part.key.as_str() {
                "job" => wanted = values::text(&part.value).map(|text| (text, &part.value)),
                "optional" => optional = values::flag_of(part, path, self.log).unwrap_or(false),
                "artifacts" => artifacts = values::flag_of(part, path, self.log).unwrap_or(true),
                "parallel" => self.log.ignored(path, part, "a job with a matrix is needed as a whole"),
                "pipeline" | "project" | "ref" => {
                    if part.key != "ref" {
                        let why = "jobs of other pipelines cannot be needed";
                        self.log.refused(
                            path,
                            part,
                            why,
                            "remove it, and fetch what the job takes from there",
                        );
                        return (Vec::new(), true);
                    }
                }
                _ => self.log.unknown(
                    path,
                    part,
                    &["job", "artifacts", "optional", "parallel", "pipeline", "project"],
                ),
            }
        }
        let Some((name, node)) = wanted else {
            self.log.wrong_type(path, item, "the names of jobs, or mappings with `job`");
            return (Vec::new(), true);
        };
        let known = self.file.names.get(name).cloned();
        if known.is_none() && !optional {
            self.log.wrong(path, node.location, format!("there is no job {} to need", quoted(name)));
        }
        (known.unwrap_or_default(), artifacts)
    }
}
