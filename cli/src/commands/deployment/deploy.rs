//! `deploy`: creates or updates a deployment on AWS.

use crate::{
    args::Deploy,
    deploy::{
        account::Account,
        addresses::Addresses,
        adoption::Remains,
        code,
        functions::{self, PackagedFunctions, Platform, cross_build},
        parameters::{self, NewTokens, ParameterSetting, ParameterValues, TEMPLATE},
        policy, preflight, preview,
        program::Requirements,
        prompt::confirm,
        stack::{self, ChangeSet, Stack, StackState},
        tokens::hash,
    },
    failure::{Failure, Outcome},
    output,
    settings::Settings,
    settings::profiles::Profile,
};
use serde_json::json;
use std::{collections::BTreeMap, fs};
use tidemill_core::api::path;

/// Stack output: name of the bucket.
const BUCKET_OUTPUT: &str = "BucketName";

/// `tidemill deploy`.
pub async fn deploy(settings: &Settings, args: &Deploy) -> Outcome {
    let name = &args.stack.name;
    if args.rights.print_policy {
        let (boundary, region) = (args.rights.permissions_boundary.as_deref(), args.stack.region.as_deref());
        return Ok(output::print_json(&policy::document(name, boundary, region))?);
    }
    let account = Account::connect(&args.stack).await?;
    let current = match stack::state(&account, name).await? {
        StackState::Absent => None,
        StackState::Complete(stack) => Some(stack),
        StackState::Failed(stack) => {
            crate::output::errln!(
                "an earlier creation of stack {name} failed; the failed stack must be deleted first"
            );
            if !args.dry_run {
                if !args.stack.consent.yes {
                    confirm(&format!("Delete the failed stack {name}?"))?;
                }
                stack.delete(&account).await?;
            }
            None
        }
    };
    let current_values = current.as_ref().map(|stack| &stack.parameters);
    let remains = match &current {
        _ if !args.adopt => None,
        None => Some(Remains::find(&account, name).await?),
        Some(_) => {
            return Err(Failure::usage(format!(
                "--adopt is for a new deployment, and {name} exists: to let it use another table or bucket, set the parameters \
                 RestoredTable, RestoredTableStream and AdoptedBucket"
            )));
        }
    };
    let platform = Platform { architecture: args.arch, is_emulated: account.endpoint.is_some() };
    let functions = functions::load(args.functions.as_deref(), platform)?;
    let mut values = parameters::from_arguments(args)?;
    if let Some(architecture) = functions.architecture {
        values.entry("Architecture".into()).or_insert_with(|| architecture.to_string());
    }
    if let Some(remains) = &remains {
        remains.add_to(&mut values);
        crate::output::errln!(
            "using table {} and bucket {} of an earlier deployment",
            remains.table,
            remains.bucket
        );
    }
    values.insert("CodeBucket".into(), code::name(&account));
    values.insert("CodePrefix".into(), prefix(&functions));
    let program = worker_program(args, &functions, &values, current_values)?;
    if let Some((_, sha256)) = &program {
        values.insert("WorkerBinaryUrl".into(), path::WORKER_PROGRAM.replace("{sha256}", sha256));
        values.insert("WorkerBinarySha256".into(), sha256.clone());
    }
    if !args.rights.skip_checks {
        preflight::check(&account, name, &values, current_values).await?;
    }
    let tokens = parameters::create_tokens(args, current_values, &mut values)?;

    crate::output::errln!("{}: functions from {}", account.describe(), functions.origin.display());
    let is_json = args.stack.format.is_json();
    let to_send = parameters::settings(&values, current_values);
    if args.dry_run {
        let changes = match current {
            Some(_) => preview_update(&account, name, to_send).await?,
            None => preview::resources(TEMPLATE, &values),
        };
        let planned = Planned { changes, is_json };
        planned.show();
        if planned.changes.is_empty() && !is_json {
            crate::output::outln!("no changes: {name} is up to date");
        }
        return planned.print(name);
    }
    let template_url = upload(&account, args, &functions).await?;
    let changes = ChangeSet::create(&account, name, current.is_none(), &template_url, to_send).await?;
    let Some(changes) = changes else {
        if !is_json {
            crate::output::outln!("no changes: {name} is up to date");
        }
        let planned = Planned { changes: Vec::new(), is_json };
        return match &current {
            Some(stack) => {
                finish(settings, &account, stack, program, (&NewTokens::default(), &planned)).await
            }
            None => planned.print(name),
        };
    };
    let planned = Planned { changes: changes.lines(), is_json };
    planned.show();
    if !args.stack.consent.yes
        && let Err(failure) = confirm(&format!("Apply these changes in {}?", account.describe()))
    {
        changes.discard(&account).await?;
        return Err(failure);
    }
    let stack = changes.execute(&account).await?;
    finish(settings, &account, &stack, program, (&tokens, &planned)).await
}

/// What a command changes, and how it prints its result.
struct Planned {
    /// One line for each change.
    changes: Vec<String>,
    is_json: bool,
}

impl Planned {
    /// Prints the changes. Also as JSON, as a question may follow.
    fn show(&self) {
        for line in &self.changes {
            if self.is_json { crate::output::errln!("  {line}") } else { crate::output::outln!("  {line}") }
        }
    }

    /// Prints as JSON that nothing was applied.
    fn print(&self, name: &str) -> Outcome {
        if self.is_json {
            output::print_json(&json!({ "name": name, "changes": self.changes, "applied": false }))?;
        }
        Ok(())
    }
}

/// Returns what a deployment would change in a stack, and leaves nothing behind: CloudFormation computes it in a change set, from a
/// template in the code bucket. Both are removed, the template unless it was there.
async fn preview_update(
    account: &Account,
    name: &str,
    settings: BTreeMap<&'static str, ParameterSetting>,
) -> Outcome<Vec<String>> {
    let (bucket, key) = (code::name(account), template_key());
    let is_new = code::put(account, &bucket, &key, TEMPLATE.into()).await?;
    let url = code::url(account, &bucket, &key);
    let changes = match ChangeSet::create(account, name, false, &url, settings).await {
        Ok(Some(changes)) => {
            let lines = changes.lines();
            changes.discard(account).await.map(|()| lines)
        }
        Ok(None) => Ok(Vec::new()),
        Err(failure) => Err(failure),
    };
    if is_new {
        code::remove(account, &bucket, &key).await?;
    }
    changes
}

/// Returns the template's key in the code bucket.
fn template_key() -> String {
    format!("templates/{}.yml", hash(TEMPLATE))
}

/// Returns the functions' prefix in the code bucket, which depends on their content.
fn prefix(functions: &PackagedFunctions) -> String {
    format!("code/{}", functions.version)
}

/// Uploads the template and the functions for CloudFormation, and returns the template's URL.
async fn upload(account: &Account, args: &Deploy, functions: &PackagedFunctions) -> Outcome<String> {
    let bucket = code::name(account);
    if !code::exists(account).await? {
        if !args.stack.consent.yes {
            confirm(&format!("Create bucket {bucket} for the functions' code?"))?;
        }
        code::create(account).await?;
    }
    for (name, zip) in &functions.zips {
        let key = format!("{}/{name}.zip", prefix(functions));
        if code::put(account, &bucket, &key, zip.clone()).await? {
            crate::output::errln!("uploaded {name}");
        }
    }
    let key = template_key();
    code::put(account, &bucket, &key, TEMPLATE.into()).await?;
    Ok(code::url(account, &bucket, &key))
}

/// Returns the binary for workers and its SHA-256, if there are workers.
fn worker_program(
    args: &Deploy,
    functions: &PackagedFunctions,
    values: &ParameterValues,
    current_values: Option<&ParameterValues>,
) -> Outcome<Option<(Vec<u8>, String)>> {
    // Those of pools have the same binary, unless a parameter names another.
    let has_workers = parameters::max_workers(values, current_values) > 0.0;
    if !has_workers || values.contains_key("WorkerBinaryUrl") {
        return Ok(None);
    }
    let path = match &args.worker {
        Some(path) => path.clone(),
        None => std::env::current_exe()?,
    };
    let program = fs::read(&path)
        .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))?;
    let architecture = functions.architecture.or(args.arch);
    let requirements = Requirements::of(&program);
    let incompatibility = match (requirements, architecture) {
        (None, _) => Some("is not a Linux binary".to_owned()),
        (Some(requirements), Some(architecture)) => requirements.incompatibility(architecture),
        (Some(requirements), None) => requirements.incompatibility(requirements.architecture),
    };
    if let Some(reason) = incompatibility {
        let architecture = architecture.or(requirements.map(|required| required.architecture));
        let hint =
            architecture.map(|to| cross_build(to, "-p tidemill-cli --features aws", "--worker", "/tidemill"));
        return Err(Failure::usage(format!(
            "workers cannot run {}, which {reason}\n{}",
            path.display(),
            hint.unwrap_or_default()
        )));
    }
    let sha256 = hash(&program);
    Ok(Some((program, sha256)))
}

/// Uploads the workers' binary, saves new tokens, and prints the next steps.
async fn finish(
    settings: &Settings,
    account: &Account,
    stack: &Stack,
    program: Option<(Vec<u8>, String)>,
    (tokens, planned): (&NewTokens, &Planned),
) -> Outcome {
    let of_stack = |name: &str| stack.outputs.get(name).cloned().unwrap_or_default();
    if let Some((program, sha256)) = program {
        code::put(account, &of_stack(BUCKET_OUTPUT), &format!("programs/{sha256}"), program).await?;
    }
    let Addresses { api: endpoint, queue } =
        Addresses::of_stack(&stack.outputs, account.endpoint.as_deref())?;
    if let Some(token) = &tokens.admin {
        save_profile(settings, &stack.name, &endpoint, token)?;
    }
    if planned.is_json {
        let result = json!({
            "name": stack.name,
            "changes": planned.changes,
            "applied": !planned.changes.is_empty(),
            "endpoint": endpoint,
            "queue_url": queue,
            "profile": tokens.admin.as_ref().map(|_| &stack.name),
            "admin_token": tokens.admin,
            "worker_token": tokens.worker,
        });
        return Ok(output::print_json(&result)?);
    }
    crate::output::outln!("\n{} is at {endpoint}", stack.name);
    if let Some(token) = &tokens.admin {
        crate::output::outln!(
            "admin token, shown only now:  {token}\n\
             saved as profile `{}`; run a pipeline with:  tidemill run --profile {}",
            stack.name,
            stack.name
        );
    }
    if let Some(token) = &tokens.worker {
        crate::output::outln!(
            "start your own worker with:  TIDEMILL_TOKEN={token} tidemill worker --server {endpoint} --queue {queue}"
        );
    }
    Ok(())
}

fn save_profile(settings: &Settings, name: &str, endpoint: &str, token: &str) -> Outcome {
    let mut profiles = settings.profiles()?;
    profiles.put(
        name,
        Profile {
            server: endpoint.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
            insecure_http: false,
            ca_cert: None,
        },
    );
    profiles.save()
}
