//! The template and its parameters: values to set, and values that the stack keeps.

use super::tokens;
use crate::{
    args::{ApiKind, Deploy, Role},
    failure::{Failure, Outcome},
};
use std::collections::BTreeMap;

/// The template that this version deploys.
pub const TEMPLATE: &str = include_str!("../../../infra/template.yml");

/// Parameters by name.
pub type ParameterValues = BTreeMap<String, String>;

const ADMIN_HASH_PARAMETER: &str = "AdminTokenSha256";
const WORKER_HASH_PARAMETER: &str = "WorkerTokenSha256";

/// The setting of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterSetting {
    /// A new value.
    Value(String),
    /// The stack's current value.
    Previous,
}

/// New tokens.
#[derive(Default)]
pub struct NewTokens {
    /// For users.
    pub admin: Option<String>,
    /// For workers.
    pub worker: Option<String>,
}

/// Returns the names of all template parameters, in order.
pub fn names() -> Vec<&'static str> {
    let section = TEMPLATE.lines().skip_while(|line| *line != "Parameters:").skip(1);
    section
        .take_while(|line| line.is_empty() || line.starts_with([' ', '#']))
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
        .filter(|name| name.chars().all(char::is_alphanumeric))
        .collect()
}

/// Returns the parameters that the arguments set.
pub fn from_arguments(args: &Deploy) -> Outcome<ParameterValues> {
    let mut values = ParameterValues::from([("Name".to_owned(), args.stack.name.clone())]);
    let mut set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            values.insert(name.to_owned(), value);
        }
    };
    set("Architecture", args.arch.map(|arch| arch.to_string()));
    let api = args.api.map(|kind| match kind {
        ApiKind::Http => "http",
        ApiKind::Rest => "rest",
    });
    set("ApiKind", api.map(str::to_owned));
    set("MaxWorkers", args.max_workers.map(|count| count.to_string()));
    set("MinWorkers", args.min_workers.map(|count| count.to_string()));
    set("WorkerInstanceType", args.instance_type.clone());
    set("WorkerSlots", args.jobs.map(|count| count.to_string()));
    set("SpotShare", args.spot_share.map(|percent| percent.to_string()));
    set("VpcId", args.vpc.clone());
    set("SubnetIds", (!args.subnets.is_empty()).then(|| args.subnets.join(",")));
    set("LogDays", args.log_days.map(|days| days.to_string()));
    set("RecordDays", args.record_days.map(|days| days.to_string()));
    set("ArtifactDays", args.artifact_days.map(|days| days.to_string()));
    set("AlarmEmail", args.alarm_email.clone());
    set("DomainName", args.domain.clone());
    set("CertificateArn", args.certificate.clone());
    set("VpcEndpointId", args.vpc_endpoint.clone());
    set("PermissionsBoundary", args.rights.permissions_boundary.clone());
    let names = names();
    for (name, value) in &args.parameters {
        if !names.contains(&name.as_str()) {
            return Err(Failure::usage(format!(
                "--parameter {name}: no such template parameter; the parameters are {}",
                names.join(", ")
            )));
        }
        set(name, Some(value.clone()));
    }
    Ok(values)
}

/// Returns how many workers the deployment may start, of its own group and of all pools: as `values` set it, and otherwise as it is now.
pub fn max_workers(values: &ParameterValues, current: Option<&ParameterValues>) -> f64 {
    let value = |name: String| values.get(&name).or_else(|| current?.get(&name));
    let count = |pool: &str| value(format!("MaxWorkers{pool}")).and_then(|count| count.parse::<u32>().ok());
    // A pool without labels has no workers.
    let is_used = |pool: &&str| {
        pool.is_empty() || value(format!("Labels{pool}")).is_some_and(|labels| !labels.trim().is_empty())
    };
    ["", "A", "B", "C"].iter().copied().filter(is_used).filter_map(count).sum::<u32>().into()
}

/// Creates both tokens for a new deployment, otherwise those to rotate, and adds their hashes to `values`.
pub fn create_tokens(
    args: &Deploy,
    current: Option<&ParameterValues>,
    values: &mut ParameterValues,
) -> Outcome<NewTokens> {
    let mut created = NewTokens::default();
    for (role, name, token) in [
        (Role::Admin, ADMIN_HASH_PARAMETER, &mut created.admin),
        (Role::Worker, WORKER_HASH_PARAMETER, &mut created.worker),
    ] {
        let hashes = current.and_then(|current| current.get(name)).map_or("", String::as_str);
        if values.contains_key(name) {
            // The user set the hashes with --parameter.
        } else if current.is_none() || args.rotate_token.contains(&role) {
            let new = tokens::generate()?;
            let kept = if args.drop_old_tokens { "" } else { hashes };
            values.insert(name.to_owned(), tokens::rotated_hashes(&new, kept));
            *token = Some(new);
        } else if args.drop_old_tokens {
            values.insert(name.to_owned(), tokens::newest_hash(hashes).to_owned());
        }
    }
    if let Some(token) = &created.worker {
        values.entry("WorkerToken".to_owned()).or_insert_with(|| token.clone());
    }
    Ok(created)
}

/// Returns the parameter settings to send: `values`, and the stack's current values of the others. Parameters that are in neither
/// take their defaults.
pub fn settings(
    values: &ParameterValues,
    current: Option<&ParameterValues>,
) -> BTreeMap<&'static str, ParameterSetting> {
    let setting = |name: &str| match values.get(name) {
        Some(value) => Some(ParameterSetting::Value(value.clone())),
        None => {
            current.is_some_and(|current| current.contains_key(name)).then_some(ParameterSetting::Previous)
        }
    };
    names().into_iter().filter_map(|name| Some((name, setting(name)?))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{
        ParameterSetting, ParameterValues, create_tokens, from_arguments, max_workers, names, settings,
    };
    use crate::{
        args::{Cli, Command, Deploy},
        deploy::tokens::hash,
    };
    use clap::Parser;

    fn args(text: &str) -> Deploy {
        let arguments = ["tidemill", "deploy"].into_iter().chain(text.split_whitespace());
        match Cli::try_parse_from(arguments).unwrap().command {
            Command::Deploy(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn map(pairs: &[(&str, &str)]) -> ParameterValues {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn workers_of_pools_and_of_the_stack_as_it_is_count() {
        let values = |pairs: &[(&str, &str)]| -> ParameterValues {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let current = values(&[
            ("MaxWorkers", "2"),
            ("MaxWorkersA", "3"),
            ("LabelsA", "gpu=true"),
            ("MaxWorkersB", "9"),
        ]);
        let count = |new: &[(&str, &str)], current| max_workers(&values(new), current).to_string();
        assert_eq!(count(&[], None), "0");
        assert_eq!(count(&[("MaxWorkers", "4")], None), "4");
        assert_eq!(count(&[], Some(&current)), "5", "an update keeps what it does not name");
        assert_eq!(count(&[("MaxWorkers", "0")], Some(&current)), "3");
        assert_eq!(count(&[("LabelsB", "arch=arm64")], Some(&current)), "14");
    }

    #[test]
    fn template_parameters_are_found() {
        let names = names();
        for name in ["Name", "CodePrefix", "WorkerToken", "SubnetIds", "Tracing"] {
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
        assert!(!names.contains(&"OnDemand") && !names.contains(&"Default"), "{names:?}");
    }

    #[test]
    fn every_argument_sets_a_template_parameter() {
        let all = args(
            "--name ci --arch arm64 --api rest --max-workers 4 --min-workers 1 --instance-type m7g.large --jobs 3 \
             --spot-share 50 --vpc vpc-12345678 --subnets subnet-1,subnet-2 --log-days 1 --record-days 2 \
             --artifact-days 3 --alarm-email a@example.org --domain ci.example.org --certificate arn:aws:acm:x \
             --permissions-boundary arn:aws:iam::aws:policy/x --parameter Tracing=on \
             --parameter VpcEndpointId=vpce-1",
        );
        let values = from_arguments(&all).unwrap();
        assert_eq!(values.len(), 19, "{values:?}");
        assert_eq!(values["SubnetIds"], "subnet-1,subnet-2");
        assert_eq!(settings(&values, None).len(), values.len(), "a parameter is not in the template");
    }

    #[test]
    fn terraform_module_sets_parameters_of_the_template_and_has_every_function() {
        let module = include_str!("../../../infra/terraform/main.tf");
        let set = module.split("parameters = merge(").nth(1).unwrap().split('}').next().unwrap();
        let set: Vec<&str> =
            set.lines().filter_map(|line| line.split_once(" = ").map(|(name, _)| name.trim())).collect();
        assert!(set.len() > 5, "{set:?}");
        let names = names();
        assert!(set.iter().all(|name| names.contains(name)), "{set:?}");
        for function in crate::deploy::functions::NAMES {
            assert!(module.contains(&format!("\"{function}\"")), "{function}");
        }
        assert!(super::TEMPLATE.contains("\n  Endpoint:\n"), "an output of the module");
    }

    #[test]
    fn unknown_parameter_is_rejected() {
        let message = from_arguments(&args("--parameter Tracingg=on")).unwrap_err().message;
        assert!(message.contains("Tracingg") && message.contains("Tracing"), "{message}");
    }

    #[test]
    fn update_keeps_other_values_and_drops_removed_parameters() {
        let current = map(&[("Name", "tidemill"), ("ApiKind", "rest"), ("Gone", "x"), ("LogDays", "9")]);
        let sent = settings(&from_arguments(&args("--log-days 7")).unwrap(), Some(&current));
        assert_eq!(sent["LogDays"], ParameterSetting::Value("7".to_owned()));
        assert_eq!(sent["ApiKind"], ParameterSetting::Previous);
        assert!(!sent.contains_key("Gone") && !sent.contains_key("MaxWorkers"), "{sent:?}");
    }

    #[test]
    fn tokens_are_created_once_and_set_by_hash() {
        let mut first = ParameterValues::new();
        let created = create_tokens(&args(""), None, &mut first).unwrap();
        let (admin, worker) = (created.admin.unwrap(), created.worker.unwrap());
        assert_eq!(first["AdminTokenSha256"], hash(&admin));
        assert_eq!(first["WorkerTokenSha256"], hash(&worker));
        assert_eq!(first["WorkerToken"], worker);
        assert_eq!(first.len(), 3);

        let mut update = ParameterValues::new();
        let created = create_tokens(&args(""), Some(&first), &mut update).unwrap();
        assert!(created.admin.is_none() && created.worker.is_none() && update.is_empty());
    }

    #[test]
    fn rotated_token_keeps_the_old_one_until_it_is_dropped() {
        let current =
            map(&[("AdminTokenSha256", "old"), ("WorkerTokenSha256", "w"), ("WorkerToken", "****")]);
        let mut values = ParameterValues::new();
        let created = create_tokens(&args("--rotate-token admin"), Some(&current), &mut values).unwrap();
        let hashes = format!("{},old", hash(created.admin.unwrap()));
        assert_eq!(values, map(&[("AdminTokenSha256", &hashes)]));

        let current = map(&[("AdminTokenSha256", &hashes), ("WorkerTokenSha256", "w")]);
        let mut values = ParameterValues::new();
        create_tokens(&args("--drop-old-tokens"), Some(&current), &mut values).unwrap();
        assert_eq!(values["AdminTokenSha256"], hashes.split(',').next().unwrap());
        assert_eq!(values["WorkerTokenSha256"], "w");

        // Both at once: only the new token is valid.
        let mut values = ParameterValues::new();
        let created =
            create_tokens(&args("--rotate-token worker --drop-old-tokens"), Some(&current), &mut values)
                .unwrap();
        let worker = created.worker.unwrap();
        assert_eq!(values["WorkerTokenSha256"], hash(&worker));
        assert_eq!(values["WorkerToken"], worker);
    }
}
