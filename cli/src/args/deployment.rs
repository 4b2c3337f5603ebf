//! Arguments of `deploy` and `destroy`.
#![cfg_attr(not(feature = "aws"), allow(dead_code))]

use super::shared::{ConsentArgs, FormatArgs};
use clap::{Args, ValueEnum};
use std::{fmt, path::PathBuf};

/// Selects a deployment's stack.
#[derive(Debug, Clone, Args)]
pub struct StackArgs {
    /// Name of the deployment and its stack
    #[arg(long, default_value = "tidemill", value_parser = stack_name)]
    pub name: String,
    /// AWS region [default: AWS_REGION, or the AWS profile's]
    #[arg(long)]
    pub region: Option<String>,
    /// URL of an AWS emulator [env: AWS_ENDPOINT_URL]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    #[command(flatten)]
    pub consent: ConsentArgs,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// Rights of the deployment, and those that creating it needs.
#[derive(Debug, Args)]
pub struct RightsArgs {
    /// Policy that limits every role of the deployment
    #[arg(long, value_name = "ARN")]
    pub permissions_boundary: Option<String>,
    /// Print the policy that the credentials need, and change nothing
    #[arg(long)]
    pub print_policy: bool,
    /// Deploy without checking permissions and quotas first
    #[arg(long)]
    pub skip_checks: bool,
}

/// `deploy`.
#[derive(Debug, Args)]
pub struct Deploy {
    #[command(flatten)]
    pub stack: StackArgs,
    /// CPU architecture of functions and workers [default: that of the function binaries]
    #[arg(long, value_enum)]
    pub arch: Option<Architecture>,
    /// API Gateway type [default: http]
    #[arg(long, value_enum)]
    pub api: Option<ApiKind>,
    /// Maximum number of workers on EC2 [default: 0]
    #[arg(long, value_name = "N")]
    pub max_workers: Option<u16>,
    /// Minimum number of workers on EC2, always billed [default: 0]
    #[arg(long, value_name = "N")]
    pub min_workers: Option<u16>,
    /// EC2 instance type of workers [default: the cheapest of three with 2 vCPUs]
    #[arg(long, value_name = "TYPE")]
    pub instance_type: Option<String>,
    /// Concurrent jobs per worker [default: 2]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// Percentage of spot instances, a multiple of 10 [default: 100]
    #[arg(long, value_name = "PERCENT", value_parser = spot_share)]
    pub spot_share: Option<u8>,
    /// VPC for workers [default: a new one]
    #[arg(long, value_name = "ID", requires = "subnets")]
    pub vpc: Option<String>,
    /// Subnets of the VPC, with internet access
    #[arg(long, value_name = "ID,ID", requires = "vpc", value_delimiter = ',')]
    pub subnets: Vec<String>,
    /// Retention of job logs; 0: unlimited [default: 365]
    #[arg(long, value_name = "DAYS")]
    pub log_days: Option<u32>,
    /// Retention of execution records; 0: unlimited [default: 0]
    #[arg(long, value_name = "DAYS")]
    pub record_days: Option<u32>,
    /// Maximum retention of artifacts; 0: unlimited [default: 90]
    #[arg(long, value_name = "DAYS")]
    pub artifact_days: Option<u32>,
    /// Email address for alarms
    #[arg(long, value_name = "ADDRESS")]
    pub alarm_email: Option<String>,
    /// Domain of the API; needs --certificate
    #[arg(long, value_name = "NAME", requires = "certificate")]
    pub domain: Option<String>,
    /// Certificate for the domain, of the Certificate Manager in the region
    #[arg(long, value_name = "ARN", requires = "domain")]
    pub certificate: Option<String>,
    /// Endpoint of a VPC through which alone the API is reached; needs --api rest
    #[arg(long, value_name = "ID", conflicts_with = "domain")]
    pub vpc_endpoint: Option<String>,
    #[command(flatten)]
    pub rights: RightsArgs,
    /// Use the table and the bucket that an earlier deployment of this name has left
    #[arg(long)]
    pub adopt: bool,
    /// Set another template parameter
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub parameters: Vec<(String, String)>,
    /// Create a new token; the previous one stays valid
    #[arg(long, value_enum, value_name = "ROLE")]
    pub rotate_token: Vec<Role>,
    /// Invalidate all tokens but the newest
    #[arg(long)]
    pub drop_old_tokens: bool,
    /// Directory with the functions api, authorize, sweep, scale and notify, as binaries or zip files
    #[arg(long, value_name = "DIR")]
    pub functions: Option<PathBuf>,
    /// `tidemill` binary for workers [default: this one, if compatible]
    #[arg(long, value_name = "FILE")]
    pub worker: Option<PathBuf>,
    /// Show the changes without applying them
    #[arg(long)]
    pub dry_run: bool,
}

/// `destroy`.
#[derive(Debug, Args)]
pub struct Destroy {
    #[command(flatten)]
    pub stack: StackArgs,
    /// Also delete records, logs, artifacts and secrets
    #[arg(long)]
    pub all_data: bool,
}

/// A CPU architecture, as Lambda names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Architecture {
    /// Graviton
    #[value(name = "arm64", alias = "aarch64")]
    Arm64,
    /// Intel and AMD
    #[value(name = "x86_64", alias = "amd64")]
    X86_64,
}

impl Architecture {
    /// Returns the architecture of this machine, if it is known.
    pub fn of_this_machine() -> Option<Self> {
        Self::from_str(std::env::consts::ARCH, true).ok()
    }

    /// Returns Rust's target triple for Linux.
    pub const fn target(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-unknown-linux-gnu",
            Self::X86_64 => "x86_64-unknown-linux-gnu",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arm64 => "arm64",
            Self::X86_64 => "x86_64",
        })
    }
}

/// A kind of API Gateway API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ApiKind {
    /// HTTP API (v2): cheaper and faster
    Http,
    /// REST API (v1): supports a web application firewall
    Rest,
}

/// Role of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Users
    Admin,
    /// Workers
    Worker,
}

fn stack_name(text: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_valid = (1..=31).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(is_allowed);
    if is_valid {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 31 lowercase letters, digits and hyphens, starting with a letter".to_owned())
}

fn spot_share(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(share) if share <= 100 && share % 10 == 0 => Ok(share),
        _ => Err("expected a multiple of 10 from 0 to 100".to_owned()),
    }
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
