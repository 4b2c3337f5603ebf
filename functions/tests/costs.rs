//! The bill of the template while nothing runs, and under an attack: computed from the template, so that what is added to it fails here
//! if it costs too much. docs/deploy.md has the results.
#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_precision_loss, reason = "test code")]

use serde_yaml::{Mapping, Value};
use tidemill_core::execution::cost::Prices;

const TEMPLATE: &str = include_str!("../../infra/template.yml");

const MINUTES_A_MONTH: f64 = 43_800.0;
const SECONDS_A_DAY: f64 = 86_400.0;

/// Milliseconds of a run of a function that has nothing to do, and of one for a request that is rejected.
const IDLE_RUN_MS: f64 = 80.0;
const REJECTED_MS: f64 = 15.0;
/// Read units of such a run of `sweep` and of `scale`; `cloud_cost` (`make bench-cloud`) measures the first one.
const IDLE_READ_UNITS: [(&str, f64); 2] = [("SweepFunction", 6.0), ("ScaleFunction", 3.0)];
/// Share of the runs of `sweep` that receive from the dead-letter queue.
const DEAD_LETTER_RECEIVES: f64 = 0.2;

/// What an idle month may cost, without alarms and with them.
const MAX_IDLE: f64 = 0.10;
const MAX_IDLE_WITH_ALARMS: f64 = 1.00;
/// What a day may cost under an attack by a caller who knows no credential.
const MAX_ATTACK: f64 = 30.0;

/// Resources that cost nothing while there are no requests, jobs and data.
const FREE: &[&str] = &[
    "AWS::ApiGateway::Account",
    "AWS::ApiGateway::Authorizer",
    "AWS::ApiGateway::BasePathMapping",
    "AWS::ApiGateway::DomainName",
    "AWS::ApiGateway::Deployment",
    "AWS::ApiGateway::Method",
    "AWS::ApiGateway::Resource",
    "AWS::ApiGateway::RestApi",
    "AWS::ApiGateway::Stage",
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::ApiMapping",
    "AWS::ApiGatewayV2::DomainName",
    "AWS::ApiGatewayV2::Authorizer",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
    "AWS::ApiGatewayV2::Stage",
    "AWS::AutoScaling::AutoScalingGroup",
    // The disks of stopped instances are billed, but there are none by default.
    "AWS::AutoScaling::WarmPool",
    "AWS::DynamoDB::Table",
    "AWS::EC2::InternetGateway",
    "AWS::EC2::LaunchTemplate",
    "AWS::EC2::Route",
    "AWS::EC2::RouteTable",
    "AWS::EC2::SecurityGroup",
    "AWS::EC2::Subnet",
    "AWS::EC2::SubnetRouteTableAssociation",
    "AWS::EC2::VPC",
    "AWS::EC2::VPCGatewayAttachment",
    "AWS::IAM::InstanceProfile",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::Function",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogGroup",
    // Its metric is billed for hours in which it has a value.
    "AWS::Logs::MetricFilter",
    "AWS::S3::Bucket",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
    "AWS::SQS::QueuePolicy",
];

struct Template(Mapping);

impl Template {
    fn load() -> Self {
        let Value::Mapping(template) = serde_yaml::from_str(TEMPLATE).unwrap() else { panic!("no mapping") };
        Self(template)
    }

    fn resources(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        let all = self.0["Resources"].as_mapping().unwrap();
        all.iter().map(|(name, resource)| {
            let kind = resource["Type"].as_str().unwrap();
            (name.as_str().unwrap(), kind, &resource["Properties"])
        })
    }

    fn resource(&self, name: &str) -> &Value {
        self.resources().find(|(one, _, _)| *one == name).unwrap().2
    }

    fn default_of(&self, parameter: &str) -> &Value {
        &self.0["Parameters"][parameter]["Default"]
    }

    /// A number, which may be a parameter.
    fn number(&self, value: &Value) -> f64 {
        match value {
            Value::Tagged(tagged) => self.number(self.default_of(tagged.value.as_str().unwrap())),
            number => number.as_f64().unwrap(),
        }
    }

    /// The dollars of a run of a function that takes so long.
    fn run(&self, prices: &Prices, function: &str, milliseconds: f64) -> f64 {
        let gib = self.number(&self.resource(function)["MemorySize"]) / 1024.0;
        prices.lambda_request + gib * milliseconds / 1000.0 * prices.lambda_gb_second
    }
}

/// All places in a value where a key is `name`.
fn find<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Mapping(mapping) => {
            for (key, inner) in mapping {
                if key.as_str() == Some(name) {
                    found.push(inner);
                }
                find(inner, name, found);
            }
        }
        Value::Sequence(all) => all.iter().for_each(|inner| find(inner, name, found)),
        Value::Tagged(tagged) => find(&tagged.value, name, found),
        _ => {}
    }
}

/// Number of metrics that an alarm watches.
fn metrics(alarm: &Value) -> usize {
    let mut found = Vec::new();
    find(alarm, "MetricStat", &mut found);
    assert_eq!(
        alarm.get("MetricName").is_some(),
        found.is_empty(),
        "one metric, or an expression: {alarm:?}"
    );
    found.len().max(1)
}

#[test]
fn idle_deployment_costs_ten_cents_a_month_and_a_dollar_with_alarms() {
    let (template, prices) = (Template::load(), Prices::us_east_1().unwrap());
    let (mut idle, mut alarms) = (0.0, 0.0);
    for (name, kind, properties) in template.resources() {
        match kind {
            "AWS::Events::Rule" => {
                assert_eq!(properties["ScheduleExpression"], "rate(1 minute)", "{name}");
                let mut targets = Vec::new();
                find(&properties["Targets"], "Arn", &mut targets);
                for target in targets {
                    let Value::Tagged(target) = target else { panic!("{name}: {target:?}") };
                    let function = target.value.as_str().unwrap().split('.').next().unwrap();
                    let units = IDLE_READ_UNITS.iter().find(|(one, _)| *one == function);
                    let reads = units.unwrap_or_else(|| panic!("{function} is not in the bill")).1;
                    let run = template.run(&prices, function, IDLE_RUN_MS);
                    idle += MINUTES_A_MONTH * (run + reads * prices.dynamodb_read_unit);
                }
            }
            "AWS::Lambda::EventSourceMapping" => {
                // Lambda polls a stream of DynamoDB for nothing, but it long-polls a queue by five requests at a time.
                let source = format!("{:?}", properties["EventSourceArn"]);
                assert!(
                    source.contains("Table.StreamArn"),
                    "{name}: polls of a queue cost 0.26 dollars a month"
                );
            }
            "AWS::CloudWatch::Alarm" => alarms += metrics(properties) as f64 * prices.alarm_metric_month,
            "AWS::CloudWatch::CompositeAlarm" => alarms += prices.composite_alarm_month,
            "AWS::CloudWatch::Dashboard" => {
                let is_off = template.default_of("Dashboard") == "off";
                idle += if is_off { 0.0 } else { prices.dashboard_month };
            }
            "AWS::EC2::VPCEndpoint" => {
                assert_eq!(
                    properties.get("VpcEndpointType").unwrap_or(&"Gateway".into()),
                    "Gateway",
                    "{name}"
                );
            }
            kind => assert!(FREE.contains(&kind), "{name}: what does a {kind} cost while nothing runs?"),
        }
    }
    idle += MINUTES_A_MONTH * DEAD_LETTER_RECEIVES * prices.sqs_request;
    assert_eq!(template.default_of("RequestMetrics"), "off", "custom metrics are billed");
    assert_eq!(template.default_of("WarmWorkers"), "0", "the disks of a warm pool are billed");
    println!("idle: {idle:.3} dollars a month; alarms: {alarms:.2}");
    assert!(idle <= MAX_IDLE, "{idle} dollars a month");
    assert!(idle + alarms <= MAX_IDLE_WITH_ALARMS, "{} dollars a month with alarms", idle + alarms);
}

/// A route that needs no credential: its path as the template has it, milliseconds of the function, units of the table that are read and
/// written, and bytes of the largest reply.
const PUBLIC_ROUTES: [(&str, f64, f64, f64, f64); 8] = [
    // An image or a script of the web UI.
    ("GET /", REJECTED_MS, 0.0, 0.0, 4e3),
    ("GET /{proxy+}", REJECTED_MS, 1.0, 0.0, 60e3),
    // A delivery without a valid signature is counted.
    ("POST /api/webhook/{proxy+}", 25.0, 2.0, 1.0, 1e3),
    ("GET /api/health", 25.0, 2.0, 0.0, 1e3),
    ("GET /api/openapi.json", 25.0, 0.0, 0.0, 60e3),
    // It may ask the provider.
    ("ANY /api/session/{proxy+}", 500.0, 2.0, 0.0, 1e3),
    ("GET /api/badge/{proxy+}", 25.0, 3.0, 0.0, 2e3),
    ("GET /api/oidc/{proxy+}", REJECTED_MS, 0.0, 0.0, 2e3),
];
/// Dollars for a GB that leaves AWS.
const TRANSFER_GB: f64 = 0.09;

#[test]
fn day_under_attack_is_bounded_by_the_throttles() {
    let (template, prices) = (Template::load(), Prices::us_east_1().unwrap());
    let stage = template.resource("HttpStage");
    let request = |ms: f64, reads: f64, writes: f64, bytes: f64| {
        prices.request() - prices.lambda_request
            + template.run(&prices, "ApiFunction", ms)
            + reads * prices.dynamodb_read_unit
            + writes * prices.dynamodb_write_unit
            + bytes / 1e9 * TRANSFER_GB
    };
    // Each request has another invented credential: the authorizer is asked about each, and the API looks each up.
    let credential = request(REJECTED_MS, 1.0, 0.0, 1e3) + template.run(&prices, "AuthorizeFunction", 5.0);
    let mut day =
        template.number(&stage["DefaultRouteSettings"]["ThrottlingRateLimit"]) * SECONDS_A_DAY * credential;
    let settings = stage["RouteSettings"].as_mapping().unwrap();
    assert_eq!(settings.len(), PUBLIC_ROUTES.len());
    for (route, ms, reads, writes, bytes) in PUBLIC_ROUTES {
        let rate = template.number(&settings[route]["ThrottlingRateLimit"]);
        day += rate * SECONDS_A_DAY * request(ms, reads, writes, bytes);
    }
    println!("a day under attack: {day:.1} dollars");
    assert!(day <= MAX_ATTACK, "{day} dollars a day");
}

#[test]
fn only_listed_routes_are_open_to_requests_without_a_credential() {
    let template = Template::load();
    let mut open = Vec::new();
    for (name, kind, properties) in template.resources() {
        match kind {
            "AWS::ApiGatewayV2::Route" => {
                let key = properties["RouteKey"].as_str().unwrap();
                let has_authorizer = properties.get("AuthorizerId").is_some();
                assert_eq!(has_authorizer, properties.get("AuthorizationType").is_some(), "{name}");
                if !has_authorizer {
                    open.push(key);
                    let rates = &template.resource("HttpStage")["RouteSettings"][key];
                    assert!(
                        template.number(&rates["ThrottlingRateLimit"]) <= 10.0,
                        "{key} has a low throttle"
                    );
                }
            }
            // Those of the REST API are the same.
            "AWS::ApiGateway::Method" if properties["AuthorizationType"] == "NONE" => {
                let route = name.strip_prefix("Rest").and_then(|name| name.strip_suffix("Method")).unwrap();
                let http = template.resource(&format!("Http{route}Route"));
                assert!(http.get("AuthorizerId").is_none(), "{name}");
            }
            _ => {}
        }
    }
    assert_eq!(template.default_of("RequireCredential"), "true");
    open.sort_unstable();
    let mut listed: Vec<&str> = PUBLIC_ROUTES.iter().map(|(route, ..)| *route).collect();
    listed.sort_unstable();
    assert_eq!(open, listed);
    for authorizer in ["HttpAuthorizer", "RestAuthorizer"] {
        let mut sources = Vec::new();
        find(template.resource(authorizer), "IdentitySource", &mut sources);
        assert!(format!("{sources:?}").contains("request.header.Authorization"), "{authorizer}: {sources:?}");
    }
}

#[test]
fn every_operation_without_a_token_has_a_route_without_a_credential() {
    use tidemill_core::api::path;
    // Browsers, git providers and others call them without an `Authorization` header.
    let open = [
        ("POST", path::WEBHOOK),
        ("GET", path::HEALTH),
        ("GET", path::OPENAPI),
        ("GET", path::SIGN_IN),
        ("GET", path::SIGN_IN_REPLY),
        ("POST", path::SESSION_TOKEN),
        ("GET", path::BADGE),
        ("GET", path::OIDC_CONFIGURATION),
        ("GET", path::OIDC_KEYS),
    ];
    for (method, path) in open {
        let is_routed = PUBLIC_ROUTES.iter().any(|(route, ..)| {
            let (verb, pattern) = route.split_once(' ').unwrap();
            let fits =
                pattern.strip_suffix("{proxy+}").map_or(path == pattern, |prefix| path.starts_with(prefix));
            pattern.starts_with("/api/") && fits && (verb == method || verb == "ANY")
        });
        assert!(is_routed, "{method} {path}");
    }
}

/// Whether a pattern of an ARN covers a text: `*` stands for any characters.
fn covers(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|text| {
            (0..=text.len()).any(|at| text.is_char_boundary(at) && covers(rest, &text[at..]))
        }),
    }
}

#[test]
fn gateway_may_call_the_function_by_each_route() {
    let template = Template::load();
    let patterns = ["HttpPermission", "HttpPagePermission"].map(|name| {
        let Value::Tagged(source) = &template.resource(name)["SourceArn"] else { panic!("{name}") };
        source.value.as_str().unwrap().split_once("${HttpGateway}/").unwrap().1.to_owned()
    });
    for (name, kind, properties) in template.resources() {
        if kind == "AWS::ApiGatewayV2::Route" {
            let (verb, path) = properties["RouteKey"].as_str().unwrap().split_once(' ').unwrap();
            let verb = if verb == "ANY" { "DELETE" } else { verb };
            let call = format!("$default/{verb}{path}");
            assert!(patterns.iter().any(|pattern| covers(pattern, &call)), "{name}: {call}: {patterns:?}");
        }
    }
}
