//! State that all services share: stores, settings, caches, and reads that return an error for missing items.

use super::{
    backoff::Backoff, fleet::Fleet, followed::FollowedExecutions, job_spec::JobSpecs, lru_cache::LruCache,
    metrics::Metrics, settings::Settings, shells::ShellSessions,
};
use crate::{
    Stores,
    error::{Error, Result},
    ports::{
        Compute, Document, DocumentKey, ExecutionRecord, JobRecord, MessageContext, NewDocument, Node,
        NodeBody, NodeKey, QueuedJob, message_group,
    },
};
use std::{
    borrow::Cow,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::Duration,
};
use tidemill_core::{
    api::page,
    ids::{ExecutionId, JobId},
    time::Timestamp,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

/// Size of the cache of planned jobs in bytes: they are immutable, and every view and assignment needs them.
const PLAN_CACHE_BYTES: usize = 64 << 20;
/// Size of the cache of executions in bytes; only their immutable part is used.
const MAX_CACHED_EXECUTION_BYTES: usize = 16 << 20;

/// Shared state of the services.
#[derive(Debug)]
pub(crate) struct Context {
    pub stores: Stores,
    pub settings: Settings,
    /// Cancelled when the server stops; ends every held reply.
    pub shutdown: CancellationToken,
    /// Backoff of items that failed.
    pub backoff: Backoff,
    /// What the services count and measure.
    pub metrics: Metrics,
    /// Where the ids of ended executions go whose traces are exported.
    pub(crate) ended: OnceLock<mpsc::Sender<ExecutionId>>,
    /// Cache of planned jobs.
    pub(crate) planned: Arc<LruCache<JobSpecs>>,
    /// Pool for CPU-bound work; without it, the caller runs the work.
    compute: OnceLock<Arc<dyn Compute>>,
    /// Public address of the server, if it is known.
    public_url: OnceLock<String>,
    /// Address under which others reach the server to verify ID tokens; without it, none are issued.
    issuer_url: OnceLock<String>,
    executions: LruCache<ExecutionRecord>,
    /// The machines that this process requests for workers; without them, the operator starts workers.
    pub(super) fleet: OnceLock<Fleet>,
    /// The executions that streams of events follow.
    pub(crate) followed: FollowedExecutions,
    /// Shells in jobs that users ask for.
    pub(crate) shells: Arc<ShellSessions>,
    /// This state, for tasks that outlive a request.
    this: Weak<Self>,
}

impl Context {
    pub fn new(stores: Stores, settings: Settings, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            stores,
            settings,
            shutdown,
            backoff: Backoff::default(),
            metrics: Metrics::new(),
            ended: OnceLock::new(),
            planned: Arc::new(LruCache::new(PLAN_CACHE_BYTES)),
            compute: OnceLock::new(),
            public_url: OnceLock::new(),
            issuer_url: OnceLock::new(),
            executions: LruCache::new(MAX_CACHED_EXECUTION_BYTES),
            fleet: OnceLock::new(),
            followed: FollowedExecutions::default(),
            shells: Arc::default(),
            this: this.clone(),
        })
    }

    /// Returns the shared state for a task that runs after the reply; `None` where the process stops with it.
    pub fn after_reply(&self) -> Option<Arc<Self>> {
        self.this.upgrade().filter(|_| self.settings.continues_after_reply)
    }

    /// Runs CPU-bound work on `compute` from now on; only the first call has an effect.
    pub fn compute_on(&self, compute: Arc<dyn Compute>) {
        let _ = self.compute.set(compute);
    }

    /// Sets the public address of the server; only the first call has an effect.
    pub fn set_public_url(&self, url: &str) {
        let _ = self.public_url.set(url.trim_end_matches('/').to_owned());
    }

    /// Returns the public address of the server.
    pub fn public_url(&self) -> Option<&str> {
        self.public_url.get().map(String::as_str)
    }

    /// Sets the address under which others reach the server to verify ID tokens; only the first call has an effect.
    pub fn set_issuer_url(&self, url: &str) {
        let _ = self.issuer_url.set(url.trim_end_matches('/').to_owned());
    }

    /// Returns the address under which others reach the server to verify ID tokens.
    pub fn issuer_url(&self) -> Option<&str> {
        self.issuer_url.get().map(String::as_str)
    }

    /// Returns the address of an execution's page.
    pub fn page_url(&self, execution: ExecutionId) -> Option<String> {
        self.public_url.get().map(|base| page::execution_page(base, execution))
    }

    /// Runs CPU-bound `work` and returns its result. `doing` names the work in errors.
    pub async fn compute<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let Some(compute) = self.compute.get() else { return Ok(work()) };
        let result = Arc::new(Mutex::new(None));
        let slot = result.clone();
        let work = move || {
            let value = work();
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        };
        compute.run(Box::new(work)).await;
        let value = result.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.ok_or_else(|| Error::storage(doing, "the computation panicked"))
    }

    /// Passes an execution whose end is recorded to the export of traces, if there is one. If that is busy, the trace is lost: the end
    /// of an execution waits for no export.
    pub fn notify_ended(&self, id: ExecutionId) {
        if let Some(sender) = self.ended.get()
            && sender.try_send(id).is_err()
        {
            self.metrics.trace_dropped();
        }
    }

    pub fn now(&self) -> Timestamp {
        self.stores.clock.now()
    }

    pub async fn execution(&self, id: ExecutionId) -> Result<ExecutionRecord> {
        tracing::Span::current().record("execution", tracing::field::display(id));
        let item = self.stores.records.execution(id).await?;
        item.ok_or_else(|| Error::NotFound(format!("there is no execution {id}")))
    }

    /// Returns an execution, from the cache if possible: its state may be outdated; its spec and run number never are.
    pub async fn cached_execution(&self, id: ExecutionId) -> Result<Arc<ExecutionRecord>> {
        if let Some(known) = self.executions.get(id) {
            return Ok(known);
        }
        let execution = Arc::new(self.execution(id).await?);
        self.cache_execution(execution.clone());
        Ok(execution)
    }

    /// Caches an execution for its immutable part.
    pub fn cache_execution(&self, execution: Arc<ExecutionRecord>) {
        let spec = &execution.spec;
        let compared = spec.facts.compared.values().flatten();
        let paths = [&spec.facts.changed, &spec.facts.files].into_iter().flatten().chain(compared).flatten();
        let paths: usize = paths.map(|path| path.len() + 24).sum();
        let lists = 64 * (spec.carried.len() + spec.approvals.len()) + 128 * spec.demands.len();
        let bytes = 4_096 + spec.task.file_bytes() + paths + lists;
        self.executions.put(spec.id, execution, bytes);
    }

    /// Returns the node of a job.
    pub async fn job(&self, id: JobId) -> Result<Node> {
        tracing::Span::current().record("job", tracing::field::display(id));
        let item = self.stores.records.job(id).await?;
        let node = item.ok_or_else(|| Error::NotFound(format!("there is no job {id}")))?;
        tracing::Span::current().record("execution", tracing::field::display(node.key.execution));
        Ok(node)
    }

    /// Sends the ids of queued jobs of one execution, and requests machines for their workers.
    pub async fn send(&self, execution: ExecutionId, messages: &[QueuedJob]) -> Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let cached = self.cached_execution(execution).await?;
        let group = message_group(&cached.spec.repo);
        let context = MessageContext { group: &group, trace: cached.spec.trace.as_deref() };
        let with_labels = |message: &QueuedJob| {
            let labels = cached.spec.required_labels(message.node.ix).cloned().unwrap_or_default();
            QueuedJob { labels, ..message.clone() }
        };
        // Few executions require labels; the messages of others are sent as they are.
        let labelled = if cached.spec.demands.is_empty() {
            Cow::Borrowed(messages)
        } else {
            Cow::Owned(messages.iter().map(with_labels).collect())
        };
        self.stores.queue.send(&labelled, context).await?;
        Box::pin(self.request_capacity(&labelled)).await;
        Ok(())
    }

    /// Postpones a due document, unless another writer changed it since it was read.
    pub async fn postpone(&self, due: &Document, until: Timestamp) {
        let Document { key, value, version, .. } = due.clone();
        let later = NewDocument { key, value, due_at: Some(until), expires_at: None };
        if let Err(error) = self.stores.documents.put(later, Some(version)).await {
            tracing::warn!(kind = due.key.kind, %error, "cannot postpone a due document; the next sweep retries it");
        }
    }

    /// Reads a document again and postpones it, if it is still due.
    pub async fn postpone_if_due(&self, key: &DocumentKey, now: Timestamp, until: Timestamp) {
        match self.stores.documents.get(key).await {
            Ok(Some(due)) if due.due_at.is_some_and(|at| at <= now) => self.postpone(&due, until).await,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(kind = key.kind, %error, "cannot postpone a due document; the next sweep retries it");
            }
        }
    }

    pub async fn node(&self, key: NodeKey) -> Result<Node> {
        let item = self.stores.records.nodes(key.execution, &[key.ix]).await?.pop();
        item.ok_or_else(|| Error::NotFound(format!("execution {} has no job {}", key.execution, key.ix)))
    }

    /// Creates a held reply that waits for at most `wait_ms`.
    pub fn held_reply(&self, wait_ms: u64) -> HeldReply<'_> {
        let deadline = Instant::now() + Duration::from_millis(wait_ms.min(self.settings.max_wait_ms));
        HeldReply { context: self, deadline, seen: 0 }
    }
}

/// A reply that is held until something changes (long poll).
pub(crate) struct HeldReply<'a> {
    context: &'a Context,
    deadline: Instant,
    seen: u64,
}

impl HeldReply<'_> {
    /// Waits for a change, after which the caller checks again. Returns false if the time is over or the server stops.
    pub async fn changed(&mut self) -> bool {
        tokio::select! {
            next = self.context.stores.records.wait_for_change(self.seen) => {
                self.seen = next;
                Instant::now() < self.deadline
            }
            () = tokio::time::sleep_until(self.deadline) => false,
            () = self.context.shutdown.cancelled() => false,
        }
    }
}

/// Returns the job of a node, or an error for other kinds of nodes.
pub(crate) fn job_of(node: &Node) -> Result<&JobRecord> {
    match &node.state.body {
        NodeBody::Job(item) => Ok(item),
        NodeBody::Gate { .. } | NodeBody::End => Err(Error::NotFound(format!(
            "node {} of execution {} is not a job",
            node.key.ix, node.key.execution
        ))),
    }
}
