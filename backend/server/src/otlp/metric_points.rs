//! Metrics as messages of OTLP.

use super::messages::{
    CUMULATIVE, Gauge, Histogram, HistogramPoint, KeyValue, MetricData, MetricMessage, NumberPoint,
    NumberValue, Sum, Value, attribute,
};
use prometheus::proto::{Metric, MetricFamily, MetricType};

/// The time from which counters count, and that of the values, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct PointTimes {
    pub start: u64,
    pub now: u64,
}

/// Converts a family of metrics; `None` for a kind that Tidemill does not use.
pub fn metric_message(family: &MetricFamily, times: PointTimes) -> Option<MetricMessage> {
    let metrics = family.get_metric();
    let data = match family.get_field_type() {
        MetricType::COUNTER => MetricData::Sum(Sum {
            data_points: metrics
                .iter()
                .map(|metric| number(metric, metric.get_counter().get_value(), times))
                .collect(),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
        MetricType::GAUGE => {
            // A gauge has no start.
            let times = PointTimes { start: 0, ..times };
            let points = metrics.iter().map(|metric| number(metric, metric.get_gauge().get_value(), times));
            MetricData::Gauge(Gauge { data_points: points.collect() })
        }
        MetricType::HISTOGRAM => MetricData::Histogram(Histogram {
            data_points: metrics.iter().map(|metric| histogram(metric, times)).collect(),
            aggregation_temporality: CUMULATIVE,
        }),
        _ => return None,
    };
    let name = family.name().to_owned();
    let unit = if name.contains("_seconds") {
        "s"
    } else if name.contains("_bytes") {
        "By"
    } else {
        "1"
    };
    Some(MetricMessage {
        name,
        description: family.help().to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
    })
}

fn labels(metric: &Metric) -> Vec<KeyValue> {
    let pairs = metric.get_label().iter();
    pairs.map(|label| attribute(label.name(), Value::Text(label.value().to_owned()))).collect()
}

fn number(metric: &Metric, value: f64, times: PointTimes) -> NumberPoint {
    NumberPoint {
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        attributes: labels(metric),
        value: Some(NumberValue::Real(value)),
    }
}

/// Converts a histogram: the buckets of Prometheus have the counts of all before them, and those of OTLP their own, with one more for
/// what is above the last bound.
fn histogram(metric: &Metric, times: PointTimes) -> HistogramPoint {
    let histogram = metric.get_histogram();
    let count = histogram.get_sample_count();
    let finite = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
    let (mut explicit_bounds, mut bucket_counts, mut below) = (Vec::new(), Vec::new(), 0);
    for bucket in finite {
        explicit_bounds.push(bucket.upper_bound());
        bucket_counts.push(bucket.cumulative_count().saturating_sub(below));
        below = bucket.cumulative_count();
    }
    bucket_counts.push(count.saturating_sub(below));
    HistogramPoint {
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        count,
        sum: Some(histogram.get_sample_sum()),
        bucket_counts,
        explicit_bounds,
        attributes: labels(metric),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{PointTimes, metric_message};
    use crate::otlp::messages::MetricData;
    use prometheus::{Histogram, HistogramOpts, IntCounter, Registry};

    #[test]
    fn buckets_have_their_own_counts_and_bounds() {
        let registry = Registry::new();
        let options = HistogramOpts::new("wait_seconds", "h").buckets(vec![1.0, 5.0]);
        let histogram = Histogram::with_opts(options).unwrap();
        registry.register(Box::new(histogram.clone())).unwrap();
        let counter = IntCounter::new("runs_total", "c").unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        counter.inc_by(3);
        for value in [0.5, 0.7, 2.0, 60.0] {
            histogram.observe(value);
        }
        let times = PointTimes { start: 7, now: 9 };
        let families = registry.gather();
        let messages: Vec<_> = families.iter().filter_map(|family| metric_message(family, times)).collect();
        assert_eq!((messages[0].name.as_str(), messages[0].unit.as_str()), ("runs_total", "1"));
        assert_eq!((messages[1].name.as_str(), messages[1].unit.as_str()), ("wait_seconds", "s"));
        let Some(MetricData::Sum(sum)) = &messages[0].data else { panic!("{messages:?}") };
        assert!(sum.is_monotonic && sum.data_points[0].start_time_unix_nano == 7);
        let Some(MetricData::Histogram(points)) = &messages[1].data else { panic!("{messages:?}") };
        let point = &points.data_points[0];
        assert_eq!((point.count, point.bucket_counts.as_slice()), (4, [2, 1, 1].as_slice()));
        assert_eq!((point.explicit_bounds.as_slice(), point.sum), ([1.0, 5.0].as_slice(), Some(63.2)));
    }
}
