//! `destroy`: removes a deployment from AWS. Its table, its bucket and the key of its secrets stay, unless all data is to go.

use crate::{
    args::Destroy,
    deploy::{
        account::Account,
        code, data,
        prompt::confirm_by,
        stack::{Resource, find},
    },
    failure::{Failure, Outcome},
};

const KEPT: [&str; 2] = ["AWS::DynamoDB::Table", "AWS::S3::Bucket"];

/// `tidemill destroy`.
pub async fn destroy(args: &Destroy) -> Outcome {
    let account = Account::connect(&args.place).await?;
    let name = &args.place.name;
    let stack = find(&account, name).await?;
    let stack = stack.ok_or_else(|| {
        Failure::usage(format!("there is no stack {name} in {}; name it with --name", account.words()))
    })?;
    stack.must_be_ours()?;
    let (kept, gone): (Vec<Resource>, Vec<Resource>) =
        stack.resources(&account).await?.into_iter().partition(|part| KEPT.contains(&part.kind.as_str()));
    crate::outln!("In {}, this deletes:", account.words());
    for part in &gone {
        crate::outln!("  {}  {}", part.kind, part.physical);
    }
    for part in &kept {
        let fate = if args.all_data { "deleted, with all that is in it" } else { "kept" };
        crate::outln!("  {}  {}  ({fate})", part.kind, part.physical);
    }
    let key = data::key_parameter(name);
    let fate = if args.all_data { "deleted" } else { "kept" };
    crate::outln!("  AWS::SSM::Parameter  {key}  ({fate}, where there are secrets)");
    if args.all_data {
        crate::outln!("Records, logs, artifacts and secrets cannot be brought back.");
    }
    if !args.place.yes {
        confirm_by(name, "")?;
    }
    stack.delete(&account).await?;
    if args.all_data {
        for part in &kept {
            match part.kind.as_str() {
                "AWS::S3::Bucket" => data::delete_bucket(&account, &part.physical).await?,
                _ => data::delete_table(&account, &part.physical).await?,
            }
        }
        // Last: without it what is in the table cannot be read.
        data::delete_key(&account, &key).await?;
        crate::outln!("{name} is gone, with its data");
    } else {
        let names: Vec<&str> = kept.iter().map(|part| part.physical.as_str()).collect();
        crate::outln!("{name} is gone; kept with their data: {}", names.join(", "));
    }
    crate::outln!(
        "Bucket {} has the code of all deployments here; delete it when there are none.",
        code::name(&account)
    );
    Ok(())
}
