"""Clients that start executions, cancel some, watch all, and record the replies."""

import hashlib
import pathlib
import random
import subprocess
import threading
import uuid

from .api import Api, Refused, Unreachable
from .git_server import GitServer
from .journal import Journal
from .workload import Maker, Plan

TERMINAL = ("SUCCESS", "FAILED", "CANCELED", "SKIPPED")
# How often a client asks again for what it got no answer to.
PAUSE = 0.3


class Repository:
    """A git repository with one file, served by a git server on loopback."""

    def __init__(self, directory: pathlib.Path):
        directory.mkdir(parents=True)
        git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
        (directory / "source.txt").write_text("from the repository\n")
        for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
            subprocess.run([*git, *words], cwd=directory, check=True)
        said = subprocess.run([*git, "rev-parse", "HEAD"], cwd=directory, check=True, capture_output=True, text=True)
        self.commit = said.stdout.strip()
        self.server = GitServer(directory.parent)
        self.url = f"{self.server.url}/{directory.name}"

    def stop(self) -> None:
        """Stops the server."""
        self.server.stop()


class Clients:
    """Clients of one server that start `wanted` executions, at most `max_live` of which are live at a time."""

    def __init__(
        self,
        api: Api,
        journal: Journal,
        maker: Maker,
        seed: int,
        wanted: int,
        max_live: int,
        repository: Repository,
        cancels: float = 0.08,
        doubles: float = 0.2,
        watch_logs: bool = True,
    ):
        self.api, self.journal, self.maker = api, journal, maker
        self.random = random.Random(seed ^ 0x10AD)
        self.wanted, self.max_live, self.repository = wanted, max_live, repository
        self.cancels, self.doubles, self.watch_logs = cancels, doubles, watch_logs
        self.live: dict[str, str] = {}
        self.cursors: dict[tuple[str, int], tuple[int, hashlib._Hash]] = {}
        self.over, self.begun, self.refused = 0, 0, 0
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.threads: list[threading.Thread] = []
        self.submitting: threading.Thread | None = None
        self.watching: threading.Thread | None = None

    def start(self) -> None:
        """Starts, or continues after `wanted` was raised."""
        if self.submitting is not None:
            self.submitting.join()
        else:
            # Its host is this machine, which the server lets nobody contact for a repository that it does not know.
            self.api.json("PUT", "/api/repository", {"url": self.repository.url, "provider": "gitea"})
        self.submitting = self._begin(self._submit)
        if self.watching is None:
            self.watching = self._begin(self._watch)

    def _begin(self, task) -> threading.Thread:
        thread = threading.Thread(target=task, daemon=True)
        thread.start()
        self.threads.append(thread)
        return thread

    def is_sent(self) -> bool:
        """Whether all executions were acknowledged."""
        with self.lock:
            return self.begun >= self.wanted

    def is_over(self) -> bool:
        """Whether all executions were seen to end."""
        with self.lock:
            return self.begun >= self.wanted and not self.live

    def end(self) -> None:
        """Stops the clients, even with live executions."""
        self.stopping.set()
        for thread in list(self.threads):
            thread.join(30)
        self.repository.stop()

    def request(self, plan: Plan) -> dict:
        """The request that starts `plan`."""
        url, commit = self.repository.url, self.repository.commit
        source = {"kind": "none"}
        if plan.sources:
            source = {"kind": "git", "url": url, "branch": "main", "commit": commit}
        return {
            "pipeline": plan.text(),
            "file": "ci.yml",
            "repo": url,
            "branch": "main",
            "commit": commit,
            "source": source,
            "requested_by": "load",
            "force": True,
        }

    def _submit(self) -> None:
        while not self.stopping.is_set() and not self.is_sent():
            if len(self.live) >= self.max_live:
                self.stopping.wait(0.05)
                continue
            plan, key = self.maker.next(), f"load-{uuid.UUID(int=self.random.getrandbits(128))}"
            request = self.request(plan)
            self.journal.note("asked", key=key, kind=plan.kind, expected=plan.expected)
            doubled = self.random.random() < self.doubles
            if doubled:
                # The same request from another client at the same time must give the same execution.
                twin = threading.Thread(target=self._execute, args=(request, key), daemon=True)
                twin.start()
                self.threads.append(twin)
            reply = self._execute(request, key)
            if reply is None:
                return
            execution = reply["execution_id"]
            with self.lock:
                self.begun += 1
                self.live[execution] = key
            if self.random.random() < self.cancels:
                canceler = threading.Thread(
                    target=self._cancel, args=(execution, self.random.uniform(0.2, 6)), daemon=True
                )
                canceler.start()
                self.threads.append(canceler)

    def _execute(self, request: dict, key: str) -> dict | None:
        while not self.stopping.is_set():
            try:
                reply = self.api.execute(request, key)
            except Unreachable:
                self.stopping.wait(PAUSE)
                continue
            except Refused as refused:
                # A server may say that it cannot now; that is no answer to keep.
                self.refused += 1
                self.journal.note("refused", key=key, status=refused.status, problem=refused.problem)
                if refused.status < 500 and refused.status != 429:
                    return None  # a good request was called a bad one, as the auditor will say
                self.stopping.wait(PAUSE)
                continue
            self.journal.note("acknowledged", key=key, execution=reply["execution_id"], number=reply["run_number"])
            return reply
        return None

    def _cancel(self, execution: str, after: float) -> None:
        self.stopping.wait(after)
        while not self.stopping.is_set():
            try:
                reply = self.api.cancel(execution)
                self.journal.note("canceled", execution=execution, changed=reply["canceled"])
                return
            except (Unreachable, Refused):
                self.stopping.wait(PAUSE)

    def _watch(self) -> None:
        while not self.stopping.is_set():
            with self.lock:
                live = list(self.live)
            for execution in live:
                if self.stopping.is_set():
                    return
                try:
                    self._look(execution)
                except (Unreachable, Refused, ValueError):
                    self.stopping.wait(0.05)
            self.stopping.wait(0.25)

    def _look(self, execution: str) -> None:
        view = self.api.status(execution)
        jobs = [{"id": job["id"], "status": job["status"], "attempt": job["attempt"]} for job in view["jobs"]]
        self.journal.note("saw", execution=execution, status=view["execution"]["status"], jobs=jobs)
        if self.watch_logs:
            for job in view["jobs"]:
                if job["attempt"] > 0 and job["log_bytes"] > 0:
                    self._read_log(job["id"], job["attempt"])
        if view["execution"]["status"] in TERMINAL:
            with self.lock:
                del self.live[execution]
                self.over += 1

    def _read_log(self, job: str, attempt: int) -> None:
        read, digest = self.cursors.get((job, attempt), (0, hashlib.sha256()))
        content, _ = self.api.call("GET", f"/api/job/logs/{job}?attempt={attempt}&offset={read}")
        if content:
            digest.update(content)
            read += len(content)
            self.cursors[job, attempt] = (read, digest)
            self.journal.note("read", job=job, attempt=attempt, bytes=read, sha256=digest.hexdigest())
