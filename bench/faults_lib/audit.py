"""The auditor: compares what clients observed, the records, all logs and objects, and the engine's events, and reports every broken
guarantee.

It is independent: it computes the execution's status from its jobs, counts each log line by line, hashes and opens each artifact,
and takes concurrency from the engine's events, not from the records.
"""

import collections
import dataclasses
import hashlib
import io
import itertools
import pathlib
import re
import shutil
import subprocess
import tarfile

from .journal import read
from .records import Records
from .workload import FILLER

# Kinds of failures that are not the job's own doing; so many of them may end a job. To be given back costs none.
COSTLY = ("engine_failed", "worker_lost", "disk_full", "image_pull_failed", "internal")
INFRASTRUCTURE = (*COSTLY, "given_back")
TRIES = 3
TERMINAL = ("SUCCESS", "FAILED", "CANCELED", "SKIPPED")
# A canceled job is over within these seconds, while server and engine are there.
CANCEL_SECONDS = 10
# What clocks in a container (hundredths of a second) and the engine's may differ by.
CLOCKS = 0.1
_LINE = re.compile(rb"@ (\d+) " + FILLER.encode())


def _is_good(job: dict) -> bool:
    """Whether dependents of the job may run."""
    return job["status"] == "SUCCESS" or (job["status"] == "FAILED" and job["allow_failure"])


@dataclasses.dataclass(frozen=True)
class Finding:
    """A broken guarantee: its short name, the subject, and the violation."""

    promise: str
    of: str
    words: str

    def __str__(self):
        return f"{self.promise}: {self.of}: {self.words}"


class Audit:
    """The audit of one case: a directory with the clients' and the engine's journals, and the records."""

    def __init__(
        self,
        case: pathlib.Path,
        records: Records,
        *,
        bound: float | None = None,
        refusals: tuple | None = (("tidemill:disk-full", 507),),
    ):
        self.records, self.bound, self.refusals = records, bound, refusals
        self.journal, self.faults, self.events = (
            read(case / f"{name}.jsonl") for name in ("journal", "faults", "events")
        )
        self.findings: list[Finding] = []
        self.figures: collections.Counter = collections.Counter()
        self.execution_of = {one["id"]: one for one in records.executions}
        self.job_of = {job["id"]: job for one in records.executions for job in one["jobs"]}
        self.expected = self._expectations()

    def run(self) -> list[Finding]:
        """All findings."""
        for check in (
            self._acknowledged,
            self._refused,
            self._ended,
            self._statuses,
            self._outcomes,
            self._once,
            self._logs,
            self._artifacts,
            self._seen,
            self._cancels,
            self._apart,
        ):
            check()
        self.figures["executions"] = len(self.records.executions)
        self.figures["jobs"] = len(self.job_of)
        self.figures["attempts"] = sum(job["attempt"] for job in self.job_of.values())
        for job in self.job_of.values():
            self.figures.update(f"attempts ended as {one['failure']}" for one in job["attempts"])
            lost = (one for one in job["attempts"] if one["failure"] == "worker_lost")
            # On a machine that is busy enough a lease may run out by itself, so this is reported and is no violation.
            self.figures["lost attempts that no fault explains"] += sum(not self._is_explained(one) for one in lost)
        return self.findings

    def find(self, promise: str, of: str, words: str) -> None:
        """Adds a finding."""
        self.findings.append(Finding(promise, of, words))

    def _expectations(self) -> dict:
        """The expected results of each execution's jobs, by the execution's id."""
        requested = {note["key"]: note for note in self.journal if note["what"] == "asked"}
        acknowledged = {note["execution"]: note["key"] for note in self.journal if note["what"] == "acknowledged"}
        return {execution: requested[key]["expected"] for execution, key in acknowledged.items() if key in requested}

    def _acknowledged(self) -> None:
        """Every acknowledged execution has exactly one record, and there are no others."""
        by_key = collections.defaultdict(set)
        for note in self.journal:
            if note["what"] == "acknowledged":
                self.figures["acknowledged executions"] += 1
                by_key[note["key"]].add((note["execution"], note["number"]))
        acknowledged = set()
        for key, answers in by_key.items():
            if len(answers) != 1:
                self.find("one key, one execution", key, f"was answered with {sorted(answers)}")
            for execution, number in answers:
                acknowledged.add(execution)
                there = self.execution_of.get(execution)
                if there is None:
                    self.find("nothing acknowledged is lost", execution, "was acknowledged and is not recorded")
                elif there["number"] != number:
                    self.find("nothing acknowledged is lost", execution, f"was #{number} and is #{there['number']}")
        unsure = {note["key"] for note in self.journal if note["what"] == "asked"} - set(by_key)
        extra = set(self.execution_of) - acknowledged
        if len(extra) > len(unsure):
            self.find("one key, one execution", ", ".join(sorted(extra)), "are recorded and no client asked for them")
        numbers = collections.Counter((one["pipeline"], one["number"]) for one in self.records.executions)
        for (pipeline, number), times in numbers.items():
            if times > 1:
                self.find("one key, one execution", pipeline, f"has {times} executions with the number {number}")

    def _refused(self) -> None:
        """Error replies are problem documents."""
        for note in self.journal:
            if note["what"] == "refused":
                self.figures[f"refusals with {note['status']}"] += 1
                problem = note["problem"]
                if self.refusals is None:
                    continue
                if (problem.get("type"), note["status"]) not in self.refusals or not problem.get("detail"):
                    self.find("an error is clear", note["key"], f"was refused with {note['status']}: {problem}")

    def _ended(self) -> None:
        """All executions have ended, and no work is left."""
        for one in self.records.executions:
            if one["status"] not in TERMINAL:
                self.find("nothing is stuck", one["id"], f"is {one['status']}")
            for job in one["jobs"]:
                if job["status"] not in TERMINAL:
                    self.find("nothing is stuck", job["id"], f"{job['name']} is {job['status']}")
                elif job["lease"] is not None:
                    self.find("nothing is stuck", job["id"], "is over and still has a lease")
            if one["end"] is not None:
                took = one["end"] - one["created"]
                self.figures["longest execution, ms"] = max(self.figures["longest execution, ms"], int(took * 1000))
                if self.bound is not None and took > self.bound:
                    self.find("nothing is stuck", one["id"], f"took {took:.0f} s; the bound is {self.bound:.0f} s")
        for words in self.records.unsettled:
            self.find("nothing is stuck", "records", words)

    def _statuses(self) -> None:
        """An execution's status follows from its jobs, and a job ran only if its needs held."""
        for one in self.records.executions:
            good = [_is_good(job) for job in one["jobs"]]
            failed = any(job["status"] == "FAILED" and not job["allow_failure"] for job in one["jobs"])
            due = "SUCCESS" if all(good) else "CANCELED" if one["canceled"] or not failed else "FAILED"
            if one["status"] in TERMINAL and one["status"] != due:
                self.find("the end fits the jobs", one["id"], f"is {one['status']}, and its jobs say {due}")
            by_name = {job["name"]: (job, fine) for job, fine in zip(one["jobs"], good, strict=False)}
            for job in one["jobs"]:
                for need in job["needs"]:
                    before, fine = by_name[need]
                    first = min(
                        [job["begin"], *(a["begin"] for a in job["attempts"])], default=None, key=lambda t: t or 0
                    )
                    if job["attempt"] > 0 and not fine:
                        self.find("needs hold", job["id"], f"{job['name']} ran, and {need} is {before['status']}")
                    elif job["attempt"] > 0 and first < before["end"]:
                        self.find("needs hold", job["id"], f"{job['name']} began before {need} was over")

    def _outcomes(self) -> None:
        """Each job ended as its script does, except canceled ones and those whose attempts were lost to faults."""
        for execution, jobs in self.expected.items():
            one = self.execution_of.get(execution)
            if one is None:
                continue
            by_name = {job["name"]: job for job in one["jobs"]}
            for name, want in jobs.items():
                job = by_name.get(name)
                if job is None:
                    self.find("nothing acknowledged is lost", execution, f"has no job {name}")
                    continue
                self.figures[f"jobs {job['status'].lower()}"] += 1
                due = {"ok": "SUCCESS", "fail": "FAILED", "skip": "SKIPPED"}[want["end"]]
                if job["status"] == due and (due != "FAILED" or job["exit_code"] == want["code"]):
                    continue
                taken = sum(kind in COSTLY for kind in [*(a["failure"] for a in job["attempts"]), job["failure"]])
                blocked = any(not _is_good(by_name[need]) for need in job["needs"] if need in by_name)
                canceled = one["canceled"] and job["status"] in ("CANCELED", "SKIPPED")
                if job["status"] == "FAILED" and job["failure"] in COSTLY and taken >= TRIES:
                    self.figures["jobs that lost all their tries to faults"] += 1
                elif not canceled and not (job["status"] == "SKIPPED" and blocked):
                    self.find(
                        "a job ends as its script does",
                        job["id"],
                        f"{name} is {job['status']} ({job['failure']}, exit code {job['exit_code']}) and should be {due}",
                    )

    def _once(self) -> None:
        """No job succeeded twice: only its last attempt may have succeeded."""
        for job in self.job_of.values():
            numbers = [one["attempt"] for one in job["attempts"]]
            # One that was canceled while it waited for its next attempt has only ended ones.
            waited = numbers[-1:] == [job["attempt"]] and job["status"] != "SUCCESS"
            if sorted(set(numbers)) != numbers or any(number >= job["attempt"] + waited for number in numbers):
                self.find(
                    "nothing succeeds twice", job["id"], f"has attempts {numbers} before attempt {job['attempt']}"
                )
            for one in job["attempts"]:
                if one["failure"] is None:
                    self.find(
                        "nothing succeeds twice", job["id"], f"attempt {one['attempt']} succeeded, and another followed"
                    )
            later = [attempt for owner, attempt in self.records.logs if owner == job["id"] and attempt > job["attempt"]]
            if later:
                self.find(
                    "nothing succeeds twice",
                    job["id"],
                    f"has logs of attempts {later} after its last, {job['attempt']}",
                )
            spans = [(a["begin"], a["end"]) for a in job["attempts"]]
            if job["attempt"] and not waited:
                spans.append((job["begin"], job["end"]))
            for (_, end), (begin, _) in itertools.pairwise(spans):
                if end is not None and begin < end:
                    self.find("one lease at a time", job["id"], "has attempts that overlap in the records")

    def _logs(self) -> None:
        """A log counts from 1 without gaps; the log of a completed attempt is complete."""
        lines_of = {}
        for execution, jobs in self.expected.items():
            for job in self.execution_of.get(execution, {}).get("jobs", []):
                lines_of[job["id"]] = jobs.get(job["name"], {}).get("lines")
        for (owner, attempt), log in self.records.logs.items():
            job = self.job_of.get(owner)
            if job is None:
                self.find("logs are whole", owner, "has a log and is not recorded")
                continue
            self.figures["log bytes"] += len(log)
            numbers = [int(number) for number in _LINE.findall(log)]
            if numbers != list(range(1, len(numbers) + 1)):
                at = next(at for at, number in enumerate(numbers) if number != at + 1)
                self.find("logs are whole", owner, f"attempt {attempt}: after line {at} comes {numbers[at]}")
            begun = re.findall(rb"@ begin (\S+) (\d+) ", log)
            if any(line != (owner.encode(), str(attempt).encode()) for line in begun) or len(begun) > 1:
                self.find("logs are whole", owner, f"attempt {attempt} has the beginning of another: {begun}")
            wanted = lines_of.get(owner)
            done = re.findall(rb"@ end (\S+) (\d+) ", log)
            last = attempt == job["attempt"]
            if last and log is not None and job["log_bytes"] > len(log):
                self.find("logs are whole", owner, f"{job['log_bytes']} bytes were stored, and {len(log)} are there")
            if last and job["status"] == "SUCCESS":
                if done != [(owner.encode(), str(attempt).encode())] or (wanted is not None and len(numbers) != wanted):
                    self.find(
                        "logs are whole", owner, f"succeeded after {len(numbers)} of {wanted} lines, ends: {done}"
                    )
                elif job["log_bytes"] != len(log):
                    self.find(
                        "logs are whole", owner, f"{job['log_bytes']} bytes were stored, and {len(log)} are there"
                    )
            if (
                last
                and job["status"] == "FAILED"
                and job["failure"] == "script_failed"
                and wanted not in (None, len(numbers))
            ):
                self.find("logs are whole", owner, f"failed after {len(numbers)} of {wanted} lines")
        for job in self.job_of.values():
            if job["log_bytes"] and not self.records.logs.get((job["id"], job["attempt"])):
                self.find("logs are whole", job["id"], f"{job['log_bytes']} bytes were stored, and there is no log")

    def _artifacts(self) -> None:
        """Each artifact exists, has the recorded hash, and the content that its job wrote."""
        left = collections.defaultdict(set)
        wanted = {}
        for execution, jobs in self.expected.items():
            for job in self.execution_of.get(execution, {}).get("jobs", []):
                wanted[job["id"]] = jobs.get(job["name"], {})
        for one in self.records.artifacts:
            self.figures["artifacts"] += 1
            body = self.records.objects.get(one["sha256"])
            if body is None or len(body) != one["size"] or hashlib.sha256(body).hexdigest() != one["sha256"]:
                self.find("artifacts are whole", one["id"], "its bytes are not there, or others are")
                continue
            job, attempt = one["job"], one.get("attempt")
            left[job].add(attempt)
            want = wanted.get(job, {})
            # Python has no zstd of its own.
            if "owner" not in want or (one["encoding"] == "zstd" and not shutil.which("zstd")):
                continue
            if one["encoding"] == "zstd":
                body = subprocess.run(["zstd", "-dc"], input=body, stdout=subprocess.PIPE, check=True).stdout
            with tarfile.open(fileobj=io.BytesIO(body)) as tar:
                files = {
                    member.name.removeprefix("./"): tar.extractfile(member).read()
                    for member in tar.getmembers()
                    if member.isfile()
                }
            owner = files.get(want["owner"], b"").decode().split()[-2:]
            if owner[:1] != [job] or (attempt is not None and owner[1:] != [str(attempt)]):
                self.find(
                    "artifacts are whole", one["id"], f"is of {job}, attempt {attempt}, and says it is of {owner}"
                )
            if "numbers" in want:
                due = b"".join(b"%d\n" % number for number in range(1, want["numbers"] + 1))
                if files.get("out/numbers") != due:
                    self.find("artifacts are whole", one["id"], "does not hold what its job wrote")
        for job, want in wanted.items():
            known = self.job_of[job]
            if "owner" in want and known["status"] == "SUCCESS" and not left[job] & {known["attempt"], None}:
                self.find("artifacts are whole", job, "succeeded, and what it left is not recorded")

    def _seen(self) -> None:
        """Statuses and logs that a client saw are unchanged."""
        for note in self.journal:
            if note["what"] == "saw":
                one = self.execution_of.get(note["execution"])
                if one is None or (note["status"] in TERMINAL and one["status"] != note["status"]):
                    self.find(
                        "an end is final", note["execution"], f"was {note['status']}, and is {one and one['status']}"
                    )
                for seen in note["jobs"]:
                    job = self.job_of.get(seen["id"])
                    is_now = job and (job["status"], job["attempt"])
                    was_over = seen["status"] in TERMINAL and is_now != (seen["status"], seen["attempt"])
                    if job is None or seen["attempt"] > job["attempt"] or was_over:
                        self.find("an end is final", seen["id"], f"was {seen}, and is {is_now}")
            elif note["what"] == "read":
                self.figures["reads of logs that were checked again"] += 1
                log = self.records.logs.get((note["job"], note["attempt"]), b"")
                if hashlib.sha256(log[: note["bytes"]]).hexdigest() != note["sha256"] or len(log) < note["bytes"]:
                    self.find(
                        "nothing acknowledged is lost",
                        note["job"],
                        f"attempt {note['attempt']}: the first {note['bytes']} bytes of its log are not what was read",
                    )

    def _cancels(self) -> None:
        """After an acknowledged cancel, no attempt starts and running ones end soon."""
        for note in self.journal:
            if note["what"] != "canceled" or not note["changed"]:
                continue
            self.figures["acknowledged cancels"] += 1
            one, at = self.execution_of.get(note["execution"]), note["at"]
            if one is None:
                continue
            if one["status"] not in ("CANCELED", "SUCCESS"):
                self.find("a cancel holds", one["id"], f"was acknowledged, and it is {one['status']}")
            for job in one["jobs"]:
                begins = [job["begin"], *(attempt["begin"] for attempt in job["attempts"])]
                if any(begin is not None and begin > at for begin in begins):
                    self.find("a cancel holds", job["id"], f"{job['name']} began after the cancel was acknowledged")
                late = (job["end"] or at) - at
                self.figures["slowest end after a cancel, ms"] = max(
                    self.figures["slowest end after a cancel, ms"], int(late * 1000)
                )
                # A lease that runs out is seen by the next sweep.
                if late > CANCEL_SECONDS + 3 and not self._was_disturbed(at, job["end"], ("server", "engine", "disk")):
                    self.find("a cancel holds", job["id"], f"{job['name']} was over {late:.1f} s after the cancel")

    def _is_explained(self, attempt: dict) -> bool:
        return any(
            fault["at"] < attempt["end"]
            and fault.get("until", fault["at"]) + 1 > attempt["begin"]
            and (fault["what"] in ("server", "disk", "engine") or fault["of"] in (attempt["worker"], "aws"))
            for fault in self.faults
        )

    def _was_disturbed(self, begin: float, end: float, subjects: tuple) -> bool:
        return any(
            fault["what"] in subjects and fault["at"] < end and fault.get("until", fault["at"]) + 3 > begin
            for fault in self.faults
        )

    def _apart(self) -> None:
        """Two attempts of a job never ran concurrently, by the engine's events."""
        booted = next((note["booted"] for note in self.events if note["what"] == "recorder"), None)
        gaps = [(note["since"], note["at"]) for note in self.events if note["what"] == "gap"]
        container_of, died, upper_of, ran = {}, {}, {}, {}
        for note in self.events:
            if note["what"] == "volume" and note["action"] == "mount":
                container_of[note["name"]] = note["container"]
            elif note["what"] == "volume" and note["upper"]:
                upper_of[note["upper"]] = note["name"]
            elif note["what"] == "ran":
                ran[note["container"]] = max(note["until"], ran.get(note["container"], 0))
            elif note["what"] == "container" and note["action"] in ("die", "destroy"):
                died.setdefault(note["id"], note["at"])
            elif note["what"] == "container" and note["action"] == "create":
                self.figures["containers that the engine made"] += 1
        begun = collections.defaultdict(dict)
        for (owner, attempt), log in self.records.logs.items():
            if found := re.search(rb"@ begin \S+ \d+ ([\d.]+) (.*)", log):
                mount = found[2].decode(errors="replace")
                volume = re.search(r"volumes/([0-9a-f]+)/_data", mount)
                upper = re.search(r"upperdir=([^,]+)", mount)
                name = volume[1] if volume else upper_of.get(upper[1]) if upper else None
                begun[owner][attempt] = (float(found[1]) + (booted or 0), container_of.get(name))
        used = collections.defaultdict(list)
        for owner, attempts in begun.items():
            for attempt, (_, container) in attempts.items():
                if container is not None:
                    self.figures["attempts whose container the engine named"] += 1
                    used[container].append((owner, attempt))
        for container, attempts in used.items():
            if len(attempts) > 1:
                self.find("a container is one attempt's", container, f"ran {attempts}")
        for owner, attempts in begun.items():
            lost = {
                a["attempt"]: a
                for a in self.job_of.get(owner, {"attempts": []})["attempts"]
                if a["failure"] in INFRASTRUCTURE
            }
            for attempt, (_, container) in attempts.items():
                later = [begin for number, (begin, _) in attempts.items() if number > attempt]
                if attempt not in lost or not later or container is None:
                    continue
                # A container that outlives its script, as the keeper of a network, is idle.
                end = ran.get(container, died.get(container))
                if end is None and any(
                    since < min(later) + 60 and until > lost[attempt]["begin"] for since, until in gaps
                ):
                    self.figures["ends that the engine's restart hid"] += 1
                    continue
                self.figures["lost attempts whose script was over before the next began"] += 1
                if end is None or end > min(later) + CLOCKS:
                    over = (
                        "never ended" if end is None else f"still ran {end - min(later):.2f} s after the next one began"
                    )
                    self.find("two attempts never run at once", owner, f"the script of attempt {attempt} {over}")
