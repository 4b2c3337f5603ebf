//! What a deployment sets for the executions of a repository: its variables, and its login at a registry of images.

use crate::{
    deployment::{Deployment, query_encoded},
    failure::{Failure, Outcome},
    settings::Settings,
};
use indexmap::IndexMap;
use tidemill_core::api::{ExternalVariables, path};

/// Returns what a deployment sets for a repository. `is_protected`: for an execution of a protected branch.
pub async fn of_deployment(
    deployment: &Deployment,
    repo: &str,
    is_protected: bool,
) -> Outcome<ExternalVariables> {
    let path = format!("{}?repo={}&protected={is_protected}", path::VARIABLES, query_encoded(repo));
    deployment.get(&path).await
}

/// Returns what the server of a command without a runtime sets for a repository; nothing if it is this machine, whose records need
/// no server.
pub fn of_server(settings: &Settings, repo: &str, is_protected: bool) -> Outcome<ExternalVariables> {
    if !settings.is_remote() {
        return Ok(ExternalVariables::default());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::system(format!("cannot start threads: {error}")))?;
    let found = runtime.block_on(async {
        let deployment = Deployment::connect(settings).await?;
        let found = of_deployment(&deployment, repo, is_protected).await;
        deployment.close().await;
        found
    });
    found.map_err(|failure| settings.explain(failure))
}

/// Adds the variables that are given for one run, which win.
pub fn add_given(external: &mut ExternalVariables, given: &IndexMap<String, String>) {
    external.hidden.retain(|name| !given.contains_key(name));
    external.of_environments.retain(|name| !given.contains_key(name));
    external.values.extend(given.clone());
}

#[cfg(test)]
mod tests {
    use super::{ExternalVariables, add_given};

    #[test]
    fn given_variables_win_over_those_of_the_repository() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let pairs = |all: &[(&str, &str)]| {
            all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let mut external = ExternalVariables {
            values: pairs(&[("REGION", "north"), ("LEVEL", "1")]),
            hidden: names(&["TOKEN", "KEY"]),
            of_environments: names(&["URL"]),
            registry: Some("registry.example.org".to_owned()),
        };
        add_given(&mut external, &pairs(&[("LEVEL", "2"), ("TOKEN", "t"), ("URL", "u")]));
        let expected = ExternalVariables {
            values: pairs(&[("REGION", "north"), ("LEVEL", "2"), ("TOKEN", "t"), ("URL", "u")]),
            hidden: names(&["KEY"]),
            of_environments: names(&[]),
            registry: Some("registry.example.org".to_owned()),
        };
        assert_eq!(external, expected);
    }
}
