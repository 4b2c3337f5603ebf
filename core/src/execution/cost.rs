//! Cloud usage of an execution, and its cost at list prices.

use crate::api::ExecutionView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::{Add, AddAssign};

/// Calls and capacity, counted where they are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Usage {
    /// Requests to the API.
    pub api_requests: u64,
    /// Duration of functions in milliseconds times their memory in MiB.
    pub function_mib_ms: u64,
    /// Requests to DynamoDB.
    pub table_requests: u64,
    /// Items written, each item of a transaction counted.
    pub table_writes: u64,
    /// Consumed write units, in halves.
    pub table_write_halves: u64,
    /// Consumed read units, in halves.
    pub table_read_halves: u64,
    /// Requests to SQS: those of the API are counted; the worker's receipt and deletion of each message are added when
    /// the message is sent.
    pub queue_requests: u64,
    /// PUT, COPY, POST and LIST requests to S3, including uploads with presigned URLs.
    pub object_puts: u64,
    /// GET and other requests to S3.
    pub object_gets: u64,
}

impl Usage {
    /// Whether nothing was used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        // Destructured, so that adding a field without summing it is a compile error.
        let Self {
            api_requests,
            function_mib_ms,
            table_requests,
            table_writes,
            table_write_halves,
            table_read_halves,
            queue_requests,
            object_puts,
            object_gets,
        } = other;
        self.api_requests += api_requests;
        self.function_mib_ms += function_mib_ms;
        self.table_requests += table_requests;
        self.table_writes += table_writes;
        self.table_write_halves += table_write_halves;
        self.table_read_halves += table_read_halves;
        self.queue_requests += queue_requests;
        self.object_puts += object_puts;
        self.object_gets += object_gets;
    }
}

impl Add for Usage {
    type Output = Self;
    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

/// List prices of one region, in dollars.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prices {
    /// The region.
    pub region: String,
    /// Date on which they were read.
    pub as_of: String,
    /// Which price lists they come from.
    pub note: String,
    /// One request to the API.
    pub api_request: f64,
    /// One invocation of a function.
    pub lambda_request: f64,
    /// One second of a function with 1 GiB.
    pub lambda_gb_second: f64,
    /// One write unit.
    pub dynamodb_write_unit: f64,
    /// One read unit.
    pub dynamodb_read_unit: f64,
    /// One request to SQS.
    pub sqs_request: f64,
    /// One PUT to S3.
    pub s3_put: f64,
    /// One GET from S3.
    pub s3_get: f64,
    /// One GB that is written to a log group.
    pub log_gb: f64,
    /// One month of an alarm, for each metric that it watches.
    pub alarm_metric_month: f64,
    /// One month of an alarm that watches other alarms.
    pub composite_alarm_month: f64,
    /// One month of a dashboard.
    pub dashboard_month: f64,
    /// One hour of a worker machine.
    pub worker_hour: f64,
    /// One hour of its public IPv4 address.
    pub worker_address_hour: f64,
    /// One hour of its disk.
    pub worker_disk_hour: f64,
    /// Number of jobs that it runs at the same time.
    pub worker_slots: u32,
}

/// Bytes that a request writes to logs, on average: a line of the API's access log, and what CloudWatch adds to it. The function writes
/// nothing unless something is wrong.
const LOG_BYTES_PER_REQUEST: f64 = 300.0;

impl Prices {
    /// Returns what a request to the API costs: API Gateway, its log and the invocation of the function, without the function's time.
    #[must_use]
    pub fn request(&self) -> f64 {
        self.api_request + self.lambda_request + LOG_BYTES_PER_REQUEST / 1e9 * self.log_gb
    }

    /// Returns the prices of us-east-1 included in this version.
    pub fn us_east_1() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!("../../data/prices-us-east-1.json"))
    }
}

/// Cost in dollars, by category.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// API, functions, table and queue.
    pub control_plane: f64,
    /// Requests for logs, artifacts, sources and definitions.
    pub storage: f64,
    /// The slots' share of worker machines while jobs ran.
    pub workers: f64,
}

impl Cost {
    /// Returns the sum.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.control_plane + self.storage + self.workers
    }
}

/// Returns the cost of `usage` and of `worker_ms` milliseconds in worker slots.
#[must_use]
pub fn cost(usage: &Usage, worker_ms: u64, prices: &Prices) -> Cost {
    let gb_seconds = number(usage.function_mib_ms) / 1024.0 / 1000.0;
    let control_plane = number(usage.api_requests) * prices.request()
        + gb_seconds * prices.lambda_gb_second
        + number(usage.table_write_halves) / 2.0 * prices.dynamodb_write_unit
        + number(usage.table_read_halves) / 2.0 * prices.dynamodb_read_unit
        + number(usage.queue_requests) * prices.sqs_request;
    let storage = number(usage.object_puts) * prices.s3_put + number(usage.object_gets) * prices.s3_get;
    let machine_hour = prices.worker_hour + prices.worker_address_hour + prices.worker_disk_hour;
    let slot_hour = machine_hour / f64::from(prices.worker_slots.max(1));
    Cost { control_plane, storage, workers: number(worker_ms) / 3_600_000.0 * slot_hour }
}

/// Maximum price of a slot, in millionths of a dollar for an hour: 10,000 dollars.
pub const MAX_SLOT_PRICE: u64 = 10_000_000_000;

/// Returns an amount of billionths of a dollar in dollars; `None` if it is 0, so that nothing had a price.
#[must_use]
pub fn dollars(nano_usd: u64) -> Option<f64> {
    (nano_usd > 0).then(|| number(nano_usd) / 1e9)
}

/// Returns the milliseconds for which the attempts of an execution's jobs occupied worker slots.
#[must_use]
pub fn worker_ms(view: &ExecutionView) -> u64 {
    let jobs = view.jobs.iter().filter(|job| job.carried_from.is_none());
    jobs.map(|job| {
        let before: u64 = job.attempts.iter().map(|one| one.ended_at.since_ms(one.started_at)).sum();
        let last = job.start_time.zip(job.end_time).map_or(0, |(start, end)| end.since_ms(start));
        before + last
    })
    .sum()
}

/// Converts a count to a factor; exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
const fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Prices, Usage, cost, dollars};

    #[test]
    fn nothing_costs_anything_without_a_price() {
        assert_eq!((dollars(72_500_000), dollars(0)), (Some(0.0725), None));
    }

    #[test]
    fn thousand_minutes_of_jobs_cost_mostly_workers() {
        let prices = Prices::us_east_1().unwrap();
        let usage = Usage {
            api_requests: 3_000,
            function_mib_ms: 3_000 * 256 * 20,
            table_write_halves: 2 * 10_000,
            table_read_halves: 2 * 20_000,
            queue_requests: 3_000,
            object_puts: 1_000,
            ..Usage::default()
        };
        let cost = cost(&usage, 1_000 * 60_000, &prices);
        assert!((cost.control_plane - 0.0143).abs() < 0.0005, "{cost:?}");
        assert!((cost.storage - 0.005).abs() < 1e-9, "{cost:?}");
        assert!((cost.workers - 0.6824).abs() < 0.001, "{cost:?}");
        assert!((cost.total() - cost.control_plane - cost.storage - cost.workers).abs() < 1e-12);
    }
}
