//! The log of this process: its format, its level while it runs, and what passes its events to the export.

use super::server_log::{LogStyle, ServerLog};
use crate::env_vars;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use tidemill_server::{LogRecords, log_layer};
use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt as format,
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

/// The levels that [`LogLevels::raise`] goes through.
const LEVELS: [LevelFilter; 5] =
    [LevelFilter::ERROR, LevelFilter::WARN, LevelFilter::INFO, LevelFilter::DEBUG, LevelFilter::TRACE];
/// Beginning of the names of this program's own modules. Those of libraries stay at their level.
const OWN_TARGETS: &str = "tidemill";

/// The log that was started.
#[derive(Debug)]
pub struct Logging {
    /// Its levels.
    pub levels: LogLevels,
    /// Its events, if they are exported.
    pub records: Option<LogRecords>,
}

impl Logging {
    /// Starts logging to standard error with the filter `filter`, or errors only if that is invalid.
    pub fn start(filter: &str, style: LogStyle, exports: bool) -> Self {
        let filter = filter.parse::<Targets>().unwrap_or_else(|error| {
            anstream::eprintln!(
                "tidemill: {}: {error}; use levels such as `info` or `tidemill_worker=debug`; logging errors only",
                env_vars::LOG
            );
            Targets::new().with_default(LevelFilter::ERROR)
        });
        let (reloadable, handle) = reload::Layer::new(filter.clone());
        let text = format::layer().with_ansi(false).with_writer(move || ServerLog(style));
        let lines: Box<dyn Layer<_> + Send + Sync> = match style {
            LogStyle::Json => Box::new(text.json().flatten_event(true).with_span_list(false)),
            LogStyle::Text => Box::new(text),
        };
        let (layer, records) = if exports { Some(log_layer()).unzip() } else { (None, None) };
        tracing_subscriber::registry().with(reloadable).with(lines).with(layer).init();
        Self { levels: LogLevels { configured: filter, handle, raised: Arc::default() }, records }
    }
}

/// Changes the levels of the log while the process runs.
#[derive(Clone)]
pub struct LogLevels {
    configured: Targets,
    handle: reload::Handle<Targets, Registry>,
    /// The level of this program's own modules, if it was raised.
    raised: Arc<Mutex<Option<LevelFilter>>>,
}

impl fmt::Debug for LogLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLevels").field("configured", &self.configured).finish_non_exhaustive()
    }
}

impl LogLevels {
    /// Raises the level of this program's own modules by one.
    pub fn raise(&self) {
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        let current = raised.or_else(|| self.configured.default_level()).unwrap_or(LevelFilter::ERROR);
        let next = LEVELS.into_iter().find(|level| *level > current).unwrap_or(LevelFilter::TRACE);
        if self.set(self.configured.clone().with_target(OWN_TARGETS, next)) {
            *raised = Some(next);
            tracing::warn!(level = %next, "the log level was raised; SIGUSR2 resets it");
        }
    }

    /// Resets all levels to those that were configured.
    pub fn reset(&self) {
        tracing::warn!("the log level is reset");
        if self.set(self.configured.clone()) {
            *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn set(&self, filter: Targets) -> bool {
        let changed = self.handle.reload(filter);
        if let Err(error) = &changed {
            tracing::error!(%error, "cannot change the log level");
        }
        changed.is_ok()
    }
}
