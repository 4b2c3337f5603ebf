"""Damages copies of a good case in many ways, and checks that the auditor finds each damage."""

import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import uuid

from .audit import Audit
from .event_recorder import LABEL, Engine
from .journal import read
from .leftovers import leftovers
from .records import embedded
from .workload import IMAGE


class Copy:
    """A copy of a case, to be damaged."""

    def __init__(self, case: pathlib.Path):
        self.case, self.data = case, case / "server"
        self.records = embedded(self.data)
        self.jobs = [job for one in self.records.executions for job in one["jobs"]]

    def job(self, wanted) -> dict:
        """The first job for which `wanted` holds."""
        return next(job for job in self.jobs if wanted(job))

    def log(self, job: dict, attempt: int | None = None) -> pathlib.Path:
        """The file of a job's log."""
        return self.data / "logs" / job["id"][-2:] / f"{job['id']}.{attempt or job['attempt']}.log"

    def sql(self, statement: str, *values) -> None:
        """Changes the records directly."""
        connection = sqlite3.connect(self.data / "tidemill.db")
        assert connection.execute(statement, values).rowcount > 0, statement
        connection.commit()
        connection.close()

    def change(self, job: dict, change) -> None:
        """Changes a job's state."""
        connection = sqlite3.connect(self.data / "tidemill.db")
        rows = connection.execute(
            "SELECT n.node, n.state FROM nodes n JOIN jobs j ON j.node = n.node WHERE j.id = ?",
            (uuid.UUID(job["id"]).bytes,),
        ).fetchall()
        ((node, state),) = rows
        state = json.loads(state)
        change(state["body"]["Job"])
        status = state["body"]["Job"]["job"]["status"]
        connection.execute("UPDATE nodes SET state = ?, status = ? WHERE node = ?", (json.dumps(state), status, node))
        connection.commit()
        connection.close()

    def notes(self, name: str, change) -> None:
        """Changes entries: `change` returns the entry, another one, or nothing."""
        path = self.case / f"{name}.jsonl"
        changed = [note for note in map(change, read(path)) if note is not None]
        path.write_text("".join(json.dumps(note) + "\n" for note in changed))


def _good(job: dict) -> bool:
    return job["status"] == "SUCCESS" and job["log_bytes"] > 1000


def _loses_the_end_of_a_log(copy: Copy) -> None:
    log = copy.log(copy.job(_good))
    log.write_bytes(log.read_bytes()[:-100])


def _loses_a_line_of_a_log(copy: Copy) -> None:
    log = copy.log(copy.job(_good))
    lines = log.read_bytes().splitlines(keepends=True)
    at = next(at for at, line in enumerate(lines) if line.startswith(b"@ 5 "))
    log.write_bytes(b"".join(lines[:at] + lines[at + 1 :]))


def _doubles_a_line_of_a_log(copy: Copy) -> None:
    log = copy.log(copy.job(_good))
    lines = log.read_bytes().splitlines(keepends=True)
    at = next(at for at, line in enumerate(lines) if line.startswith(b"@ 5 "))
    log.write_bytes(b"".join(lines[: at + 1] + lines[at:]))


def _changes_a_byte_that_was_read(copy: Copy) -> None:
    log = copy.log(copy.job(_good))
    content = log.read_bytes()
    log.write_bytes(content[:3].swapcase() + b"?" + content[4:])


def _loses_a_log(copy: Copy) -> None:
    copy.log(copy.job(_good)).unlink()


def _sets_a_job_back_to_running(copy: Copy) -> None:
    copy.change(copy.job(_good), lambda item: item["job"].update(status="RUNNING"))


def _leaves_a_lease(copy: Copy) -> None:
    lease = {"token": "0" * 8 + "-0000-4000-8000-" + "0" * 12, "worker": "w", "expires_at": "2030-01-01T00:00:00Z"}
    copy.change(copy.job(_good), lambda item: item["job"].update(lease=lease))


def _has_a_success_before_the_last_attempt(copy: Copy) -> None:
    def again(item):
        job = item["job"]
        job.setdefault("attempts", []).append(
            {
                "attempt": job["attempt"],
                "started_at": job["started_at"],
                "ended_at": job["ended_at"],
                "exit_code": 0,
                "failure": None,
                "worker": "w",
            }
        )
        job["attempt"] += 1

    copy.change(copy.job(_good), again)


def _has_a_log_after_the_last_attempt(copy: Copy) -> None:
    job = copy.job(_good)
    shutil.copy(copy.log(job), copy.log(job, job["attempt"] + 1))


def _turns_a_success_into_a_failure(copy: Copy) -> None:
    failure = {"kind": "script_failed", "message": "x"}
    copy.change(copy.job(_good), lambda item: item["job"].update(status="FAILED", exit_code=1, failure=failure))


def _calls_an_execution_failed(copy: Copy) -> None:
    one = next(one for one in copy.records.executions if one["status"] == "SUCCESS")
    state = json.dumps(
        {"status": "FAILED", "start_time": None, "end_time": "2030-01-01T00:00:00Z", "cancel_requested": False}
    )
    copy.sql(
        "UPDATE executions SET status = 'FAILED', state = ? WHERE run_number = ? AND pipeline = ?",
        state,
        one["number"],
        one["pipeline"],
    )


def _lets_a_job_run_though_its_need_failed(copy: Copy) -> None:
    never = copy.job(lambda job: job["name"] == "never" and job["status"] == "SKIPPED")
    copy.change(
        never,
        lambda item: item["job"].update(
            status="SUCCESS", attempt=1, started_at="2030-01-01T00:00:00Z", ended_at="2030-01-01T00:00:01Z"
        ),
    )


def _loses_an_execution(copy: Copy) -> None:
    connection = sqlite3.connect(copy.data / "tidemill.db")
    ((last,),) = connection.execute("SELECT MAX(seq) FROM executions")
    for table, column in (("nodes", "node"), ("node_specs", "node"), ("jobs", "node")):
        connection.execute(f"DELETE FROM {table} WHERE {column} >> 32 = ?", (last,))
    for table in ("executions", "execution_specs"):
        connection.execute(f"DELETE FROM {table} WHERE seq = ?", (last,))
    connection.commit()
    connection.close()


def _has_an_execution_that_nobody_asked_for(copy: Copy) -> None:
    key = next(note["key"] for note in read(copy.case / "journal.jsonl") if note["what"] == "acknowledged")
    copy.notes("journal", lambda note: None if note.get("key") == key else note)


def _answered_one_key_twice(copy: Copy) -> None:
    acknowledged = [note for note in read(copy.case / "journal.jsonl") if note["what"] == "acknowledged"]
    other = next(note for note in acknowledged if note["key"] != acknowledged[0]["key"])
    copy.notes("journal", lambda note: {**note, "key": acknowledged[0]["key"]} if note == other else note)


def _loses_an_artifact(copy: Copy) -> None:
    next((copy.data / "artifacts").rglob("*.object")).unlink()


def _damages_an_artifact(copy: Copy) -> None:
    path = next((copy.data / "artifacts").rglob("*.object"))
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(content)


def _forgets_that_an_artifact_was_recorded(copy: Copy) -> None:
    job = copy.job(lambda job: job["name"] == "make" and job["status"] == "SUCCESS")
    copy.sql("DELETE FROM artifacts WHERE json_extract(record, '$.job') = ?", job["id"])


def _leaves_a_node_due(copy: Copy) -> None:
    copy.sql("UPDATE nodes SET due_at = 1 WHERE node = (SELECT MIN(node) FROM nodes)")


def _leaves_a_message(copy: Copy) -> None:
    copy.sql("INSERT INTO queue (execution, ix, visible_at) SELECT id, 0, 0 FROM executions LIMIT 1")


def _saw_an_end_that_changed(copy: Copy) -> None:
    done = False

    def other(note):
        nonlocal done
        if not done and note["what"] == "saw" and note["status"] == "SUCCESS":
            done = True
            return {**note, "status": "FAILED"}
        return note

    copy.notes("journal", other)


def _began_after_a_cancel(copy: Copy) -> None:
    one = next(one for one in copy.records.executions if one["status"] == "SUCCESS")
    note = {"what": "canceled", "at": 1.0, "execution": one["id"], "changed": True}
    path = copy.case / "journal.jsonl"
    path.write_text(path.read_text() + json.dumps(note) + "\n")


def _refuses_without_words(copy: Copy) -> None:
    note = {"what": "refused", "at": 1.0, "key": "k", "status": 500, "problem": {}}
    path = copy.case / "journal.jsonl"
    path.write_text(path.read_text() + json.dumps(note) + "\n")


def _ran_two_attempts_at_once(copy: Copy) -> None:
    events = read(copy.case / "events.jsonl")
    names = {
        note["name"]: note["container"] for note in events if note["what"] == "volume" and note["action"] == "mount"
    }
    uppers = {note["upper"]: note["name"] for note in events if note["what"] == "volume" and note["upper"]}

    def container_of_an_earlier_attempt(job: dict) -> str | None:
        # The engine may have removed a container before its volume was read: any attempt but the last will do.
        mounts = [copy.log(job, number).read_bytes() for number in range(1, job["attempt"])]
        for name, container in names.items():
            known = [name.encode(), *(upper.encode() for upper, of in uppers.items() if of == name)]
            if any(one in mount for one in known for mount in mounts):
                return container
        return None

    job = copy.job(
        lambda job: (
            any(one["failure"] == "worker_lost" for one in job["attempts"])
            and all(
                copy.log(job, number).exists() and b"@ begin" in copy.log(job, number).read_bytes()
                for number in range(1, job["attempt"] + 1)
            )
            and container_of_an_earlier_attempt(job) is not None
        )
    )
    note = {"what": "ran", "at": 1.0, "until": 4e9, "container": container_of_an_earlier_attempt(job)}
    path = copy.case / "events.jsonl"
    path.write_text(path.read_text() + json.dumps(note) + "\n")


# Each damage, and the promise that the auditor must find broken.
DAMAGES = {
    _loses_the_end_of_a_log: "logs are whole",
    _loses_a_line_of_a_log: "logs are whole",
    _doubles_a_line_of_a_log: "logs are whole",
    _changes_a_byte_that_was_read: "nothing acknowledged is lost",
    _loses_a_log: "logs are whole",
    _sets_a_job_back_to_running: "nothing is stuck",
    _leaves_a_lease: "nothing is stuck",
    _has_a_success_before_the_last_attempt: "nothing succeeds twice",
    _has_a_log_after_the_last_attempt: "nothing succeeds twice",
    _turns_a_success_into_a_failure: "a job ends as its script does",
    _calls_an_execution_failed: "the end fits the jobs",
    _lets_a_job_run_though_its_need_failed: "needs hold",
    _loses_an_execution: "nothing acknowledged is lost",
    _has_an_execution_that_nobody_asked_for: "one key, one execution",
    _answered_one_key_twice: "one key, one execution",
    _loses_an_artifact: "artifacts are whole",
    _damages_an_artifact: "artifacts are whole",
    _forgets_that_an_artifact_was_recorded: "artifacts are whole",
    _leaves_a_node_due: "nothing is stuck",
    _leaves_a_message: "nothing is stuck",
    _saw_an_end_that_changed: "an end is final",
    _began_after_a_cancel: "a cancel holds",
    _refuses_without_words: "an error is clear",
    _ran_two_attempts_at_once: "two attempts never run at once",
}


def damages(case: pathlib.Path, room: pathlib.Path) -> list[str]:
    """The damages that the auditor did not find. `case` is a good case, `room` a directory for copies."""
    missed = []
    for damage, promise in DAMAGES.items():
        shutil.rmtree(room, ignore_errors=True)
        shutil.copytree(case, room, symlinks=True, ignore=shutil.ignore_patterns("worker-*", "repository", "worker"))
        damage(Copy(room))
        found = {finding.promise for finding in Audit(room, embedded(room / "server")).run()}
        name = damage.__name__.strip("_").replace("_", " ")
        print(f"  {'found ' if promise in found else 'MISSED'}  {name}: {', '.join(sorted(found)) or 'nothing'}")
        if promise not in found:
            missed.append(name)
    shutil.rmtree(room, ignore_errors=True)
    return missed


def left_behind(case: pathlib.Path, binary: pathlib.Path, engine: Engine) -> list[str]:
    """The kinds of leftovers that are not found: one of each is created."""
    (case / "tmp").mkdir(parents=True)
    work = case / "worker-0" / "worker" / "work" / "unknown"
    work.mkdir(parents=True)
    (case / "tmp" / "forgotten").touch()
    (case / "server").mkdir()
    (case / "server" / "tidemill.db").touch()
    (case / "server" / "token.1.tmp").touch()
    labels = {"tidemill": "1", LABEL: str(case / "worker-0" / "worker")}
    container = engine.post("/containers/create", {"Image": IMAGE, "Cmd": ["sh"], "Labels": labels})["Id"]
    volume = engine.post("/volumes/create", {"Labels": labels})["Name"]
    network = engine.post("/networks/create", {"Name": f"tidemill-left-{os.getpid()}", "Labels": labels})["Id"]
    # Any program of the name will do: it waits for input that never comes.
    program = case / binary.name
    program.symlink_to("/bin/cat")
    process = subprocess.Popen([program], stdin=subprocess.PIPE, env={"TIDEMILL_DATA_DIR": str(case / "worker-0")})
    try:
        found = leftovers(case, program, engine, [case / "server", case / "worker-0"], set(), patience=0)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        engine.delete(f"/containers/{container}?force=true")
        engine.delete(f"/volumes/{volume}")
        engine.delete(f"/networks/{network}")
    kinds = {finding.of for finding in found}
    missed = []
    for kind in (
        "containers",
        "volumes",
        "networks",
        "processes",
        "temporary files",
        "working directories",
        "files in the data directory",
    ):
        print(f"  {'found ' if kind in kinds else 'MISSED'}  leaves {kind}")
        if kind not in kinds:
            missed.append(f"leaves {kind}")
    return missed
