//! Logs in memory.

use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use tidemill_core::ids::JobId;
use tidemill_services::error::{Error, Result};
use tidemill_services::ports::Logs;

/// Logs in memory.
#[derive(Debug, Default)]
pub struct MemoryLogs(Mutex<BTreeMap<(JobId, u32), Vec<u8>>>);

#[async_trait]
impl Logs for MemoryLogs {
    async fn append(&self, job: JobId, attempt: u32, offset: u64, bytes: &[u8]) -> Result<u64> {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let log = logs.entry((job, attempt)).or_default();
        let Some(known) = (log.len() as u64).checked_sub(offset) else {
            return Err(Error::Conflict(format!(
                "the log has {} bytes; an append at offset {offset} leaves a gap",
                log.len()
            )));
        };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        log.extend_from_slice(bytes.get(known..).unwrap_or_default());
        Ok(log.len() as u64)
    }

    async fn read(&self, job: JobId, attempt: u32, offset: u64, limit: usize) -> Result<(Bytes, u64)> {
        let logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(log) = logs.get(&(job, attempt)) else { return Ok((Bytes::new(), 0)) };
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(log.len());
        let to = from.saturating_add(limit).min(log.len());
        Ok((Bytes::copy_from_slice(&log[from..to]), log.len() as u64))
    }

    async fn finish(&self, _: JobId, _: u32) -> Result<()> {
        Ok(())
    }

    async fn remove(&self, job: JobId, attempt: u32) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(job, attempt));
        Ok(())
    }
}
