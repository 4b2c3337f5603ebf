//! Where the export goes. The names are those of OpenTelemetry's environment variables.

use std::time::Duration;
use tidemill_services::HttpMessenger;

/// Default time between two exports of metrics.
const METRIC_INTERVAL: Duration = Duration::from_secs(60);
/// Minimum time between two exports of metrics.
const MIN_METRIC_INTERVAL_MS: u64 = 100;
const MAX_PAIRS: usize = 100;

/// Settings as texts.
#[derive(Clone, Default)]
pub struct OtlpOptions {
    /// Address of the receiver; `/v1/traces` and the like are added to it.
    pub endpoint: String,
    /// Headers of each request: `name=value,name=value`, with percent-encoded values (`OTEL_EXPORTER_OTLP_HEADERS`).
    pub headers: Option<String>,
    /// Attributes of this process, in the same form (`OTEL_RESOURCE_ATTRIBUTES`).
    pub resource: Option<String>,
    /// Name of the service, `tidemill-server` or `tidemill-worker` (`OTEL_SERVICE_NAME`).
    pub service_name: String,
    /// Milliseconds between two exports of metrics (`OTEL_METRIC_EXPORT_INTERVAL`).
    pub metric_interval_ms: Option<String>,
}

/// Valid settings.
#[derive(Clone)]
pub struct OtlpSettings {
    pub(super) endpoint: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) resource: Vec<(String, String)>,
    pub(super) metric_interval: Duration,
}

/// Why settings are not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OtlpSettingsError {
    /// The endpoint is not an address of HTTP.
    #[error(
        "the OTLP endpoint `{0}` is not an address such as http://127.0.0.1:4318; credentials belong in OTEL_EXPORTER_OTLP_HEADERS"
    )]
    Endpoint(String),
    /// A list of pairs has another form. The text is not shown, because it may have secrets.
    #[error("{0} is not a list such as name=value,name=value with percent-encoded values")]
    Pairs(&'static str),
    /// The interval is not a number of milliseconds.
    #[error("OTEL_METRIC_EXPORT_INTERVAL is `{0}`; it is a number of milliseconds, at least 100")]
    Interval(String),
}

impl std::fmt::Debug for OtlpSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Headers have credentials.
        f.debug_struct("OtlpSettings").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for OtlpOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OtlpOptions").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl OtlpSettings {
    /// Checks settings.
    ///
    /// # Errors
    /// Returns an error if a setting is not valid.
    pub fn new(options: &OtlpOptions) -> Result<Self, OtlpSettingsError> {
        let endpoint = options.endpoint.trim_end_matches('/');
        if !HttpMessenger::is_plain_address(endpoint) {
            // It may have credentials.
            let shown = endpoint.rsplit('@').next().unwrap_or_default().to_owned();
            return Err(OtlpSettingsError::Endpoint(shown));
        }
        let headers = pairs("OTEL_EXPORTER_OTLP_HEADERS", options.headers.as_deref())?;
        if headers.iter().any(|(name, value)| !HttpMessenger::is_header(name, value)) {
            return Err(OtlpSettingsError::Pairs("OTEL_EXPORTER_OTLP_HEADERS"));
        }
        let mut resource = vec![
            ("service.name".to_owned(), options.service_name.clone()),
            ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ];
        for (key, value) in pairs("OTEL_RESOURCE_ATTRIBUTES", options.resource.as_deref())? {
            match resource.iter_mut().find(|(known, _)| *known == key) {
                // Its own variable wins.
                Some(_) if key == "service.name" => {}
                Some((_, known)) => *known = value,
                None => resource.push((key, value)),
            }
        }
        let metric_interval = match options.metric_interval_ms.as_deref().map(str::trim) {
            None | Some("") => METRIC_INTERVAL,
            Some(text) => {
                let ms = text.parse().ok().filter(|ms| *ms >= MIN_METRIC_INTERVAL_MS);
                Duration::from_millis(ms.ok_or_else(|| OtlpSettingsError::Interval(text.to_owned()))?)
            }
        };
        Ok(Self { endpoint: endpoint.to_owned(), headers, resource, metric_interval })
    }
}

/// Reads `name=value,name=value`.
fn pairs(name: &'static str, text: Option<&str>) -> Result<Vec<(String, String)>, OtlpSettingsError> {
    let mut pairs = Vec::new();
    for pair in text.unwrap_or_default().split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or(OtlpSettingsError::Pairs(name))?;
        let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8();
        let value = value.map_err(|_| OtlpSettingsError::Pairs(name))?.into_owned();
        if key.trim().is_empty() || pairs.len() >= MAX_PAIRS {
            return Err(OtlpSettingsError::Pairs(name));
        }
        pairs.push((key.trim().to_owned(), value));
    }
    Ok(pairs)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{OtlpOptions, OtlpSettings, OtlpSettingsError};
    use std::time::Duration;

    fn options(endpoint: &str) -> OtlpOptions {
        OtlpOptions {
            endpoint: endpoint.into(),
            service_name: "tidemill-server".into(),
            ..OtlpOptions::default()
        }
    }

    #[test]
    fn settings_have_the_forms_of_the_environment_variables() {
        let settings = OtlpSettings::new(&OtlpOptions {
            headers: Some("authorization=Bearer%20s3cret, x-tenant=a=b".into()),
            resource: Some("deployment.environment.name=test,service.name=other,service.version=9".into()),
            metric_interval_ms: Some("500".into()),
            ..options("http://127.0.0.1:4318/")
        })
        .unwrap();
        assert_eq!(settings.endpoint, "http://127.0.0.1:4318");
        assert_eq!(settings.headers[0], ("authorization".into(), "Bearer s3cret".into()));
        assert_eq!(settings.headers[1], ("x-tenant".into(), "a=b".into()));
        let value = |key: &str| settings.resource.iter().find(|(name, _)| name == key).unwrap().1.as_str();
        assert_eq!(value("service.name"), "tidemill-server");
        assert_eq!((value("service.version"), value("deployment.environment.name")), ("9", "test"));
        assert_eq!(settings.metric_interval, Duration::from_millis(500));
        assert!(!format!("{settings:?}").contains("s3cret"), "{settings:?}");
    }

    #[test]
    fn invalid_settings_are_rejected_without_their_secrets() {
        for endpoint in
            ["", "127.0.0.1:4318", "ftp://a", "http://user:s3cret@a:4318", "http://a/?key=1", "http://"]
        {
            let error = OtlpSettings::new(&options(endpoint)).unwrap_err();
            assert!(matches!(error, OtlpSettingsError::Endpoint(_)), "{endpoint}: {error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        for headers in ["s3cret", "=s3cret", "a b=s3cret", "x=%ff", "x=s3cret%0aInjected: 1"] {
            let headers = Some(headers.to_owned());
            let error = OtlpSettings::new(&OtlpOptions { headers, ..options("http://a:4318") }).unwrap_err();
            assert_eq!(error, OtlpSettingsError::Pairs("OTEL_EXPORTER_OTLP_HEADERS"));
        }
        for interval in ["x", "5", "-1"] {
            let metric_interval_ms = Some(interval.to_owned());
            let error =
                OtlpSettings::new(&OtlpOptions { metric_interval_ms, ..options("http://a") }).unwrap_err();
            assert_eq!(error, OtlpSettingsError::Interval(interval.to_owned()));
        }
    }
}
