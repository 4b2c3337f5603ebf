//! Addresses of a deployment. On an emulator, a stack may name hosts of AWS, where nothing of the deployment is: they are never
//! printed or stored, as the tokens would go there.

use crate::failure::{Failure, Outcome};
use std::collections::BTreeMap;

/// Stack output: URL of the API.
const ENDPOINT_OUTPUT: &str = "Endpoint";
/// Stack outputs: id and stage of the API.
const API_ID_OUTPUT: &str = "ApiId";
const API_STAGE_OUTPUT: &str = "ApiStage";
/// Stack output: URL of the queue.
const QUEUE_OUTPUT: &str = "QueueUrl";

/// Domains of AWS in all partitions.
const AWS_DOMAINS: [&str; 7] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "aws",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "api.amazonwebservices.com.cn",
];

/// The addresses of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// URL of the API.
    pub api: String,
    /// URL of the queue.
    pub queue: String,
}

impl Addresses {
    /// Returns the addresses of a stack with these outputs, on the emulator at this URL if one is used.
    pub fn of_stack(outputs: &BTreeMap<String, String>, emulator: Option<&str>) -> Outcome<Self> {
        let output = |name: &str| outputs.get(name).map_or("", String::as_str);
        let (api, queue) = (output(ENDPOINT_OUTPUT), output(QUEUE_OUTPUT));
        let Some(emulator) = emulator.map(|url| url.trim_end_matches('/')) else {
            return Ok(Self { api: api.to_owned(), queue: queue.to_owned() });
        };
        let unknown = |what: &str, address: &str| {
            Failure::system(format!(
                "the emulator at {emulator} gave the stack {what} `{address}`, which is an address of AWS itself; \
                 nothing was stored, as the admin token would be sent there; once that is repaired, deploy with --rotate-token admin"
            ))
        };
        let api = if is_aws_address(api) {
            let (id, stage) = (output(API_ID_OUTPUT), output(API_STAGE_OUTPUT));
            if id.is_empty() || stage.is_empty() {
                return Err(unknown("the API", api));
            }
            format!("{emulator}/_aws/execute-api/{id}/{}", stage.replace('$', "%24"))
        } else {
            api.to_owned()
        };
        let queue = if is_aws_address(queue) {
            // The path is `/ACCOUNT/NAME`.
            let path = queue.splitn(4, '/').nth(3).filter(|path| path.contains('/'));
            format!("{emulator}/{}", path.ok_or_else(|| unknown("the queue", queue))?)
        } else {
            queue.to_owned()
        };
        Ok(Self { api, queue })
    }
}

/// Whether the host of a URL is one of AWS.
pub fn is_aws_address(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let is_below =
        |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    AWS_DOMAINS.iter().any(|domain| is_below(domain))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Addresses, is_aws_address};
    use std::collections::BTreeMap;

    const EMULATOR: &str = "http://127.0.0.1:4566/";

    fn outputs(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn addresses_of_aws_are_recognized() {
        for url in [
            "https://a1.execute-api.eu-central-1.amazonaws.com",
            "https://a1.execute-api.cn-north-1.amazonaws.com.cn/prod",
            "https://SQS.us-east-1.AMAZONAWS.com./1/queue",
            "https://user@sqs.us-east-1.amazonaws.com:443/1/queue",
            "https://x.lambda-url.us-east-1.on.aws/",
        ] {
            assert!(is_aws_address(url), "{url}");
        }
        for url in [
            "",
            "http://127.0.0.1:4566",
            "https://a1.execute-api.localhost.localstack.cloud:4566",
            "https://notamazonaws.com",
            "https://amazonaws.com.example.org/amazonaws.com",
        ] {
            assert!(!is_aws_address(url), "{url}");
        }
    }

    #[test]
    fn emulated_deployment_has_addresses_of_the_emulator() {
        let real = outputs(&[
            ("Endpoint", "https://a1.execute-api.us-east-1.amazonaws.com"),
            ("ApiId", "a1"),
            ("ApiStage", "$default"),
            ("QueueUrl", "https://sqs.us-east-1.amazonaws.com/000000000000/tidemill-jobs"),
        ]);
        let addresses = Addresses::of_stack(&real, Some(EMULATOR)).unwrap();
        assert_eq!(addresses.api, "http://127.0.0.1:4566/_aws/execute-api/a1/%24default");
        assert_eq!(addresses.queue, "http://127.0.0.1:4566/000000000000/tidemill-jobs");
        let on_aws = Addresses::of_stack(&real, None).unwrap();
        assert_eq!(on_aws.api, "https://a1.execute-api.us-east-1.amazonaws.com");

        let own =
            [("Endpoint", "http://a1.execute-api.localhost:4566/prod"), ("QueueUrl", "http://q:4566/0/jobs")];
        let addresses = Addresses::of_stack(&outputs(&own), Some(EMULATOR)).unwrap();
        assert_eq!((addresses.api.as_str(), addresses.queue.as_str()), (own[0].1, own[1].1));
    }

    #[test]
    fn address_of_aws_is_never_that_of_an_emulated_deployment() {
        for of in [
            [("Endpoint", "https://a1.execute-api.us-east-1.amazonaws.com"), ("QueueUrl", "http://q/0/jobs")],
            [("Endpoint", "http://a1.localhost"), ("QueueUrl", "https://sqs.us-east-1.amazonaws.com")],
        ] {
            let message = Addresses::of_stack(&outputs(&of), Some(EMULATOR)).unwrap_err().message;
            assert!(message.contains("nothing was stored"), "{message}");
        }
    }
}
