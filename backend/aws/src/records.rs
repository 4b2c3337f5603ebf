//! The records in the table: which items are read and written for each operation of the port.
//!
//! `docs/data-model.md` lists the access patterns with their costs.

use super::{
    definition::{Definitions, MAX_INLINE_SIZE},
    fold::{FoldResult, PlannedWrite, Read, fold, needs_read, take_run_number},
    items::{self, NodeCounters, SpecLocation, get_number, get_text},
    keys, list,
    table::{Change, Item, Key, Query, Table, Written, pause, text},
};
use async_trait::async_trait;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tidemill_core::execution::{cost::Usage, status::JobStatus};
use tidemill_core::{
    ids::{ArtifactId, ExecutionId, JobId},
    time::Timestamp,
};
use tidemill_services::error::{Error, Result};
use tidemill_services::pack::{pack, unpack};
use tidemill_services::ports::{
    ArtifactRecord, Clock, Commit, CommitResult, DeadLetter, DueNode, ExecutionRecord, ExecutionSnapshot,
    ExecutionSpec, ExecutionState, KeyRecord, ListFilter, NewNode, Node, NodeKey, Records, Write,
    repository_key,
};
use uuid::Uuid;

/// Rounds of a batch that others keep getting in the way of; the pauses between them add up to some 30 s.
const MAX_ROUNDS: u32 = 150;
/// How long `changed` waits.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Nodes that are looked at for what comes next.
const MAX_LOOKAHEAD: usize = 64;
/// Nodes of an execution that was never recorded are removed when they are this old.
const ORPHAN_AGE_MS: i64 = 3_600_000;
/// So many times as many due nodes as are asked for are read at most, where others are of executions that were never recorded.
const MAX_ORPHAN_FACTOR: usize = 64;
/// Nodes of an unplanned execution that are stored at once: a transaction takes 100 items.
const MAX_STAGED_NODES: usize = 90;
/// An artifact's record that is larger has its list of files in an object.
const MAX_INLINE_ARTIFACT_SIZE: usize = 50_000;

/// The records in a DynamoDB table.
pub struct DynamoRecords {
    pub(super) table: Table,
    pub(super) definitions: Definitions,
    clock: Arc<dyn Clock>,
    /// Days after which a record is removed by the table itself.
    keep_days: Option<u32>,
}

impl std::fmt::Debug for DynamoRecords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynamoRecords").field("table", &self.table).finish_non_exhaustive()
    }
}

/// A new execution whose parts are stored and that only has to be recorded.
struct StagedExecution {
    id: ExecutionId,
    item: Item,
    counter: Key,
    keys: Vec<Key>,
}

impl DynamoRecords {
    /// The records in this table.
    pub(super) fn new(
        table: Table,
        definitions: Definitions,
        clock: Arc<dyn Clock>,
        keep_days: Option<u32>,
    ) -> Self {
        Self { table, definitions, clock, keep_days }
    }

    async fn item(&self, key: &Key) -> Result<Option<Item>> {
        self.table.get(key, true).await
    }

    pub(super) async fn record(&self, item: &Item) -> Result<ExecutionRecord> {
        let packed = match items::spec_place(item)? {
            SpecLocation::Here(packed) => packed,
            SpecLocation::Object(key) => self.definitions.load(&key).await?,
        };
        items::execution(item, unpack(&packed)?)
    }

    /// A node of its item; its spec comes from the definition when the item has none.
    async fn node(&self, item: &Item) -> Result<Node> {
        if let Some(spec) = items::node_spec(item)? {
            return items::node(item, spec);
        }
        let place = get_text(item, "sk").and_then(keys::node_ix).unwrap_or_default();
        let home = get_text(item, "pk").map(keys::shared).unwrap_or_default();
        let spec = self.definitions.node(home, place).await?;
        items::node(
            item,
            spec.ok_or_else(|| Error::storage("reading a record", "a node of it is not defined"))?,
        )
    }

    async fn in_home(&self, id: ExecutionId) -> Result<Vec<Item>> {
        self.table.meter().about(&id.home());
        self.table
            .query(Query {
                condition: "pk = :pk",
                values: Item::from([(":pk".to_owned(), text(keys::home(id)))]),
                consistent: true,
                ..Query::default()
            })
            .await
    }

    fn expiry(&self) -> Option<i64> {
        self.keep_days.map(|days| self.clock.now().0 / 1000 + i64::from(days) * 86_400)
    }

    /// Stores the nodes and definition of an execution that is not recorded yet: nobody sees them before it is.
    /// `None`: it is recorded already.
    async fn stage(
        &self,
        spec: &ExecutionSpec,
        state: &ExecutionState,
        nodes: &[(u32, NewNode)],
    ) -> Result<Option<StagedExecution>> {
        let id = spec.id;
        if self.item(&keys::execution(id)).await?.is_some() {
            return Ok(None);
        }
        // The definition of an unplanned one comes with its other nodes.
        let whole = state.unplanned;
        let mut all = if whole { Vec::new() } else { self.definitions.items(id, nodes).await? };
        for (ix, node) in nodes {
            all.push(items::new_node(id, *ix, node, whole)?);
        }
        let packed = pack(spec)?;
        let place = if packed.len() <= MAX_INLINE_SIZE / 10 {
            SpecLocation::Here(packed)
        } else {
            SpecLocation::Object(self.definitions.store(id, packed).await?)
        };
        let mut item = items::new_execution(spec, state, place, 0)?;
        if let Some(expiry) = self.expiry() {
            for item in all.iter_mut().chain([&mut item]) {
                item.insert("ttl".into(), super::table::number(expiry));
            }
        }
        let place = |item: &Item| Some(Key::new(get_text(item, "pk")?, get_text(item, "sk")?));
        let keys = all.iter().filter_map(place).collect();
        self.table.put_all(all).await?;
        let counter = keys::run_number(&repository_key(&spec.repo), &spec.pipeline_name);
        Ok(Some(StagedExecution { id, item, counter, keys }))
    }

    /// Stores the other nodes of an unplanned execution. They may be seen before its state says that they are there, so nobody acts on
    /// them before that; and a caller that is slower than another changes none that is there.
    async fn stage_nodes(&self, id: ExecutionId, nodes: &[(u32, NewNode)]) -> Result<()> {
        let mut definition = self.definitions.items(id, nodes).await?;
        let mut puts = Vec::with_capacity(nodes.len());
        for (ix, node) in nodes {
            puts.push(items::new_node(id, *ix, node, false)?);
        }
        if let Some(expiry) = self.expiry() {
            for item in definition.iter_mut().chain(&mut puts) {
                item.insert("ttl".into(), super::table::number(expiry));
            }
        }
        self.table.put_all(definition).await?;
        // The parts are the same whoever stores them, so that a part is there as a whole or not at all.
        for part in puts.chunks(MAX_STAGED_NODES) {
            for round in 0..MAX_ROUNDS {
                let put = |item: &Item| Change::Put {
                    item: item.clone(),
                    condition: Some("attribute_not_exists(pk)"),
                    values: Item::new(),
                };
                if !matches!(self.table.write(part.iter().map(put).collect()).await?, Written::Contended) {
                    break;
                }
                pause(round).await;
            }
        }
        Ok(())
    }

    /// One round of a batch; `None`: others were in the way, try again.
    async fn round(
        &self,
        writes: &[Write],
        needed: &[NodeKey],
        artifacts: &[PlannedWrite],
        created: Option<&StagedExecution>,
        nonce: &[u8],
    ) -> Result<Option<Commit>> {
        let read = self.read_counts(needed).await?;
        let home = created.map(|staged| staged.id).or_else(|| writes.iter().find_map(touched));
        let home = home.map(ExecutionId::home);
        let usage = home.as_deref().map(|home| self.table.meter().take(home)).unwrap_or_default();
        let put_back = || {
            if let Some(home) = &home {
                self.table.meter().put_back(home, usage);
            }
        };
        let on_nodes = if created.is_some() { Usage::default() } else { usage };
        let (mut planned, arrivals) = match fold(writes, &read, nonce, on_nodes) {
            Ok(FoldResult::Changes(planned, arrivals)) => (planned, arrivals),
            Ok(FoldResult::Conflict) => {
                put_back();
                return Ok(Some(Commit::Conflict));
            }
            Err(error) => {
                put_back();
                return Err(error);
            }
        };
        planned.extend_from_slice(artifacts);
        let mut run_number = 0;
        if let Some(staged) = created {
            let counter = self.item(&staged.counter).await?;
            let last = counter.as_ref().and_then(|item| get_number::<u64>(item, "c"));
            run_number = last.unwrap_or(0) + 1;
            let mut item = staged.item.clone();
            item.insert("n".into(), super::table::number(run_number));
            item.insert(keys::list::RUN.attribute.into(), text(run_number.to_string()));
            items::put_usage(&mut item, &usage);
            let condition = Some("attribute_not_exists(pk)");
            let create = Change::Put { item, condition, values: Item::new() };
            planned.push(PlannedWrite { change: create, read: false });
            let take = take_run_number(&staged.counter, last);
            planned.push(PlannedWrite { change: take, read: true });
        }
        let reads: Vec<bool> = planned.iter().map(|one| one.read).collect();
        let changes = planned.into_iter().map(|one| one.change).collect();
        let written = self.table.write(changes).await;
        if !matches!(written, Ok(Written::Done)) {
            put_back();
        }
        match written? {
            Written::Done => Ok(Some(Commit::Done(CommitResult { arrivals, run_number }))),
            Written::Contended => Ok(None),
            Written::Refused(old) => {
                if old.iter().flatten().any(|item| items::get_binary(item, "q") == Some(nonce)) {
                    // The reply to an earlier try of the SDK's was lost, and that try was made.
                    return Ok(Some(Commit::Done(CommitResult { arrivals, run_number })));
                }
                let refused = old.iter().zip(&reads).any(|(old, read)| old.is_some() && !read);
                Ok(refused.then_some(Commit::Conflict))
            }
        }
    }

    async fn read_counts(&self, needed: &[NodeKey]) -> Result<Read> {
        let found: Vec<Item> = match needed {
            [] => return Ok(Read::new()),
            [only] => self.item(&keys::node(only.execution, only.ix)).await?.into_iter().collect(),
            all => {
                let wanted: Vec<Key> = all.iter().map(|key| keys::node(key.execution, key.ix)).collect();
                self.table.get_all(&wanted, true, None).await?
            }
        };
        let mut read = Read::new();
        for item in &found {
            let ix = get_text(item, "sk").and_then(keys::node_ix).unwrap_or_default();
            read.insert(NodeKey { execution: items::execution_id(item)?, ix }, NodeCounters::of(item)?);
        }
        Ok(read)
    }

    /// Puts what is too large for an artifact's item into an object, and gives the item.
    async fn artifact_change(&self, record: &ArtifactRecord) -> Result<PlannedWrite> {
        let mut item = items::artifact(record)?;
        if items::is_large(&item, MAX_INLINE_ARTIFACT_SIZE) {
            let short = ArtifactRecord { files: Vec::new(), ..record.clone() };
            let files = self.definitions.store(record.execution, pack(&record.files)?).await?;
            item = items::artifact(&short)?;
            item.insert("o".into(), text(files));
        }
        if let Some(expiry) = self.expiry() {
            item.insert("ttl".into(), super::table::number(expiry));
        }
        let change = Change::Put { item, condition: None, values: Item::new() };
        Ok(PlannedWrite { change, read: false })
    }

    async fn artifact_record(&self, item: &Item) -> Result<ArtifactRecord> {
        let (mut record, files) = items::artifact_record(item)?;
        if let Some(key) = files {
            record.files = unpack(&self.definitions.load(&key).await?)?;
        }
        Ok(record)
    }

    /// Artifacts of an execution, or of one job of it.
    async fn artifacts_at(&self, home: &str, ix: Option<u32>) -> Result<Vec<ArtifactRecord>> {
        let mut values = Item::from([(":pk".to_owned(), text(keys::artifacts(home)))]);
        let condition = match ix {
            None => "pk = :pk",
            Some(ix) => {
                values.insert(":prefix".to_owned(), text(keys::artifacts_of(ix)));
                "pk = :pk AND begins_with(sk, :prefix)"
            }
        };
        let found = self
            .table
            .query(Query {
                condition,
                values,
                // A job must find what the jobs that it needs have just left.
                consistent: true,
                ..Query::default()
            })
            .await?;
        let mut records = Vec::with_capacity(found.len());
        for item in &found {
            records.push(self.artifact_record(item).await?);
        }
        Ok(records)
    }

    /// Keys of what is due in one part of the index, the longest due first.
    async fn due_in(&self, part: String, now: Timestamp, limit: usize) -> Result<Vec<(Timestamp, Key)>> {
        let found = self
            .table
            .query(Query {
                index: Some(keys::BY_DUE),
                condition: "dk = :part AND due <= :now",
                values: Item::from([
                    (":part".to_owned(), text(part)),
                    (":now".to_owned(), super::table::number(now.0)),
                ]),
                limit: Some(limit),
                ..Query::default()
            })
            .await?;
        let entry = |item: &Item| {
            let due = Timestamp(get_number(item, "due")?);
            Some((due, Key::new(get_text(item, "pk")?, get_text(item, "sk")?)))
        };
        Ok(found.iter().filter_map(entry).collect())
    }

    /// The executions recorded at these homes.
    async fn executions_at(&self, homes: &HashSet<&str>) -> Result<HashMap<String, ExecutionId>> {
        let wanted: Vec<Key> = homes.iter().map(|pk| Key::new(*pk, keys::EXECUTION)).collect();
        let found = self.table.get_all(&wanted, true, Some("pk, x")).await?;
        let mut known = HashMap::new();
        for item in &found {
            if let Some(pk) = get_text(item, "pk") {
                known.insert(pk.to_owned(), items::execution_id(item)?);
            }
        }
        Ok(known)
    }

    /// Removes due nodes of executions that were begun to be stored and never recorded.
    async fn remove_orphans(&self, orphans: &[Key], now: Timestamp) -> Result<()> {
        let old: Vec<Key> = orphans
            .iter()
            .filter(|key| {
                let stamp = keys::shared(&key.pk).get(..12).and_then(|hex| i64::from_str_radix(hex, 16).ok());
                stamp.is_some_and(|made| now.0 - made > ORPHAN_AGE_MS)
            })
            .cloned()
            .collect();
        if old.is_empty() {
            return Ok(());
        }
        tracing::info!(nodes = old.len(), "removing what was left of executions that were never recorded");
        self.table.delete_all(&old).await
    }
}

/// The execution that a write touches in its home.
fn touched(write: &Write) -> Option<ExecutionId> {
    match write {
        Write::PutExecution { id, .. } => Some(*id),
        Write::PutNode { key, .. } | Write::SetDue { key, .. } | Write::Arrive { key, .. } => {
            Some(key.execution)
        }
        _ => None,
    }
}

#[async_trait]
impl Records for DynamoRecords {
    async fn commit(&self, writes: Vec<Write>) -> Result<Commit> {
        let mut created = None;
        let mut artifacts = Vec::new();
        let mut rest = Vec::with_capacity(writes.len());
        for write in writes {
            match write {
                Write::Create { spec, state, nodes } => {
                    created = self.stage(&spec, &state, &nodes).await?;
                    if created.is_none() {
                        return Ok(Commit::Conflict);
                    }
                }
                Write::AddNodes { id, if_version, state, nodes } => {
                    self.stage_nodes(id, &nodes).await?;
                    rest.push(Write::PutExecution { id, if_version, state });
                }
                Write::PutArtifact(record) => artifacts.push(self.artifact_change(&record).await?),
                write => rest.push(write),
            }
        }
        let outcome = self.rounds(&rest, &artifacts, created.as_ref()).await;
        if let (Some(staged), Ok(Commit::Conflict) | Err(_)) = (&created, &outcome) {
            // Nobody can see them; should this fail, the sweep removes those that are due.
            if let Err(error) = self.table.delete_all(&staged.keys).await {
                tracing::warn!(execution = %staged.id, %error, "what was stored for it stays a while");
            }
        }
        outcome
    }

    async fn execution(&self, id: ExecutionId) -> Result<Option<ExecutionRecord>> {
        self.table.meter().about(&id.home());
        let Some(item) = self.item(&keys::execution(id)).await? else { return Ok(None) };
        self.record(&item).await.map(Some)
    }

    async fn execution_state(&self, id: ExecutionId) -> Result<Option<(ExecutionState, u64)>> {
        let item = self.item(&keys::execution(id)).await?;
        item.as_ref().map(items::execution_state).transpose()
    }

    async fn revision(&self, id: ExecutionId) -> Result<Option<u64>> {
        Ok(self.whole(id, None).await?.map(|whole| whole.revision))
    }

    async fn whole(&self, id: ExecutionId, known: Option<u64>) -> Result<Option<ExecutionSnapshot>> {
        let items = self.in_home(id).await?;
        // The execution's own place is the last.
        let Some(own) = items.last().filter(|item| get_text(item, "sk") == Some(keys::EXECUTION)) else {
            return Ok(None);
        };
        let revision = items::revision(&items);
        if known == Some(revision) {
            return Ok(Some(ExecutionSnapshot { revision, content: None }));
        }
        let mut nodes = Vec::with_capacity(items.len());
        for item in &items[..items.len() - 1] {
            nodes.push(self.node(item).await?);
        }
        Ok(Some(ExecutionSnapshot { revision, content: Some((self.record(own).await?, nodes)) }))
    }

    async fn executions(&self, filter: &ListFilter) -> Result<(Vec<ExecutionRecord>, bool)> {
        list::executions(self, filter).await
    }

    async fn live(&self, after: Option<ExecutionId>, limit: usize) -> Result<Vec<ExecutionId>> {
        list::live(self, after, limit).await
    }

    async fn nodes(&self, execution: ExecutionId, ixs: &[u32]) -> Result<Vec<Node>> {
        self.table.meter().about(&execution.home());
        let found = match ixs {
            [] => return Ok(Vec::new()),
            [only] => self.item(&keys::node(execution, *only)).await?.into_iter().collect(),
            all => {
                let wanted: HashSet<u32> = all.iter().copied().collect();
                let wanted: Vec<Key> = wanted.into_iter().map(|ix| keys::node(execution, ix)).collect();
                self.table.get_all(&wanted, true, None).await?
            }
        };
        let mut by_ix = HashMap::with_capacity(found.len());
        for item in &found {
            let node = self.node(item).await?;
            by_ix.insert(node.key.ix, node);
        }
        Ok(ixs.iter().filter_map(|ix| by_ix.get(ix).cloned()).collect())
    }

    async fn all_nodes(&self, execution: ExecutionId) -> Result<Vec<Node>> {
        Ok(self
            .whole(execution, None)
            .await?
            .and_then(|whole| whole.content)
            .map(|(_, nodes)| nodes)
            .unwrap_or_default())
    }

    async fn job(&self, id: JobId) -> Result<Option<Node>> {
        self.table.meter().about(&id.home());
        let Some(item) = self.item(&keys::job(id)).await? else { return Ok(None) };
        let node = self.node(&item).await?;
        Ok(Some(node).filter(|node| node.spec.job == Some(id)))
    }

    async fn upcoming(&self, execution: ExecutionId, from: u32, limit: usize) -> Result<Vec<u32>> {
        let found = self
            .table
            .query(Query {
                condition: "pk = :pk AND sk BETWEEN :from AND :last",
                values: Item::from([
                    (":pk".to_owned(), text(keys::home(execution))),
                    (":from".to_owned(), text(keys::node_place(from))),
                    (":last".to_owned(), text(keys::AFTER_LAST_NODE)),
                ]),
                projection: Some("sk, s"),
                limit: Some(MAX_LOOKAHEAD.max(limit)),
                ..Query::default()
            })
            .await?;
        let waits = |status: &str| status == JobStatus::Pending.word() || status == JobStatus::Queued.word();
        let jobs = found.iter().filter_map(items::node_status);
        Ok(jobs.filter(|(_, status)| waits(status)).map(|(ix, _)| ix).take(limit).collect())
    }

    async fn key(&self, key: &str) -> Result<Option<KeyRecord>> {
        let Some(item) = self.item(&keys::idempotency_key(key)).await? else { return Ok(None) };
        let packed = items::get_binary(&item, "r")
            .ok_or_else(|| Error::storage("reading a record", "an idempotency key stands for nothing"))?;
        unpack(packed).map(Some)
    }

    async fn late(&self, now: Timestamp, limit: usize) -> Result<Vec<DueNode>> {
        let mut reads = limit;
        loop {
            let parts = (0..keys::DUE_PARTITIONS).map(|part| self.due_in(keys::due_part(part), now, reads));
            let mut due: Vec<(Timestamp, Key)> =
                futures_util::future::try_join_all(parts).await?.into_iter().flatten().collect();
            due.sort_by(|(a, one), (b, other)| (a, &one.pk, &one.sk).cmp(&(b, &other.pk, &other.sk)));
            due.truncate(reads);
            let is_all = due.len() < reads;
            let homes: HashSet<&str> = due.iter().map(|(_, key)| key.pk.as_str()).collect();
            let known = self.executions_at(&homes).await?;
            let mut late = Vec::with_capacity(due.len());
            let mut orphans = Vec::new();
            for (due_at, key) in due {
                match (known.get(&key.pk), keys::node_ix(&key.sk)) {
                    (Some(execution), Some(ix)) => {
                        late.push(DueNode { key: NodeKey { execution: *execution, ix }, due_at });
                    }
                    _ => orphans.push(key),
                }
            }
            // What was never recorded, and is too young to be removed, must not hide what is behind it.
            if late.len() >= limit || is_all || reads >= limit.saturating_mul(MAX_ORPHAN_FACTOR) {
                if let Err(error) = self.remove_orphans(&orphans, now).await {
                    tracing::warn!(%error, "what was left of executions that were never recorded stays a while");
                }
                late.truncate(limit);
                return Ok(late);
            }
            reads = reads.saturating_mul(4);
        }
    }

    async fn postpone(&self, late: DueNode, until: Timestamp) -> Result<bool> {
        let change = Change::Update {
            key: keys::node(late.key.execution, late.key.ix),
            update: "SET due = :until".to_owned(),
            condition: "due = :due",
            values: Item::from([
                (":due".to_owned(), super::table::number(late.due_at.0)),
                (":until".to_owned(), super::table::number(until.0)),
            ]),
        };
        match self.table.write(vec![change]).await? {
            Written::Done => Ok(true),
            // Somebody writes it at this moment, so that it is not stuck.
            Written::Refused(_) | Written::Contended => Ok(false),
        }
    }

    async fn artifact(&self, id: ArtifactId) -> Result<Option<ArtifactRecord>> {
        self.table.meter().about(&id.home());
        let Some(item) = self.item(&keys::artifact(id)).await? else { return Ok(None) };
        self.artifact_record(&item).await.map(Some)
    }

    async fn artifacts(&self, execution: ExecutionId) -> Result<Vec<ArtifactRecord>> {
        self.artifacts_at(&execution.home(), None).await
    }

    async fn artifacts_of(&self, job: JobId) -> Result<Vec<ArtifactRecord>> {
        self.artifacts_at(&job.home(), Some(job.ix())).await
    }

    async fn expired_artifacts(&self, now: Timestamp, limit: usize) -> Result<Vec<ArtifactRecord>> {
        let due = self.due_in(keys::DUE_ARTIFACTS_PARTITION.to_owned(), now, limit).await?;
        let mut found = Vec::with_capacity(due.len());
        for (_, key) in due {
            // The index may be late: what was removed is no longer there.
            if let Some(item) = self.item(&key).await? {
                found.push(self.artifact_record(&item).await?);
            }
        }
        Ok(found.into_iter().filter(|record| record.expires_at.is_some_and(|at| at <= now)).collect())
    }

    async fn dead_letters(
        &self,
        before: Option<DeadLetter>,
        limit: usize,
    ) -> Result<(Vec<DeadLetter>, bool)> {
        let mut values = Item::from([(":pk".to_owned(), text(keys::DEAD_LETTERS))]);
        let condition = match &before {
            None => "pk = :pk",
            Some(before) => {
                values.insert(":before".to_owned(), text(keys::dead_letter_place(before)));
                "pk = :pk AND sk < :before"
            }
        };
        let query = Query {
            condition,
            values,
            backwards: true,
            consistent: true,
            limit: Some(limit.saturating_add(1)),
            ..Query::default()
        };
        let items = self.table.query(query).await?;
        let places = items.iter().filter_map(|item| get_text(item, "sk"));
        let mut found: Vec<DeadLetter> = places.filter_map(keys::dead_letter_at).collect();
        let more = found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }

    async fn changed(&self, seen: u64) -> u64 {
        tokio::time::sleep(POLL_INTERVAL).await;
        seen.wrapping_add(1)
    }

    async fn usage(&self, id: ExecutionId) -> Result<Usage> {
        let items = self.in_home(id).await?;
        Ok(items.iter().map(items::usage).fold(Usage::default(), |all, one| all + one))
    }
}

impl DynamoRecords {
    async fn rounds(
        &self,
        writes: &[Write],
        artifacts: &[PlannedWrite],
        created: Option<&StagedExecution>,
    ) -> Result<Commit> {
        let needed = needs_read(writes);
        let nonce = Uuid::new_v4().as_bytes()[..8].to_vec();
        for round in 0..MAX_ROUNDS {
            if let Some(commit) = self.round(writes, &needed, artifacts, created, &nonce).await? {
                return Ok(commit);
            }
            pause(round).await;
        }
        Err(Error::storage("writing to the table", "too many write to the same items at once; try again"))
    }
}
