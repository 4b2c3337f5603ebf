//! `destroy`: deletes a deployment from AWS. Keeps its table, its bucket and the encryption key of secrets, unless `--all-data` is set.

use crate::{
    args::Destroy,
    deploy::{
        account::Account,
        code, data,
        prompt::confirm_by_typing,
        stack::{Resource, find},
    },
    failure::{Failure, Outcome},
    output::{self, errln, outln},
};
use serde_json::json;

/// Types of the resources that contain data.
const DATA_TYPES: [&str; 2] = ["AWS::DynamoDB::Table", "AWS::S3::Bucket"];

/// `tidemill destroy`.
pub async fn destroy(args: &Destroy) -> Outcome {
    let account = Account::connect(&args.stack).await?;
    let name = &args.stack.name;
    let stack = find(&account, name).await?;
    let stack = stack.ok_or_else(|| {
        Failure::usage(format!("no stack {name} in {}; select another one with --name", account.describe()))
    })?;
    stack.check_is_tidemill()?;
    let (data_resources, others): (Vec<Resource>, Vec<Resource>) = stack
        .resources(&account)
        .await?
        .into_iter()
        .partition(|resource| DATA_TYPES.contains(&resource.kind.as_str()));
    let is_json = args.stack.format.is_json();
    // Also as JSON, the question below is about these.
    let show = |line: String| if is_json { errln!("{line}") } else { outln!("{line}") };
    show(format!("In {}, this deletes:", account.describe()));
    for resource in &others {
        show(format!("  {}  {}", resource.kind, resource.physical_id));
    }
    for resource in &data_resources {
        let action = if args.all_data { "deleted with its content" } else { "kept" };
        show(format!("  {}  {}  ({action})", resource.kind, resource.physical_id));
    }
    let key = data::key_parameter(name);
    let action = if args.all_data { "deleted" } else { "kept" };
    show(format!("  AWS::SSM::Parameter  {key}  ({action}, if there are secrets)"));
    if args.all_data {
        show("Records, logs, artifacts and secrets cannot be restored.".to_owned());
    }
    if !args.stack.consent.yes {
        confirm_by_typing(name, "")?;
    }
    stack.delete(&account).await?;
    if args.all_data {
        for resource in &data_resources {
            match resource.kind.as_str() {
                "AWS::S3::Bucket" => data::delete_bucket(&account, &resource.physical_id).await?,
                _ => data::delete_table(&account, &resource.physical_id).await?,
            }
        }
        // Delete the key last: without it, secrets in the table cannot be decrypted.
        data::delete_key(&account, &key).await?;
    }
    let names: Vec<&str> = data_resources.iter().map(|resource| resource.physical_id.as_str()).collect();
    if is_json {
        let kept = if args.all_data { Vec::new() } else { names };
        let result = json!({ "deleted": name, "kept": kept, "code_bucket": code::name(&account) });
        return Ok(output::print_json(&result)?);
    }
    if args.all_data {
        outln!("deleted {name} and its data");
    } else {
        outln!("deleted {name}; kept: {}", names.join(", "));
    }
    outln!(
        "Bucket {} contains the code of all deployments in this region; delete it after destroying the last one.",
        code::name(&account)
    );
    Ok(())
}
