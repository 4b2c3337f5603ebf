//! Arguments of `deploy` and `destroy`.

use clap::{Args, ValueEnum};
use std::{fmt, path::PathBuf};

/// Which deployment, and where.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// The deployment's name, which is also its stack's
    #[arg(long, default_value = "tidemill", value_parser = name)]
    pub name: String,
    /// The AWS region [default: that of the AWS profile, or AWS_REGION]
    #[arg(long)]
    pub region: Option<String>,
    /// Use an emulator of AWS at this URL [env: AWS_ENDPOINT_URL]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Ask nothing
    #[arg(short, long)]
    pub yes: bool,
}

/// `deploy`.
#[derive(Debug, Args)]
pub struct Deploy {
    #[command(flatten)]
    /// Which
    pub place: Place,
    /// Processor of functions and workers [default: as the functions are built for]
    #[arg(long, value_enum)]
    pub arch: Option<Architecture>,
    /// Kind of the API Gateway API [default: http]
    #[arg(long, value_enum)]
    pub api: Option<ApiKind>,
    /// The most workers at a time; 0: none but your own [default: 0]
    #[arg(long, value_name = "N")]
    pub max_workers: Option<u16>,
    /// Workers that always run, and are always billed [default: 0]
    #[arg(long, value_name = "N")]
    pub min_workers: Option<u16>,
    /// EC2 instance type of workers [default: the cheapest of three with 2 processors]
    #[arg(long, value_name = "TYPE")]
    pub instance_type: Option<String>,
    /// Jobs that a worker runs at a time [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub slots: Option<u16>,
    /// Percent of workers that are spot instances, in tens [default: 100]
    #[arg(long, value_name = "PERCENT", value_parser = tens)]
    pub spot_share: Option<u8>,
    /// Network for workers [default: a small one of their own]
    #[arg(long, value_name = "ID", requires = "subnets")]
    pub vpc: Option<String>,
    /// Subnets of that network, from which the internet can be reached
    #[arg(long, value_name = "ID,ID", requires = "vpc", value_delimiter = ',')]
    pub subnets: Vec<String>,
    /// Days for which logs of jobs are kept; 0: for ever [default: 365]
    #[arg(long, value_name = "DAYS")]
    pub log_days: Option<u32>,
    /// Days for which records of executions are kept; 0: for ever [default: 0]
    #[arg(long, value_name = "DAYS")]
    pub record_days: Option<u32>,
    /// Days for which artifacts are kept at most; 0: for ever [default: 90]
    #[arg(long, value_name = "DAYS")]
    pub artifact_days: Option<u32>,
    /// Where alarms are sent
    #[arg(long, value_name = "ADDRESS")]
    pub alarm_email: Option<String>,
    /// Set any other parameter of the template
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = pair)]
    pub parameters: Vec<(String, String)>,
    /// Make a new token; the one before it stays valid beside it
    #[arg(long, value_enum, value_name = "WHOSE")]
    pub rotate_token: Vec<Role>,
    /// Let only the newest tokens be valid
    #[arg(long)]
    pub drop_old_tokens: bool,
    /// Directory of the functions: api, sweep, dead_letter, scale and tell, or their zips
    #[arg(long, value_name = "DIR")]
    pub functions: Option<PathBuf>,
    /// The tidemill binary that workers run [default: this one, if it can run there]
    #[arg(long, value_name = "FILE")]
    pub worker: Option<PathBuf>,
    /// Only show what would change
    #[arg(long)]
    pub dry_run: bool,
}

/// `destroy`.
#[derive(Debug, Args)]
pub struct Destroy {
    #[command(flatten)]
    /// Which
    pub place: Place,
    /// Delete records, logs and artifacts too
    #[arg(long)]
    pub all_data: bool,
}

/// A processor, in Lambda's words.
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
    /// That of this machine.
    pub fn of_this_machine() -> Option<Self> {
        Self::from_str(std::env::consts::ARCH, true).ok()
    }

    /// What the compiler calls a Linux on it.
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
    /// HTTP API (v2): cheaper and quicker
    Http,
    /// REST API (v1): can have a web application firewall
    Rest,
}

/// Whose token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Users'
    Admin,
    /// Workers'
    Worker,
}

fn name(text: &str) -> Result<String, String> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = (1..=31).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(letters);
    if fits {
        return Ok(text.to_owned());
    }
    Err("a name has 1 to 31 lower-case letters, digits and hyphens, and begins with a letter".to_owned())
}

fn tens(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(share) if share <= 100 && share % 10 == 0 => Ok(share),
        _ => Err("give one of 0, 10, 20, ... 100".to_owned()),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
