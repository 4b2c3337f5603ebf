"""The cases, by the letters of docs/performance.md. Each measures in pairs and adds rows to its Bench."""

import itertools
import mmap
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import time

from engine import IMAGE, EngineError
from push import Pushes
from subject import CHECKOUT, RunFailed, docker_run, pipeline, repository, timed

MIB = 1024 * 1024


class CaseFailed(Exception):
    """A case could not be measured; says why."""


class Row:
    """One line of the table. `value` must be at most `limit`; if either is None, it is only shown."""

    def __init__(self, case, what, ours=(), floor=(), value=None, limit=None, show="{:.2f}", at_least=False):
        self.case, self.what, self.ours, self.floor = case, what, list(ours), list(floor)
        self.value, self.limit, self.show, self.at_least = value, limit, show, at_least
        self.broken = False

    @property
    def failed(self):
        if self.broken:
            return True
        if self.value is None or self.limit is None:
            return False
        return self.value < self.limit if self.at_least else self.value > self.limit

    def cells(self):
        def seconds(samples):
            return f"{statistics.median(samples):.3f} s" if samples else ""

        verdict = (
            "FAILED"
            if self.broken
            else ""
            if self.limit is None or self.value is None
            else "over"
            if self.failed
            else "ok"
        )
        return (
            self.case,
            self.what,
            seconds(self.ours),
            seconds(self.floor),
            "" if self.value is None else self.show.format(self.value),
            "" if self.limit is None else self.show.format(self.limit),
            verdict,
        )

    def as_json(self):
        return {
            "case": self.case,
            "what": self.what,
            "ours": self.ours,
            "floor": self.floor,
            "value": self.value,
            "limit": self.limit,
            "failed": self.failed,
        }


class Bench:
    """The environment of a case: the baseline, the subject (None: measure the baseline only), and a folder."""

    def __init__(self, engine, tidemill, scratch, installed, samples):
        self.engine, self.tidemill, self.scratch = engine, tidemill, scratch
        self.peers, self.samples = installed, samples
        self.rows, self.notes = [], []
        scratch.mkdir(parents=True)

    def fail(self, case, words):
        row = Row(case, words)
        row.broken = True
        self.rows.append(row)

    def series(self, default, *measures):
        """Samples of each measure in turn (one of each, then one of each again), after one warm-up."""
        times = self.samples or default
        results = [[] for _ in measures]
        try:
            for turn in range(times + 1):
                for measure, result in zip(measures, results, strict=False):
                    self.wait_until_clean()
                    seconds = measure()
                    if turn > 0:
                        result.append(seconds)
        except (RunFailed, EngineError, subprocess.TimeoutExpired, OSError) as error:
            raise CaseFailed(str(error)) from error
        return results

    def wait_until_clean(self):
        """Waits for background clean-up of the last run, so that it does not affect the next sample."""
        rooms = self.tidemill and self.tidemill.data / "worker" / "work"
        while (
            rooms
            and rooms.exists()
            and (any(rooms.iterdir()) or self.engine.labelled(f"tidemill.data={rooms.parent.resolve()}"))
        ):
            time.sleep(0.02)

    def ratio(self, case, what, default, ours, floors):
        """Rows for `ours` against each of `floors`: (words, measure, limit or None)."""
        measures = [measure for _, measure, _ in floors]
        if self.tidemill is None:
            for (words, _, _), samples in zip(floors, self.series(default, *measures), strict=False):
                self.rows.append(Row(case, f"{what}, {words}", floor=samples))
            return
        mine, *theirs = self.series(default, ours, *measures)
        for (words, _, limit), samples in zip(floors, theirs, strict=False):
            value = statistics.median(a / b for a, b in zip(mine, samples, strict=False))
            self.rows.append(Row(case, f"{what}, {words}", mine, samples, value, limit))

    def difference(self, case, what, default, ours, base, limit):
        """A row for the difference in seconds between `ours` and `base`, both runs of Tidemill."""
        if self.tidemill is None:
            return
        mine, theirs = self.series(default, ours, base)
        value = statistics.median(a - b for a, b in zip(mine, theirs, strict=False))
        self.rows.append(Row(case, what, mine, theirs, value, limit, "{:+.3f} s"))

    def beside(self, case, what, jobs, stages, seconds):
        """The same jobs through each peer, a few times, shown without a limit."""
        for peer in self.peers:
            try:
                folder = repository(
                    self.scratch / f"{peer.name}-{what.replace(' ', '-')}", "", peer.files(jobs, stages)
                )
                samples = self.series(3, lambda: timed(peer.command(folder), cwd=folder, env=peer.env))[0]
                value = statistics.median(samples) / seconds if seconds else None
                self.rows.append(Row(case, f"{what}, {peer.name}", samples, value=value, show="{:.1f} x ours"))
            except CaseFailed as error:
                self.notes.append(f"{what}, {peer.name}: {error}")

    def jobs(self, case, what, default, jobs, stages, floors):
        """A ratio row and the peers' rows for one pipeline of plain commands."""
        repo = repository(self.scratch / what.replace(" ", "-"), pipeline(jobs, stages))
        self.ratio(case, what, default, lambda: self.tidemill.run(repo), floors)
        self.beside(case, what, jobs, stages, statistics.median(self.rows[-1].ours) if self.tidemill else None)


def no_op(bench):
    """one no-op job, the whole process, against `docker run --rm`"""
    bench.jobs(
        "a",
        "one no-op job",
        15,
        {"only": ("build", None, ["true"])},
        ["build"],
        [("docker run", lambda: docker_run(["true"]), 0.85)],
    )


def many_jobs(bench):
    """12 jobs in 3 stages and 50 flat jobs, 4 at a time, against bare containers through the API"""
    holder = f"container:{bench.engine.holder()}"
    stages = ["one", "two", "three"]
    staged = {f"{stage}-{i}": (stage, None, ["true"]) for stage in stages for i in range(4)}
    flat = {f"job-{i:02}": ("build", None, ["true"]) for i in range(50)}
    for what, jobs, names, plan, default in (
        ("12 jobs in 3 stages", staged, stages, [[["true"]] * 4] * 3, 9),
        ("50 flat jobs", flat, ["build"], [[["true"]] * 50], 5),
    ):
        bench.jobs(
            "b",
            what,
            default,
            jobs,
            names,
            [
                ("bare API", lambda plan=plan: bench.engine.run_stages(plan), 1.0),
                ("bare API, shared network", lambda plan=plan: bench.engine.run_stages(plan, holder), None),
            ],
        )


def sleeping_dag(bench):
    """a DAG with sleeps, a1 -> c1 -> d1 beside b3, against its critical path"""
    stages = ["first", "second", "third"]
    jobs = {
        "a1": ("first", [], ["sleep 1"]),
        "b3": ("first", [], ["sleep 3"]),
        "c1": ("second", ["a1"], ["sleep 1"]),
        "d1": ("third", ["c1"], ["sleep 1"]),
    }
    start = statistics.median(bench.engine.bare_start() for _ in range(7))
    limit = 3 * 1.05 + start
    bench.notes.append(f"c: the limit is 1.05 x 3 s plus one bare start, measured as {start:.3f} s")
    both = statistics.median(bench.engine.bare_start(2) for _ in range(7))
    bench.notes.append(f"c: two jobs begin at once; two bare containers, started at once, take {both:.3f} s")
    repo = repository(bench.scratch / "dag", pipeline(jobs, stages))
    if bench.tidemill is None:
        return
    ours = bench.series(5, lambda: bench.tidemill.run(repo))[0]
    middle = statistics.median(ours)
    bench.rows.append(Row("c", "DAG with sleeps, critical path 3 s", ours, value=middle, limit=limit, show="{:.3f} s"))
    bench.beside("c", "DAG with sleeps", jobs, stages, middle)


def holds(log, expected):
    """Whether file `log` contains the bytes of file `expected`."""
    with open(log, "rb") as have, open(expected, "rb") as want:
        if os.fstat(have.fileno()).st_size == 0:
            return False
        with mmap.mmap(have.fileno(), 0, access=mmap.ACCESS_READ) as text:
            head = want.read(4096)
            length = os.fstat(want.fileno()).st_size
            # The command's own echo may hold the first bytes too, so every place is tried.
            at = text.find(head)
            while at >= 0 and at + length <= len(text):
                want.seek(0)
                place, same = at, True
                while same and (piece := want.read(MIB)):
                    same = text[place : place + len(piece)] == piece
                    place += len(piece)
                if same:
                    return True
                at = text.find(head, at + 1)
    return False


def output(bench):
    """2,000,000 lines of output, against `docker run` into a file: time, memory, every byte kept"""
    wide = "0123456789" * 7 + "abcdefghi"
    for what, command in (
        ("2,000,000 short lines", "seq 1 2000000"),
        ("2,000,000 lines of 80 bytes", f"yes {wide} | head -n 2000000 || true"),
    ):
        folder = bench.scratch / what.replace(" ", "-")
        folder.mkdir()
        expected, shown, stored = folder / "expected", folder / "shown", folder / "stored"
        repo = repository(folder / "repo", pipeline({"talk": ("build", None, [command])}))
        peak = [0]

        def ours():
            seconds, memory = bench.tidemill.run_with_memory(repo, shown)
            peak[0] = max(peak[0], memory)
            return seconds

        bench.ratio("d", what, 3, ours, [("docker run", lambda: docker_run(["sh", "-c", command], expected), 0.7)])
        if bench.tidemill is None:
            continue
        bench.rows.append(Row("d", f"{what}, peak memory", value=peak[0] / MIB, limit=64, show="{:.0f} MiB"))
        try:
            bench.tidemill.log(repo, "talk", stored)
        except RunFailed as error:
            raise CaseFailed(str(error)) from error
        kept = Row("d", f"{what}, stored log {'has every byte' if holds(stored, expected) else 'LACKS BYTES'}")
        kept.broken = "LACKS" in kept.what
        bench.rows.append(kept)
        bench.notes.append(f"d: {what}: {expected.stat().st_size} bytes printed, {stored.stat().st_size} stored")
        shutil.rmtree(folder)


def sources(bench):
    """5,000 files or 100 MB of sources, second run, above an empty repository; one changed file of 27,000"""
    if bench.tidemill is None:
        return
    text = pipeline({"only": ("build", None, ["true"])})
    many = [(f"src/{i % 50:02}/{i:04}.txt", b"%d\n" % i * 200) for i in range(5000)]
    big = [(f"data/{i:02}.bin", os.urandom(10 * 1000 * 1000)) for i in range(10)]
    empty = repository(bench.scratch / "empty", text)
    for words, files in (("5,000 files", many), ("100 MB in 10 files", big)):
        repo = repository(bench.scratch / words.replace(" ", "-"), text, files)
        run = bench.tidemill.run
        bench.difference("e", f"{words}, as on disk", 7, lambda: run(repo), lambda: run(empty), 0.1)
        bench.difference(
            "e",
            f"{words}, --repo",
            7,
            lambda: run(repo, "--repo", f"file://{repo}", "--branch", "main"),
            lambda: run(empty, "--repo", f"file://{empty}", "--branch", "main"),
            0.1,
        )
    huge = [(f"src/{i % 270:03}/{i:05}.txt", b"%d\n" % i * 20) for i in range(27000)]
    # Root, and a user of the image to whom the files are given.
    for words, more in (("", []), (", user 1000", [f"image: {{ name: '{IMAGE}', user: '1000' }}"])):
        text = pipeline({"only": ("build", None, ["true"], *more)})
        repo = repository(bench.scratch / f"27000-files{words.replace(', ', '-').replace(' ', '-')}", text, huge)
        changed = itertools.count()

        def one_changed(repo=repo, changed=changed):
            (repo / "src/000/00000.txt").write_text(f"change {next(changed)}\n")
            return bench.tidemill.run(repo)

        def none_changed(repo=repo):
            return bench.tidemill.run(repo)

        baseline = [("none changed", none_changed, 1.3)]
        bench.ratio("e", f"27,000 files{words}, one changed", 7, one_changed, baseline)


def artifact(bench):
    """a 100 MB artifact from job to job, above the same pipeline without one"""
    if bench.tidemill is None:
        return
    make = "head -c 104857600 /dev/urandom > big"
    stages = ["build", "test"]
    base = {"make": ("build", None, [make]), "use": ("test", ["make"], ["true"])}
    with_one = {
        "make": ("build", None, [make], "artifacts: { paths: [big] }"),
        "use": ("test", ["make"], ['test "$(stat -c %s big)" = 104857600']),
    }
    none = repository(bench.scratch / "none", pipeline(base, stages))
    one = repository(bench.scratch / "one", pipeline(with_one, stages))
    bench.difference(
        "f", "100 MB artifact, random bytes", 5, lambda: bench.tidemill.run(one), lambda: bench.tidemill.run(none), 0.6
    )


def control_plane(bench):
    """the control plane alone: 1,000 and 10,000 jobs, transitions per second"""
    if bench.tidemill is None:
        return
    if not pathlib.Path(CHECKOUT, "backend", "server", "examples", "control_plane.rs").exists():
        raise CaseFailed("backend/server/examples/control_plane.rs is not there")
    done = subprocess.run(
        ["cargo", "run", "--release", "-q", "-p", "tidemill-server", "--example", "control_plane"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CaseFailed(f"control_plane ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    for line in done.stdout.strip().splitlines():
        bench.notes.append(f"g: {line}")
    rates = [float(n.replace(",", "")) for n in re.findall(r"([\d,.]+) transitions/s", done.stdout)]
    if rates:
        bench.rows.append(
            Row("g", "transitions per second, slowest", value=min(rates), limit=5000, show="{:,.0f} /s", at_least=True)
        )
    if len(rates) >= 2:
        bench.rows.append(Row("g", "cost per job, 10,000 jobs to 1,000", value=rates[0] / rates[-1], limit=1.3))


def check(bench):
    """`tidemill check` on 1,000 chained jobs"""
    stages = ["build"]
    jobs = {f"job-{i:04}": ("build", [f"job-{i - 1:04}"] if i else [], ["true"]) for i in range(1000)}
    file = bench.scratch / "chain.yml"
    file.write_text(pipeline(jobs, stages))
    if bench.tidemill is not None:
        ours = bench.series(21, lambda: bench.tidemill.check(file))[0]
        middle = statistics.median(ours)
        bench.rows.append(Row("h", "check 1,000 chained jobs", ours, value=middle * 1000, limit=20, show="{:.1f} ms"))
    for peer in bench.peers:
        folder = repository(bench.scratch / peer.name, "", peer.files(jobs, stages))
        try:
            samples = bench.series(3, lambda: timed(peer.list_command(folder), cwd=folder, env=peer.env))[0]
            bench.rows.append(Row("h", f"list 1,000 chained jobs, {peer.name}", samples))
        except CaseFailed as error:
            bench.notes.append(f"h: {peer.name}: {error}")


def push(bench):
    """from a webhook's push to the first line of its job's log, on a server"""
    if bench.tidemill is None:
        return
    pushes = Pushes(bench.tidemill, bench.scratch)
    try:
        floors = [("git clone and docker run", pushes.floor, None)]
        bench.ratio("i", "push to the first line", 7, pushes.first_line, floors)
    finally:
        pushes.stop()


ALL = {
    "a": no_op,
    "b": many_jobs,
    "c": sleeping_dag,
    "d": output,
    "e": sources,
    "f": artifact,
    "g": control_plane,
    "h": check,
    "i": push,
}
