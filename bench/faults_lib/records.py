"""Reads all records into one form: from SQLite and files, or from a deployment's API."""

import dataclasses
import datetime
import hashlib
import json
import pathlib
import sqlite3
import struct
import uuid

from .api import Api

# An object's file ends with a mark, the number of its bytes, and their hash.
_MAGIC = b"tmobj\0\0\x01"
_TRAILER = len(_MAGIC) + 8 + 32


@dataclasses.dataclass
class Records:
    """All records. Times are seconds since the epoch."""

    executions: list
    logs: dict
    artifacts: list
    objects: dict
    unsettled: list


def seconds(text: str | None) -> float | None:
    """The time of an RFC 3339 text."""
    return None if text is None else datetime.datetime.fromisoformat(text).timestamp()


def embedded(data: pathlib.Path) -> Records:
    """The records of an embedded server's data directory, which no server may be using."""
    connection = sqlite3.connect(f"file:{data / 'tidemill.db'}?mode=rw", uri=True)
    try:
        connection.execute("PRAGMA query_only = 1")
        damage = connection.execute("PRAGMA integrity_check").fetchall()
        executions, unsettled = _rows(connection)
        unsettled += [f"SQLite finds damage: {line}" for (line,) in damage if line != "ok"]
        keys = {
            key: str(uuid.UUID(bytes=execution))
            for key, execution in connection.execute("SELECT key, execution FROM idempotency_keys")
        }
        for key, execution in keys.items():
            if execution not in {one["id"] for one in executions}:
                unsettled.append(f"the key {key} names the execution {execution}, which is not there")
        artifacts = [json.loads(record) for (record,) in connection.execute("SELECT record FROM artifacts")]
    finally:
        connection.close()
    logs = {}
    for path in (data / "logs").glob("*/*.log"):
        job, attempt, _ = path.name.rsplit(".", 2)
        logs[job, int(attempt)] = path.read_bytes()
    objects = {}
    for path in (data / "artifacts").rglob("*.object"):
        content = path.read_bytes()
        body, trailer = content[:-_TRAILER], content[-_TRAILER:]
        digest = hashlib.sha256(body).digest()
        if trailer != _MAGIC + struct.pack("<Q", len(body)) + digest:
            unsettled.append(f"the object {path} is damaged: its trailer does not fit its bytes")
        objects[digest.hex()] = body
    return Records(executions, logs, artifacts, objects, unsettled)


def waiting_messages(data: pathlib.Path) -> int:
    """Number of messages in the queue of an embedded server, which may be running."""
    connection = sqlite3.connect(f"file:{data / 'tidemill.db'}?mode=ro", uri=True, timeout=10)
    try:
        return connection.execute("SELECT count(*) FROM queue").fetchone()[0]
    finally:
        connection.close()


def _rows(connection: sqlite3.Connection) -> tuple[list, list]:
    executions, unsettled, by_seq = [], [], {}
    rows = connection.execute("SELECT seq, id, run_number, status, over, state FROM executions ORDER BY seq")
    for seq, identity, number, status, over, state in rows:
        state = json.loads(state)
        one = {
            "id": str(uuid.UUID(bytes=identity)),
            "number": number,
            "status": status,
            "canceled": state.get("cancel_requested", False),
            "end": seconds(state.get("end_time")),
            "jobs": [],
        }
        if bool(over) != (status in ("SUCCESS", "FAILED", "CANCELED")) or state["status"] != status:
            unsettled.append(f"the execution {one['id']} has two minds about its status: {status}, {state['status']}")
        by_seq[seq] = one
        executions.append(one)
    for seq, identity, pipeline in connection.execute("SELECT seq, id, pipeline FROM executions"):
        # A UUIDv7 begins with the milliseconds of its making.
        by_seq[seq] |= {"pipeline": pipeline, "created": int.from_bytes(identity[:6], "big") / 1000}
    specs = {node: json.loads(spec) for node, spec in connection.execute("SELECT node, spec FROM node_specs")}
    names = {node: spec["name"] for node, spec in specs.items() if "name" in spec}
    needs = {node: [] for node in names}
    for node, name in names.items():
        for link in specs[node].get("links", []):
            released = (node >> 32 << 32) + link
            if released in needs:
                needs[released].append(name)
    rows = connection.execute(
        "SELECT n.node, n.due_at, n.status, n.state, j.id FROM nodes n LEFT JOIN jobs j ON j.node = n.node ORDER BY n.node"
    )
    for node, due, status, state, identity in rows:
        state, spec, execution = json.loads(state), specs[node], by_seq[node >> 32]
        if due is not None:
            unsettled.append(f"node {node & 0xFFFFFFFF} of {execution['id']} is still due")
        if identity is None:
            continue
        job = str(uuid.UUID(bytes=identity))
        item = state["body"]["Job"]
        if item["job"]["status"] != status:
            unsettled.append(f"the job {job} has two minds about its status: {status}, {item['job']['status']}")
        execution["jobs"].append(_job(job, spec, needs[node], item))
    for execution, index in connection.execute("SELECT execution, ix FROM queue"):
        unsettled.append(f"a message for job {index} of {uuid.UUID(bytes=execution)} is still queued")
    return executions, unsettled


def _job(identity: str, spec: dict, needs: list, item: dict) -> dict:
    # What has its usual value is left out.
    job = item["job"]
    attempts = [_attempt(one) for one in job.get("attempts", [])]
    return {
        "id": identity,
        "name": spec["name"],
        "status": job["status"],
        "attempt": job.get("attempt", 0),
        "allow_failure": spec.get("allow_failure", False),
        "needs": needs,
        "lease": job.get("lease"),
        "begin": seconds(job.get("started_at")),
        "end": seconds(job.get("ended_at")),
        "exit_code": job.get("exit_code"),
        "failure": (job.get("failure") or {}).get("kind"),
        "attempts": attempts,
        "log_bytes": item.get("log_bytes", 0),
    }


def _attempt(one: dict) -> dict:
    return {
        "attempt": one["attempt"],
        "begin": seconds(one["started_at"]),
        "end": seconds(one["ended_at"]),
        "failure": (one["failure"] or {}).get("kind"),
        "worker": one["worker"],
    }


def deployed(api: Api) -> Records:
    """The records of a deployment."""
    executions, logs, artifacts, objects = [], {}, [], {}
    for summary in api.executions():
        view = api.status(summary["id"])
        known = view["execution"]
        jobs = []
        for job in view["jobs"]:
            jobs.append(
                {
                    "id": job["id"],
                    "name": job["job_name"],
                    "status": job["status"],
                    "attempt": job["attempt"],
                    "allow_failure": job["allow_failure"],
                    "needs": job["needs"],
                    "lease": None,
                    "begin": seconds(job["start_time"]),
                    "end": seconds(job["end_time"]),
                    "exit_code": job["exit_code"],
                    "failure": (job["failure_reason"] or {}).get("kind"),
                    "attempts": [_attempt(one) for one in job["attempts"]],
                    "log_bytes": job["log_bytes"],
                }
            )
            for attempt in range(1, job["attempt"] + 1):
                logs[job["id"], attempt] = api.log(job["id"], attempt)
        executions.append(
            {
                "id": known["id"],
                "number": known["run_number"],
                "status": known["status"],
                "canceled": known["cancel_requested"],
                "end": seconds(known["end_time"]),
                "jobs": jobs,
                "pipeline": known["pipeline_name"],
                "created": seconds(known["created_at"]),
            }
        )
        for one in api.artifacts(known["id"]):
            body = api.artifact(one["id"])
            objects[hashlib.sha256(body).hexdigest()] = body
            artifacts.append({**one, "job": one["job_execution_id"]})
    return Records(executions, logs, artifacts, objects, [])
