#!/usr/bin/env python3
"""A worker in the standard library: it asks a server for jobs and runs their scripts as plain processes.

    TIDEMILL_SERVER=http://127.0.0.1:7600 TIDEMILL_TOKEN=... python3 examples/worker.py

It ignores images, and gives back jobs that need more: sources, artifacts, services, secrets.
docs/worker-protocol.md describes its requests.
"""

import base64
import gzip
import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid

SERVER, TOKEN = os.environ["TIDEMILL_SERVER"].rstrip("/"), os.environ["TIDEMILL_TOKEN"]
WORKER = {"id": str(uuid.uuid4()), "name": f"python-{os.getpid()}"}
MAX_CHUNK = 1 << 20


def post(path, body):
    """Return the reply, or None if the request conflicts with the records: the lease is lost."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(SERVER + path, json.dumps(body).encode(), headers)
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            if error.code == 409:
                return None
            if error.code < 500 and error.code != 429:
                raise SystemExit(f"{path}: {error.read().decode()}") from error
        except OSError as error:
            print(f"{path}: {error}; trying again")
        time.sleep(2)


def run(assignment):
    """Run one attempt: report that it runs with what it printed, as often as the server asks for it; then its end."""
    attempt = {"job_id": assignment["preparation"]["job_id"], "lease": assignment["lease"]["token"]}
    extras = set(assignment.get("extras", {})) - {"may_keep_caches"}
    needs = assignment["needs_artifacts"] or assignment.get("artifacts") or extras
    if needs or assignment["preparation"]["source"]["kind"] != "none":
        failure = {"kind": "given_back", "message": "this worker runs plain scripts only"}
        return post("/api/job/status", attempt | {"end": {"failure": failure}})
    sent, failure, due, deadline = 0, None, 0, time.monotonic() + assignment["timeout_s"]
    with tempfile.TemporaryDirectory() as workspace, tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["sh", "-e", "-c", "\n".join(assignment["script"])],
            cwd=workspace,
            env={"PATH": os.environ["PATH"], "HOME": workspace} | assignment["variables"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        while True:
            try:
                code = process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                code = None
            if code is None and time.monotonic() < min(due, deadline):
                continue
            report, chunk = dict(attempt), os.pread(output.fileno(), MAX_CHUNK, sent)
            if chunk:
                packed = base64.b64encode(gzip.compress(chunk)).decode()
                report["log"] = {"offset": sent, "length": len(chunk), "gzip_base64": packed}
            if code is not None and len(chunk) < MAX_CHUNK:
                if code != 0 and not failure:
                    failure = {"kind": "script_failed", "message": f"exit code {code}"}
                report["end"] = {"exit_code": code, "failure": failure}
            reply = post("/api/job/status", report)
            if "end" in report:
                return reply
            sent += len(chunk)
            due = time.monotonic() + min(reply["report_interval_ms"] / 1000, 5) if reply else 0
            if reply is None or reply["cancel"]:
                failure = {"kind": "canceled", "message": "canceled"}
            elif time.monotonic() > deadline:
                failure = {"kind": "timed_out", "message": "it ran longer than its timeout"}
            if failure and code is None:
                os.killpg(process.pid, signal.SIGKILL)


while True:
    claimed = post("/api/job/execute", {"worker": WORKER, "wait_ms": 20_000})
    if claimed and claimed["kind"] == "assigned":
        run(claimed["assignment"])
    else:
        time.sleep(1)
