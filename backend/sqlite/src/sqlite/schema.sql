-- Schema 1. A node's key is its execution's `seq` shifted left by 32, plus its index: one integer, so that a
-- transition finds its row by rowid, and the nodes of an execution are one range.

CREATE TABLE executions (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    repo TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    branch TEXT,
    run_number INTEGER NOT NULL,
    status TEXT NOT NULL,
    over INTEGER NOT NULL,
    version INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    state TEXT NOT NULL
);
CREATE UNIQUE INDEX executions_id ON executions (id);
CREATE UNIQUE INDEX executions_run ON executions (pipeline, run_number, repo);
CREATE INDEX executions_number ON executions (run_number, id);
CREATE INDEX executions_repo ON executions (repo, id);
CREATE INDEX executions_repo_pipeline ON executions (repo, pipeline, id);
CREATE INDEX executions_pipeline ON executions (pipeline, id);
CREATE INDEX executions_branch ON executions (branch, id);
CREATE INDEX executions_status ON executions (status, id);
CREATE INDEX executions_live ON executions (id) WHERE over = 0;

-- Large and immutable, so not in the row that each transition updates.
CREATE TABLE execution_specs (
    seq INTEGER PRIMARY KEY,
    spec TEXT NOT NULL
);

CREATE TABLE run_numbers (
    repo TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (repo, pipeline)
) WITHOUT ROWID;

-- `idle`: a node that has not started (a pending job, a closed gate, an end node), which an arrival can make due.
CREATE TABLE nodes (
    node INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    waits_for INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    idle INTEGER NOT NULL,
    due_at INTEGER,
    status TEXT,
    blocker TEXT,
    state TEXT NOT NULL
);
CREATE INDEX nodes_due ON nodes (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX nodes_under_way ON nodes (node) WHERE status IN ('QUEUED', 'RUNNING');
CREATE INDEX nodes_upcoming ON nodes (node) WHERE status IN ('PENDING', 'QUEUED');

CREATE TABLE node_specs (
    node INTEGER PRIMARY KEY,
    spec TEXT NOT NULL
);

CREATE TABLE job_specs (
    node INTEGER PRIMARY KEY,
    spec TEXT NOT NULL
);

CREATE TABLE jobs (
    id BLOB PRIMARY KEY,
    node INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE idempotency_keys (
    key TEXT PRIMARY KEY,
    execution BLOB NOT NULL,
    record TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE artifacts (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    execution BLOB NOT NULL,
    ix INTEGER NOT NULL,
    job BLOB NOT NULL,
    expires_at INTEGER,
    record TEXT NOT NULL
);
CREATE UNIQUE INDEX artifacts_id ON artifacts (id);
CREATE INDEX artifacts_execution ON artifacts (execution, ix, id);
CREATE INDEX artifacts_job ON artifacts (job, id);
CREATE INDEX artifacts_expiry ON artifacts (expires_at) WHERE expires_at IS NOT NULL;

-- `receipt`: the receipt of the newest delivery; NULL if there was none since the job was sent or given back.
CREATE TABLE queue (
    seq INTEGER PRIMARY KEY,
    execution BLOB NOT NULL,
    ix INTEGER NOT NULL,
    visible_at INTEGER NOT NULL,
    receipt BLOB
);
CREATE UNIQUE INDEX queue_node ON queue (execution, ix);
CREATE INDEX queue_visible ON queue (visible_at);
CREATE INDEX queue_execution_visible ON queue (execution, visible_at);
