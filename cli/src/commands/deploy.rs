//! `deploy`: makes a deployment on AWS, or brings it to this version.

use crate::{
    args::Deploy,
    deploy::{
        account::Account,
        code,
        functions::{Functions, Wanted, cross_build, gather},
        parameters::{self, TEMPLATE, Tokens, Values},
        program::Needs,
        prompt::confirm,
        stack::{ChangeSet, Stack, Standing, standing},
        tokens::hash,
    },
    failure::{Failure, Outcome},
    profiles::Profile,
    settings::Settings,
};
use std::fs;
use tidemill_core::api::path;

/// Output of the stack: the API's address.
const ENDPOINT: &str = "Endpoint";
const BUCKET: &str = "BucketName";

/// `tidemill deploy`.
pub async fn deploy(settings: &Settings, args: &Deploy) -> Outcome {
    let account = Account::connect(&args.place).await?;
    let name = &args.place.name;
    let before = match standing(&account, name).await? {
        Standing::Absent => None,
        Standing::Complete(stack) => Some(stack),
        Standing::Failed(stack) => {
            crate::errln!("stack {name} failed when it was first made; what is left of it goes first");
            if !args.place.yes {
                confirm(&format!("Delete what is left of stack {name}?"))?;
            }
            stack.delete(&account).await?;
            None
        }
    };
    let known = before.as_ref().map(|stack| &stack.parameters);
    let wanted = Wanted { architecture: args.arch, emulated: account.endpoint.is_some() };
    let functions = gather(args.functions.as_deref(), wanted)?;
    let mut told = parameters::told(args)?;
    if let Some(architecture) = functions.architecture {
        told.entry("Architecture".into()).or_insert_with(|| architecture.to_string());
    }
    told.insert("CodeBucket".into(), code::name(&account));
    told.insert("CodePrefix".into(), prefix(&functions));
    let program = worker_program(args, &functions, &told, known)?;
    if let Some((_, sha256)) = &program {
        told.insert("WorkerBinaryUrl".into(), path::WORKER_PROGRAM.replace("{sha256}", sha256));
        told.insert("WorkerBinarySha256".into(), sha256.clone());
    }
    let tokens = parameters::make_tokens(args, known, &mut told)?;

    crate::errln!("{}: functions from {}", account.words(), functions.origin.display());
    let template_url = upload(&account, args, &functions).await?;
    let to_send = parameters::settings(&told, known);
    let changes = ChangeSet::work_out(&account, name, before.is_none(), &template_url, to_send).await?;
    let Some(changes) = changes else {
        crate::outln!("nothing changes: {name} is as it should be");
        return match &before {
            Some(stack) => finish(settings, &account, stack, program, &Tokens::default()).await,
            None => Ok(()),
        };
    };
    for line in changes.lines() {
        crate::outln!("  {line}");
    }
    if args.dry_run {
        return changes.discard(&account).await;
    }
    if !args.place.yes
        && let Err(failure) = confirm(&format!("Make these changes in {}?", account.words()))
    {
        changes.discard(&account).await?;
        return Err(failure);
    }
    let stack = changes.execute(&account).await?;
    finish(settings, &account, &stack, program, &tokens).await
}

/// The functions' place in the code bucket: another whenever any of them is.
fn prefix(functions: &Functions) -> String {
    format!("code/{}", functions.version)
}

/// Puts the template and the functions where CloudFormation takes them from, and gives the template's address.
async fn upload(account: &Account, args: &Deploy, functions: &Functions) -> Outcome<String> {
    let bucket = code::name(account);
    if !code::exists(account).await? {
        if !args.place.yes {
            confirm(&format!("Make bucket {bucket} for the functions' code?"))?;
        }
        code::make(account).await?;
    }
    for (name, zip) in &functions.zips {
        let key = format!("{}/{name}.zip", prefix(functions));
        if code::put(account, &bucket, &key, zip.clone()).await? {
            crate::errln!("uploaded {name}");
        }
    }
    let key = format!("templates/{}.yml", hash(TEMPLATE));
    code::put(account, &bucket, &key, TEMPLATE.into()).await?;
    Ok(code::url(account, &bucket, &key))
}

/// The program that workers run, and its SHA-256, if there are to be workers.
fn worker_program(
    args: &Deploy,
    functions: &Functions,
    told: &Values,
    known: Option<&Values>,
) -> Outcome<Option<(Vec<u8>, String)>> {
    let asked = |name: &str| told.get(name).or_else(|| known.and_then(|known| known.get(name)));
    let wants_workers = asked("MaxWorkers").is_some_and(|count| count != "0");
    if !wants_workers || told.contains_key("WorkerBinaryUrl") {
        return Ok(None);
    }
    let path = match &args.worker {
        Some(path) => path.clone(),
        None => std::env::current_exe()?,
    };
    let program = fs::read(&path)
        .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))?;
    let wanted = functions.architecture.or(args.arch);
    let needs = Needs::of(&program);
    let hindrance = match (needs, wanted) {
        (None, _) => Some("is no Linux program".to_owned()),
        (Some(needs), Some(wanted)) => needs.hindrance(wanted),
        (Some(needs), None) => needs.hindrance(needs.architecture),
    };
    if let Some(why) = hindrance {
        let architecture = wanted.or(needs.map(|needs| needs.architecture));
        let hint = architecture.map(|to| cross_build(to, "--bin tidemill", "--worker", "/tidemill"));
        return Err(Failure::usage(format!(
            "workers cannot run {}, which {why}\n{}",
            path.display(),
            hint.unwrap_or_default()
        )));
    }
    let sha256 = hash(&program);
    Ok(Some((program, sha256)))
}

/// Gives workers their program, keeps the new token, and says how to go on.
async fn finish(
    settings: &Settings,
    account: &Account,
    stack: &Stack,
    program: Option<(Vec<u8>, String)>,
    tokens: &Tokens,
) -> Outcome {
    let output = |name: &str| stack.outputs.get(name).cloned().unwrap_or_default();
    if let Some((program, sha256)) = program {
        code::put(account, &output(BUCKET), &format!("programs/{sha256}"), program).await?;
    }
    let endpoint = output(ENDPOINT);
    crate::outln!("\n{} is at {endpoint}", stack.name);
    if let Some(token) = &tokens.admin {
        save_profile(settings, &stack.name, &endpoint, token)?;
        crate::outln!(
            "its admin token, shown only now:  {token}\n\
             it is kept as profile `{}`; the first pipeline:  tidemill run --profile {}",
            stack.name,
            stack.name
        );
    }
    if let Some(token) = &tokens.worker {
        crate::outln!(
            "a worker of your own:  TIDEMILL_TOKEN={token} tidemill worker --server {endpoint} --queue {}",
            output("QueueUrl")
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
        },
    );
    profiles.save()
}
