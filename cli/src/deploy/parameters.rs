//! The template and its parameters: which are set anew, and which stay as the stack has them.

use super::tokens;
use crate::{
    args::{ApiKind, Deploy, Role},
    failure::{Failure, Outcome},
};
use std::collections::BTreeMap;

/// The template that this version deploys.
pub const TEMPLATE: &str = include_str!("../../../infra/template.yml");

/// Parameters by name.
pub type Values = BTreeMap<String, String>;

const ADMIN_HASH: &str = "AdminTokenSha256";
const WORKER_HASH: &str = "WorkerTokenSha256";

/// What a parameter is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// This.
    Value(String),
    /// What it was.
    Previous,
}

/// Tokens that were made just now.
#[derive(Default)]
pub struct Tokens {
    /// Of users.
    pub admin: Option<String>,
    /// Of workers.
    pub worker: Option<String>,
}

/// Names of all parameters of the template, in its order.
pub fn names() -> Vec<&'static str> {
    let section = TEMPLATE.lines().skip_while(|line| *line != "Parameters:").skip(1);
    section
        .take_while(|line| line.is_empty() || line.starts_with([' ', '#']))
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
        .filter(|name| name.chars().all(char::is_alphanumeric))
        .collect()
}

/// What the arguments say. What they do not say is absent.
pub fn told(args: &Deploy) -> Outcome<Values> {
    let mut told = Values::from([("Name".to_owned(), args.place.name.clone())]);
    let mut set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            told.insert(name.to_owned(), value);
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
    set("WorkerSlots", args.slots.map(|count| count.to_string()));
    set("SpotShare", args.spot_share.map(|percent| percent.to_string()));
    set("VpcId", args.vpc.clone());
    set("SubnetIds", (!args.subnets.is_empty()).then(|| args.subnets.join(",")));
    set("LogDays", args.log_days.map(|days| days.to_string()));
    set("RecordDays", args.record_days.map(|days| days.to_string()));
    set("ArtifactDays", args.artifact_days.map(|days| days.to_string()));
    set("AlarmEmail", args.alarm_email.clone());
    let known = names();
    for (name, value) in &args.parameters {
        if !known.contains(&name.as_str()) {
            return Err(Failure::usage(format!(
                "--parameter {name}: the template has no such parameter; it has {}",
                known.join(", ")
            )));
        }
        set(name, Some(value.clone()));
    }
    Ok(told)
}

/// Makes the tokens that are wanted: both for a new deployment, else those that are to be replaced. Puts what the stack
/// must know of them into `told`.
pub fn make_tokens(args: &Deploy, before: Option<&Values>, told: &mut Values) -> Outcome<Tokens> {
    let mut made = Tokens::default();
    for (role, name, token) in
        [(Role::Admin, ADMIN_HASH, &mut made.admin), (Role::Worker, WORKER_HASH, &mut made.worker)]
    {
        let known = before.and_then(|before| before.get(name)).map_or("", String::as_str);
        if told.contains_key(name) {
            // The caller keeps tokens of their own.
        } else if before.is_none() || args.rotate_token.contains(&role) {
            let new = tokens::make()?;
            let known = if args.drop_old_tokens { "" } else { known };
            told.insert(name.to_owned(), tokens::rotated(&new, known));
            *token = Some(new);
        } else if args.drop_old_tokens {
            told.insert(name.to_owned(), tokens::newest(known).to_owned());
        }
    }
    if let Some(token) = &made.worker {
        told.entry("WorkerToken".to_owned()).or_insert_with(|| token.clone());
    }
    Ok(made)
}

/// What to send: all that is told, and of the rest what the stack has. What neither knows takes its default.
pub fn settings(told: &Values, before: Option<&Values>) -> BTreeMap<&'static str, Setting> {
    let setting = |name: &str| match told.get(name) {
        Some(value) => Some(Setting::Value(value.clone())),
        None => before.is_some_and(|before| before.contains_key(name)).then_some(Setting::Previous),
    };
    names().into_iter().filter_map(|name| Some((name, setting(name)?))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Setting, Values, make_tokens, names, settings, told};
    use crate::{
        args::{Cli, Command, Deploy},
        deploy::tokens::hash,
    };
    use clap::Parser;

    fn args(words: &str) -> Deploy {
        let words = ["tidemill", "deploy"].into_iter().chain(words.split_whitespace());
        match Cli::try_parse_from(words).unwrap().command {
            Command::Deploy(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_templates_parameters_are_read() {
        let names = names();
        for name in ["Name", "CodePrefix", "WorkerToken", "SubnetIds", "Tracing"] {
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
        assert!(!names.contains(&"OnDemand") && !names.contains(&"Default"), "{names:?}");
    }

    #[test]
    fn every_argument_sets_a_parameter_that_there_is() {
        let all = args(
            "--name ci --arch arm64 --api rest --max-workers 4 --min-workers 1 --instance-type m7g.large --slots 3 \
             --spot-share 50 --vpc vpc-12345678 --subnets subnet-1,subnet-2 --log-days 1 --record-days 2 \
             --artifact-days 3 --alarm-email a@example.org --parameter Tracing=on",
        );
        let told = told(&all).unwrap();
        assert_eq!(told.len(), 15, "{told:?}");
        assert_eq!(told["SubnetIds"], "subnet-1,subnet-2");
        assert_eq!(settings(&told, None).len(), told.len(), "a name is none of the template's");
    }

    #[test]
    fn an_unknown_parameter_is_refused() {
        let words = told(&args("--parameter Tracingg=on")).unwrap_err().words;
        assert!(words.contains("Tracingg") && words.contains("Tracing"), "{words}");
    }

    #[test]
    fn an_update_keeps_what_is_not_told_and_forgets_what_the_template_no_longer_has() {
        let before = values(&[("Name", "tidemill"), ("ApiKind", "rest"), ("Gone", "x"), ("LogDays", "9")]);
        let sent = settings(&told(&args("--log-days 7")).unwrap(), Some(&before));
        assert_eq!(sent["LogDays"], Setting::Value("7".to_owned()));
        assert_eq!(sent["ApiKind"], Setting::Previous);
        assert!(!sent.contains_key("Gone") && !sent.contains_key("MaxWorkers"), "{sent:?}");
    }

    #[test]
    fn tokens_are_made_once_and_only_their_hashes_are_told() {
        let mut first = Values::new();
        let made = make_tokens(&args(""), None, &mut first).unwrap();
        let (admin, worker) = (made.admin.unwrap(), made.worker.unwrap());
        assert_eq!(first["AdminTokenSha256"], hash(&admin));
        assert_eq!(first["WorkerTokenSha256"], hash(&worker));
        assert_eq!(first["WorkerToken"], worker);
        assert_eq!(first.len(), 3);

        let mut update = Values::new();
        let made = make_tokens(&args(""), Some(&first), &mut update).unwrap();
        assert!(made.admin.is_none() && made.worker.is_none() && update.is_empty());
    }

    #[test]
    fn a_token_is_rotated_beside_the_old_one_which_is_dropped_later() {
        let before =
            values(&[("AdminTokenSha256", "old"), ("WorkerTokenSha256", "w"), ("WorkerToken", "****")]);
        let mut told = Values::new();
        let made = make_tokens(&args("--rotate-token admin"), Some(&before), &mut told).unwrap();
        let hashes = format!("{},old", hash(made.admin.unwrap()));
        assert_eq!(told, values(&[("AdminTokenSha256", &hashes)]));

        let before = values(&[("AdminTokenSha256", &hashes), ("WorkerTokenSha256", "w")]);
        let mut told = Values::new();
        make_tokens(&args("--drop-old-tokens"), Some(&before), &mut told).unwrap();
        assert_eq!(told["AdminTokenSha256"], hashes.split(',').next().unwrap());
        assert_eq!(told["WorkerTokenSha256"], "w");

        // Both at once: the old one is of no use from now on.
        let mut told = Values::new();
        let made =
            make_tokens(&args("--rotate-token worker --drop-old-tokens"), Some(&before), &mut told).unwrap();
        let worker = made.worker.unwrap();
        assert_eq!(told["WorkerTokenSha256"], hash(&worker));
        assert_eq!(told["WorkerToken"], worker);
    }
}
