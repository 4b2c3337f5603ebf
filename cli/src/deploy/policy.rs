//! The policy of the credentials with which a deployment is created, changed and deleted.

use serde_json::{Value, json};

/// What the policy allows for the whole account: names of most resources are only known once they exist.
const ACTIONS: &[&str] = &[
    "apigateway:*",
    "autoscaling:*",
    "cloudformation:*",
    "cloudwatch:*Alarm*",
    "cloudwatch:*Dashboard*",
    "cloudwatch:*Tag*",
    "dynamodb:*ContinuousBackups",
    "dynamodb:*Table*",
    "dynamodb:*Tag*",
    "dynamodb:*TimeToLive",
    "ec2:*InternetGateway*",
    "ec2:*LaunchTemplate*",
    "ec2:*Route",
    "ec2:*RouteTable*",
    "ec2:*SecurityGroup*",
    "ec2:*Subnet*",
    "ec2:*Vpc*",
    "ec2:CreateTags",
    "ec2:DeleteTags",
    "ec2:Describe*",
    "ec2:RunInstances",
    "events:*Rule*",
    "events:*Tag*",
    "events:*Targets*",
    "lambda:*EventSourceMapping*",
    "lambda:*Function*",
    "lambda:*Permission",
    "lambda:*Tag*",
    "logs:*LogDelivery",
    "logs:*LogGroup*",
    "logs:*MetricFilter*",
    "logs:*ResourcePolicy*",
    "logs:*RetentionPolicy",
    "logs:*Tag*",
    "s3:*Bucket*",
    "s3:*EncryptionConfiguration",
    "s3:*LifecycleConfiguration",
    "s3:*Object",
    "s3:ListBucket",
    "sns:*",
    "sqs:*Queue*",
    "ssm:DeleteParameter",
    "ssm:GetParameters",
    "sts:GetCallerIdentity",
];

/// Actions that give a role its rights. A boundary is required for them, if there is one.
const GRANTS: [&str; 6] = [
    "iam:AttachRolePolicy",
    "iam:CreateRole",
    "iam:DeleteRolePolicy",
    "iam:DetachRolePolicy",
    "iam:PutRolePermissionsBoundary",
    "iam:PutRolePolicy",
];

/// Other actions on roles, policies and profiles.
const ROLES: [&str; 19] = [
    "iam:AddRoleToInstanceProfile",
    "iam:CreateInstanceProfile",
    "iam:CreatePolicy",
    "iam:CreatePolicyVersion",
    "iam:DeleteInstanceProfile",
    "iam:DeletePolicy",
    "iam:DeletePolicyVersion",
    "iam:DeleteRole",
    "iam:GetInstanceProfile",
    "iam:GetPolicy*",
    "iam:GetRole*",
    "iam:ListAttachedRolePolicies",
    "iam:ListInstanceProfiles*",
    "iam:ListPolicyVersions",
    "iam:ListRole*",
    "iam:PassRole",
    "iam:RemoveRoleFromInstanceProfile",
    "iam:Tag*",
    "iam:Update*Role*",
];

/// Actions that change what a policy allows. They are denied for the boundary, whose name may begin like the deployment's.
const POLICY_CHANGES: [&str; 4] =
    ["iam:CreatePolicyVersion", "iam:DeletePolicy", "iam:DeletePolicyVersion", "iam:SetDefaultPolicyVersion"];

/// Returns the partition of a region.
fn partition(region: Option<&str>) -> &'static str {
    match region {
        Some(region) if region.starts_with("cn-") => "aws-cn",
        Some(region) if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// Returns the policy for the deployment `name`. With a boundary, it gives rights only to roles that have it.
pub fn document(name: &str, boundary: Option<&str>, region: Option<&str>) -> Value {
    let partition = partition(region);
    let of_name = |kind: &str| format!("arn:{partition}:iam::*:{kind}/{name}-*");
    let roles = json!([of_name("role"), of_name("policy"), of_name("instance-profile")]);
    let mut grants = json!({
        "Sid": "RightsOfRoles", "Effect": "Allow", "Action": GRANTS, "Resource": of_name("role"),
    });
    if let Some(boundary) = boundary {
        grants["Condition"] = json!({ "StringEquals": { "iam:PermissionsBoundary": boundary } });
    }
    // Looks into a table that an earlier deployment has left.
    let tables = format!("arn:{partition}:dynamodb:*:*:table/{name}-*");
    let mut document = json!({
        "Version": "2012-10-17",
        "Statement": [
            { "Sid": "Resources", "Effect": "Allow", "Action": ACTIONS, "Resource": "*" },
            { "Sid": "Buckets", "Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*" },
            { "Sid": "Adopt", "Effect": "Allow", "Action": "dynamodb:Scan", "Resource": tables },
            { "Sid": "Roles", "Effect": "Allow", "Action": ROLES, "Resource": roles },
            grants,
            { "Sid": "ServiceRoles", "Effect": "Allow", "Action": "iam:CreateServiceLinkedRole", "Resource": "*" },
        ],
    });
    if let (Some(boundary), Some(statements)) = (boundary, document["Statement"].as_array_mut()) {
        statements.push(json!({
            "Sid": "Boundary", "Effect": "Deny", "Action": POLICY_CHANGES, "Resource": boundary,
        }));
    }
    document
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{ACTIONS, document};
    use crate::deploy::parameters::TEMPLATE;
    use std::collections::BTreeSet;

    /// Returns the prefix of a service's actions.
    fn prefix(service: &str) -> String {
        match service {
            "ApiGateway" | "ApiGatewayV2" => "apigateway".into(),
            other => other.to_lowercase(),
        }
    }

    #[test]
    fn policy_has_actions_of_every_service_in_the_template() {
        let types = TEMPLATE.lines().filter_map(|line| line.strip_prefix("    Type: AWS::"));
        let services: BTreeSet<String> = types.map(|kind| prefix(kind.split("::").next().unwrap())).collect();
        assert!(services.len() > 8, "{services:?}");
        for service in services.iter().filter(|service| *service != "iam") {
            let has = ACTIONS.iter().any(|action| action.starts_with(&format!("{service}:")));
            assert!(has, "no action of {service}");
        }
        assert!(ACTIONS.is_sorted(), "in the order of the alphabet");
    }

    #[test]
    fn policy_names_the_deployment_the_partition_and_the_boundary() {
        let boundary = "arn:aws-us-gov:iam::123456789012:policy/limit";
        let text = document("ci", Some(boundary), Some("us-gov-west-1")).to_string();
        assert!(text.contains("arn:aws-us-gov:iam::*:role/ci-*") && text.contains(boundary), "{text}");
        assert!(!document("ci", None, None).to_string().contains("PermissionsBoundary\":"));
    }

    #[test]
    fn boundary_cannot_be_changed_with_the_rights_that_it_limits() {
        let boundary = "arn:aws:iam::123456789012:policy/ci-limit";
        let policy = document("ci", Some(boundary), None);
        let denied =
            policy["Statement"].as_array().unwrap().iter().find(|one| one["Effect"] == "Deny").unwrap();
        assert_eq!(denied["Resource"], boundary);
        assert!(denied["Action"].as_array().unwrap().contains(&"iam:CreatePolicyVersion".into()), "{denied}");
        assert!(!document("ci", None, None).to_string().contains("Deny"));
    }
}
