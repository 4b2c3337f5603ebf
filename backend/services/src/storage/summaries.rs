//! Stores the summary and the annotations of each attempt, and lists those of an execution.

use crate::{
    context::service_context::{Context, job_of},
    error::{Error, Result},
    ports::{DocumentKey, MAX_DOCUMENT_SIZE, NewDocument},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, io::Read, sync::Arc};
use tidemill_core::ids::{ExecutionId, JobId};
use tidemill_core::summary::{
    annotation::{Annotation, AnnotationSet},
    markdown::{MAX_SUMMARY_BYTES, bounded},
    view::{SummaryCollector, SummaryList, SummaryReply, SummaryRequest},
};

pub(super) const DOCUMENT_KIND: &str = "summary";
/// Retention of summaries, as of test reports.
const RETENTION_MS: i64 = 365 * 86_400_000;
/// A summary that is longer when compressed is an object: a large document costs more than an object.
const MAX_INLINE_BYTES: usize = 8 << 10;
/// Maximum length of the chain of retries that is followed back.
const MAX_RETRY_CHAIN: usize = 10;
const MAX_ATTEMPTS: u32 = 20;
const BATCH_LEN: usize = 50;
const COMPRESSION_LEVEL: i32 = 3;

/// Service for summaries and annotations of jobs.
#[derive(Debug, Clone)]
pub struct SummaryService {
    context: Arc<Context>,
}

/// What is stored of an attempt.
#[derive(Debug, Default, Serialize, Deserialize)]
struct SummaryRecord {
    /// Size of the summary in bytes; 0: there is none.
    #[serde(default)]
    size: u64,
    /// The summary, compressed with zstd, in base64; unless it is an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<Annotation>,
    #[serde(default)]
    left_out: u64,
}

/// Job and number of an attempt.
type AttemptKey = (JobId, u32);

impl SummaryService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Stores the summary and the annotations of an attempt, and replaces earlier ones.
    pub async fn store(&self, request: SummaryRequest) -> Result<SummaryReply> {
        let SummaryRequest { job_id: job, lease, markdown, annotations, left_out } = request;
        let node = self.context.job(job).await?;
        let item = job_of(&node)?;
        if !item.job.is_leased_to(lease) {
            return Err(Error::LeaseLost(format!(
                "the lease of job {job} is not valid; its summary is not stored"
            )));
        }
        if markdown.len() > MAX_SUMMARY_BYTES {
            return Err(Error::Invalid(format!("a summary has at most {MAX_SUMMARY_BYTES} bytes")));
        }
        let mut bounds = AnnotationSet::default();
        for annotation in annotations {
            bounds.add(annotation);
        }
        bounds.leave_out(left_out);
        let (annotations, left_out) = bounds.into_parts();
        let markdown = Some(bounded(&markdown, false)).filter(|text| !text.trim().is_empty());
        let (execution, attempt) = (node.key.execution, item.job.attempt);
        let size = markdown.as_ref().map_or(0, |text| text.len() as u64);
        let mut record = SummaryRecord { size, text: None, annotations, left_out };
        if let Some(text) = markdown {
            let packed = zstd::bulk::compress(text.as_bytes(), COMPRESSION_LEVEL)
                .map_err(|error| Error::io("compressing a summary", error))?;
            if packed.len() <= MAX_INLINE_BYTES {
                record.text = Some(STANDARD.encode(&packed));
            } else {
                // Before the record, so that no record refers to bytes that do not exist.
                let bytes = stream::once(std::future::ready(Ok(Bytes::from(packed)))).boxed();
                self.context.stores.objects.put(&object_key(execution, (job, attempt)), bytes).await?;
            }
        }
        let value =
            serde_json::to_string(&record).map_err(|error| Error::storage("writing a summary", error))?;
        if value.len() > MAX_DOCUMENT_SIZE {
            return Err(Error::Invalid(format!("annotations have at most {MAX_DOCUMENT_SIZE} bytes")));
        }
        let documents = &self.context.stores.documents;
        for _ in 0..MAX_ATTEMPTS {
            let key = document_key(execution, (job, attempt));
            let version = documents.get(&key).await?.map(|existing| existing.version);
            let expires_at = Some(self.context.now().plus_ms(RETENTION_MS));
            let new = NewDocument { key, value: value.clone(), due_at: None, expires_at };
            if documents.put(new, version).await? {
                return Ok(SummaryReply { attempt });
            }
        }
        Err(Error::Conflict("another client is writing the summary of the attempt at the same time".into()))
    }

    /// Returns the summary of an attempt of a job (`None`: the current one), in Markdown.
    pub async fn text(&self, job: JobId, attempt: Option<u32>) -> Result<String> {
        let node = self.context.job(job).await?;
        let item = job_of(&node)?;
        let requested = attempt.unwrap_or(item.job.attempt);
        let (execution, of) = match item.carried_from {
            Some(from) => (self.context.job(from).await?.key.execution, item.counted_attempt(job)),
            None => (node.key.execution, (job, requested)),
        };
        let none = || Error::NotFound(format!("attempt {requested} of job {job} has no summary"));
        let document = self.context.stores.documents.get(&document_key(execution, of)).await?;
        let record = parse(&document.ok_or_else(none)?.value)?;
        if record.size == 0 {
            return Err(none());
        }
        let packed = if let Some(text) = record.text {
            STANDARD.decode(text).map_err(|error| Error::storage("reading a summary", error))?
        } else {
            let stored = self.context.stores.objects.get(&object_key(execution, of)).await;
            let bytes = stored.map_err(|error| match error {
                Error::NotFound(_) => Error::NotFound(format!("the summary of job {job} has expired")),
                error => error,
            })?;
            let read = bytes.try_fold(Vec::new(), |mut all, part| async move {
                all.extend_from_slice(&part);
                Ok(all)
            });
            read.await.map_err(|error| Error::io("reading a summary", error))?
        };
        let mut text = String::new();
        zstd::stream::read::Decoder::new(packed.as_slice())
            .and_then(|decoder| decoder.take(MAX_SUMMARY_BYTES as u64).read_to_string(&mut text))
            .map_err(|error| Error::io("decompressing a summary", error))?;
        Ok(text)
    }

    /// Lists the jobs of an execution that have a summary, and their annotations: those of the last attempt of each job.
    pub async fn list(&self, id: ExecutionId) -> Result<SummaryList> {
        let execution = self.context.execution(id).await?;
        let (nodes, specs) =
            (self.context.stores.records.all_nodes(id).await?, self.context.specs(id).await?);
        let mut positions: HashMap<AttemptKey, usize> = HashMap::new();
        let mut has_carried = false;
        for (position, (node, spec)) in nodes.iter().zip(specs.iter()).enumerate() {
            let item = job_of(node)?;
            has_carried |= item.carried_from.is_some();
            positions.insert(item.counted_attempt(spec.id), position);
        }
        let mut executions = vec![id];
        let mut previous = execution.spec.retry_of.filter(|_| has_carried);
        while let Some(id) = previous.filter(|_| executions.len() <= MAX_RETRY_CHAIN) {
            executions.push(id);
            previous = self.context.cached_execution(id).await?.spec.retry_of;
        }
        let mut collector = SummaryCollector::default();
        for from in executions {
            self.collect(from, &mut collector, |attempt| {
                let position = *positions.get(&attempt)?;
                Some((position, specs.get(position)?.id, specs.get(position)?.planned.name.as_str()))
            })
            .await?;
        }
        Ok(collector.finish(|position| {
            specs.get(position).map_or_else(String::new, |spec| spec.planned.name.clone())
        }))
    }

    /// Adds what is stored of an execution, of those attempts that `job` knows, with position, id and name of their jobs.
    async fn collect<'a>(
        &self,
        execution: ExecutionId,
        collector: &mut SummaryCollector,
        job: impl Fn(AttemptKey) -> Option<(usize, JobId, &'a str)>,
    ) -> Result<()> {
        let prefix = format!("{execution}/");
        let mut after = None::<String>;
        loop {
            let documents = &self.context.stores.documents;
            let (page, has_more) =
                documents.list(DOCUMENT_KIND, &prefix, after.as_deref(), BATCH_LEN).await?;
            for document in &page {
                let name = document.key.name.strip_prefix(&prefix).and_then(|name| name.split_once('/'));
                let attempt =
                    name.and_then(|(job, attempt)| Some((job.parse().ok()?, attempt.parse().ok()?)));
                let Some((position, id, name)) = attempt.and_then(&job) else { continue };
                let SummaryRecord { size, annotations, left_out, .. } = parse(&document.value)?;
                collector.add(position, (id, name), size, (annotations, left_out));
            }
            after = page.last().map(|document| document.key.name.clone()).filter(|_| has_more);
            if after.is_none() {
                return Ok(());
            }
        }
    }
}

fn document_key(execution: ExecutionId, (job, attempt): AttemptKey) -> DocumentKey {
    DocumentKey::new(DOCUMENT_KIND, format!("{execution}/{job}/{attempt:05}"))
}

/// The object of a summary is among the logs, and expires like them.
pub(super) fn object_key(execution: ExecutionId, (job, attempt): AttemptKey) -> String {
    format!("logs/summaries/{execution}/{job}/{attempt}")
}

fn parse(value: &str) -> Result<SummaryRecord> {
    serde_json::from_str(value).map_err(|error| Error::storage("reading a summary", error))
}
