//! What is checked before a deployment changes anything: that the credentials may do it, and that the account's quotas suffice. What
//! cannot be looked up is a note, as the permission for looking it up is not needed for anything else.

use super::{
    account::Account,
    parameters::{ParameterValues, max_workers},
    signed::{Call, CallError},
};
use crate::{
    deployment::query_encoded,
    failure::{Failure, Outcome},
    output::errln,
};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Concurrent executions of functions below which an account is too small: new ones have 10.
const MIN_CONCURRENCY: f64 = 50.0;
/// Processors of a worker, if its instance type is not known.
const CPUS_PER_WORKER: f64 = 2.0;
/// Codes of the quotas for processors of standard instances, on demand and spot.
const CPU_QUOTAS: [(&str, &str); 2] = [("L-1216C47A", "on demand"), ("L-34B43A08", "spot")];

/// Actions without which no deployment is created, and those for workers.
const ACTIONS: [&str; 12] = [
    "apigateway:POST",
    "cloudformation:CreateChangeSet",
    "cloudformation:ExecuteChangeSet",
    "dynamodb:CreateTable",
    "events:PutRule",
    "events:PutTargets",
    "lambda:AddPermission",
    "lambda:CreateEventSourceMapping",
    "lambda:CreateFunction",
    "logs:CreateLogGroup",
    "s3:CreateBucket",
    "sqs:CreateQueue",
];
const WORKER_ACTIONS: [&str; 3] =
    ["autoscaling:CreateAutoScalingGroup", "ec2:CreateLaunchTemplate", "ec2:RunInstances"];
const ROLE_ACTIONS: [&str; 3] = ["iam:CreateRole", "iam:PassRole", "iam:PutRolePolicy"];

/// Checks permissions and quotas. Fails if the credentials lack a permission, and prints what is scarce or unknown.
pub async fn check(
    account: &Account,
    name: &str,
    values: &ParameterValues,
    current: Option<&ParameterValues>,
) -> Outcome {
    let workers = max_workers(values, current);
    let mut notes = Vec::new();
    let denied = match denied_actions(account, name, values, workers > 0.0).await {
        Ok(denied) => denied,
        Err(why) => {
            notes.push(format!("the permissions of the credentials were not checked: {why}"));
            Vec::new()
        }
    };
    if !denied.is_empty() {
        return Err(Failure::usage(format!(
            "the credentials ({}) may not: {}\n`tidemill deploy --print-policy --name {name}` prints the policy that they need; \
             --skip-checks deploys without this check",
            account.arn,
            denied.join(", ")
        )));
    }
    match concurrency(account).await {
        Ok(number) => notes.extend(scarce_concurrency(number)),
        Err(why) => notes.push(format!("the quota of functions was not checked: {why}")),
    }
    if workers > 0.0 {
        for (code, kind) in CPU_QUOTAS {
            match cpus(account, code).await {
                Ok(number) => notes.extend(scarce_cpus(number, kind, workers)),
                Err(why) => notes.push(format!("the quota of processors {kind} was not checked: {why}")),
            }
        }
    }
    // An emulator has no quotas.
    if account.endpoint.is_none() {
        for note in notes {
            errln!("note: {note}");
        }
    }
    Ok(())
}

/// Returns the actions that IAM would deny.
async fn denied_actions(
    account: &Account,
    name: &str,
    values: &ParameterValues,
    has_workers: bool,
) -> Result<Vec<String>, CallError> {
    let principal = principal_of(&account.arn).ok_or(CallError::NoPrincipal)?;
    let mut actions = ACTIONS.to_vec();
    if has_workers {
        actions.extend(WORKER_ACTIONS);
    }
    let mut denied = denied_in(&simulate(account, &principal, &actions, None, None).await?)?;
    let role = format!("arn:{}:iam::{}:role/{name}-ApiRole-1", account.partition, account.id);
    let boundary = values.get("PermissionsBoundary").map(String::as_str);
    denied.extend(denied_in(&simulate(account, &principal, &ROLE_ACTIONS, Some(&role), boundary).await?)?);
    Ok(denied)
}

async fn simulate(
    account: &Account,
    principal: &str,
    actions: &[&str],
    resource: Option<&str>,
    boundary: Option<&str>,
) -> Result<String, CallError> {
    let mut body = "Action=SimulatePrincipalPolicy&Version=2010-05-08".to_owned();
    let mut add = |name: &str, value: &str| {
        let _ = write!(body, "&{name}={}", query_encoded(value));
    };
    add("PolicySourceArn", principal);
    for (number, action) in (1..).zip(actions) {
        add(&format!("ActionNames.member.{number}"), action);
    }
    if let Some(resource) = resource {
        add("ResourceArns.member.1", resource);
    }
    if let Some(boundary) = boundary {
        add("ContextEntries.member.1.ContextKeyName", "iam:PermissionsBoundary");
        add("ContextEntries.member.1.ContextKeyType", "string");
        add("ContextEntries.member.1.ContextKeyValues.member.1", boundary);
    }
    let (host, region) = match account.partition.as_str() {
        "aws-cn" => ("iam.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        "aws-us-gov" => ("iam.us-gov.amazonaws.com", "us-gov-west-1"),
        _ => ("iam.amazonaws.com", "us-east-1"),
    };
    let call = Call {
        service: "iam",
        elsewhere: Some((host.to_owned(), region)),
        method: "POST",
        path: "/",
        headers: &[("content-type", "application/x-www-form-urlencoded")],
        body,
    };
    call.send(account).await
}

/// Returns the user or role of an identity, whose policies are simulated; `None` for the root user, who may do everything.
fn principal_of(arn: &str) -> Option<String> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [_, partition, service, _, account, resource] = parts.as_slice() else { return None };
    match (*service, resource.split('/').collect::<Vec<_>>().as_slice()) {
        ("iam", ["user" | "role", ..]) => Some(arn.to_owned()),
        // The path of the role is not part of it: a role with one cannot be looked up.
        ("sts", ["assumed-role", role, _]) => Some(format!("arn:{partition}:iam::{account}:role/{role}")),
        _ => None,
    }
}

/// Returns the actions that a simulation denies.
fn denied_in(reply: &str) -> Result<Vec<String>, CallError> {
    let mut denied = Vec::new();
    let mut number = 0;
    for result in reply.split("<EvalActionName>").skip(1) {
        number += 1;
        let action = result.split('<').next().unwrap_or_default();
        let decision = result.split("<EvalDecision>").nth(1).and_then(|rest| rest.split('<').next());
        if decision.is_some_and(|decision| decision.ends_with("Deny")) {
            denied.push(action.to_owned());
        }
    }
    if number == 0 { Err(CallError::Incomplete("decisions")) } else { Ok(denied) }
}

/// Returns how many functions may run at the same time.
async fn concurrency(account: &Account) -> Result<f64, CallError> {
    let call = Call {
        service: "lambda",
        elsewhere: None,
        method: "GET",
        path: "/2016-08-19/account-settings/",
        headers: &[],
        body: String::new(),
    };
    let reply: Value = parsed(&call.send(account).await?)?;
    reply["AccountLimit"]["ConcurrentExecutions"].as_f64().ok_or(CallError::Incomplete("number"))
}

fn scarce_concurrency(number: f64) -> Option<String> {
    (number < MIN_CONCURRENCY).then(|| {
        format!(
            "the account runs {number} functions at a time, and rejects requests beyond that; request more \
             (Service Quotas, AWS Lambda, Concurrent executions): 1,000 is usual"
        )
    })
}

/// Returns the quota of processors with this code.
async fn cpus(account: &Account, code: &str) -> Result<f64, CallError> {
    let call = Call {
        service: "servicequotas",
        elsewhere: None,
        method: "POST",
        path: "/",
        headers: &[
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "ServiceQuotasV20190624.GetServiceQuota"),
        ],
        body: json!({ "ServiceCode": "ec2", "QuotaCode": code }).to_string(),
    };
    let reply: Value = parsed(&call.send(account).await?)?;
    reply["Quota"]["Value"].as_f64().ok_or(CallError::Incomplete("number"))
}

fn scarce_cpus(number: f64, kind: &str, workers: f64) -> Option<String> {
    let needed = workers * CPUS_PER_WORKER;
    (number < needed).then(|| {
        format!(
            "{workers} workers of {CPUS_PER_WORKER} processors need {needed}, and the account may run {number} {kind}; request more \
             (Service Quotas, Amazon EC2, Running instances)"
        )
    })
}

fn parsed(reply: &str) -> Result<Value, CallError> {
    serde_json::from_str(reply).map_err(|_| CallError::NotJson)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{denied_in, principal_of, scarce_concurrency, scarce_cpus};

    #[test]
    fn policies_of_users_and_roles_are_simulated() {
        let user = "arn:aws:iam::123456789012:user/team/alice";
        assert_eq!(principal_of(user).unwrap(), user);
        let session = "arn:aws-us-gov:sts::123456789012:assumed-role/Deployer/session";
        assert_eq!(principal_of(session).unwrap(), "arn:aws-us-gov:iam::123456789012:role/Deployer");
        for other in ["arn:aws:iam::123456789012:root", "arn:aws:sts::1:federated-user/x", "", "x"] {
            assert_eq!(principal_of(other), None, "{other}");
        }
    }

    #[test]
    fn denied_actions_are_listed() {
        let result = |action: &str, decision: &str| {
            format!(
                "<member><EvalActionName>{action}</EvalActionName><EvalResourceName>*</EvalResourceName>\
                 <EvalDecision>{decision}</EvalDecision></member>"
            )
        };
        let reply =
            result("a:B", "allowed") + &result("c:D", "implicitDeny") + &result("e:F", "explicitDeny");
        assert_eq!(denied_in(&reply).unwrap(), ["c:D", "e:F"]);
        assert!(denied_in(&result("a:B", "allowed")).unwrap().is_empty());
        assert!(denied_in("<html>").is_err());
    }

    #[test]
    fn scarce_quotas_are_named() {
        assert!(scarce_concurrency(10.0).unwrap().contains("10 functions"));
        assert_eq!(scarce_concurrency(1_000.0), None);
        assert!(scarce_cpus(5.0, "spot", 4.0).unwrap().contains("need 8"));
        assert_eq!(scarce_cpus(8.0, "spot", 4.0), None);
    }
}
