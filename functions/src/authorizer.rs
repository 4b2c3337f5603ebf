//! Replies of API Gateway's authorizer, to events of an HTTP API (v2) and of a REST API (v1).

use serde_json::{Value, json};
use tidemill_core::access::sessions::COOKIE_CREDENTIAL;

/// Longer credentials are rejected.
const MAX_CREDENTIAL_LEN: usize = 4_096;

/// Returns the reply to an authorizer's event.
#[must_use]
pub fn reply_to(event: &Value) -> Value {
    let is_allowed = credential(event).is_some_and(has_form);
    if event["version"] == "2.0" {
        return json!({ "isAuthorized": is_allowed });
    }
    // The reply is cached for each credential, so it is about all of the API's methods.
    let arn = event["methodArn"].as_str().unwrap_or_default();
    let resource = arn.split('/').next().map_or_else(|| "*".to_owned(), |api| format!("{api}/*"));
    json!({
        "principalId": "caller",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{
                "Action": "execute-api:Invoke",
                "Effect": if is_allowed { "Allow" } else { "Deny" },
                "Resource": resource,
            }],
        },
    })
}

/// Returns the value of the `Authorization` header, whose name has any case.
fn credential(event: &Value) -> Option<&str> {
    let headers = event["headers"].as_object()?;
    headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        .and_then(|(_, value)| value.as_str())
}

/// Whether a value may be a credential of the API.
fn has_form(value: &str) -> bool {
    let is_token = |token: &str| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    value.len() <= MAX_CREDENTIAL_LEN
        && (value == COOKIE_CREDENTIAL || value.strip_prefix("Bearer ").is_some_and(is_token))
}

#[cfg(test)]
mod tests {
    use super::reply_to;
    use serde_json::{Value, json};

    fn http(value: Option<&str>) -> Value {
        reply_to(&json!({ "version": "2.0", "type": "REQUEST", "headers": { "authorization": value } }))
    }

    #[test]
    fn only_credentials_of_the_api_pass() {
        for value in ["Bearer tm_1", "Session"] {
            assert_eq!(http(Some(value)), json!({ "isAuthorized": true }), "{value}");
        }
        let long = format!("Bearer {}", "x".repeat(5_000));
        for value in ["", "Bearer ", "Bearer a b", "Basic YTpi", "bearer x", "Session x", long.as_str()] {
            assert_eq!(http(Some(value)), json!({ "isAuthorized": false }), "{value}");
        }
        assert_eq!(http(None), json!({ "isAuthorized": false }));
        assert_eq!(reply_to(&json!({ "version": "2.0" })), json!({ "isAuthorized": false }));
    }

    #[test]
    fn policy_of_a_rest_api_covers_all_of_its_methods() {
        let arn = "arn:aws:execute-api:us-east-1:1:abc/prod/POST/api/job/status";
        let event = |value: &str| {
            reply_to(&json!({ "type": "REQUEST", "methodArn": arn, "headers": { "Authorization": value } }))
        };
        let statement = |reply: &Value| reply["policyDocument"]["Statement"][0].clone();
        let allowed = statement(&event("Bearer x"));
        assert_eq!(
            (&allowed["Effect"], &allowed["Resource"]),
            (&json!("Allow"), &json!("arn:aws:execute-api:us-east-1:1:abc/*"))
        );
        assert_eq!(statement(&event("Basic x"))["Effect"], "Deny");
    }
}
