"""The subject: the tidemill binary, with its repositories and pipeline files."""

import json
import os
import pathlib
import subprocess
import threading
import time

from engine import IMAGE, PARALLEL

CHECKOUT = str(pathlib.Path(__file__).resolve().parent.parent)
TIME_LIMIT = 900


class RunFailed(Exception):
    """A measured command failed, with the end of its output."""


def timed(command, cwd=None, env=None, stdout=None):
    """Seconds of `command` as a whole process; its output goes to the file `stdout`, or is discarded."""
    with open(stdout or os.devnull, "wb") as output:
        begin = time.perf_counter()
        done = subprocess.run(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            timeout=TIME_LIMIT,
            check=False,
        )
        spent = time.perf_counter() - begin
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-5:]
        raise RunFailed(f"{' '.join(map(str, command))} ended with {done.returncode}: {' / '.join(last)}")
    return spent


def docker_run(command, stdout=None):
    return timed(["docker", "run", "--rm", IMAGE, *command], stdout=stdout)


def peak_memory(pid, stop, result):
    """Stores the maximum VmHWM (bytes) of process `pid` in result[0] until `stop` is set."""
    while not stop.wait(0.02):
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                result[0] = max(result[0], int(line.split()[1]) * 1024)


class Tidemill:
    """The binary with its own data directory."""

    def __init__(self, binary, scratch):
        self.binary = str(binary)
        self.data = scratch / "data"
        self.env = dict(os.environ, TIDEMILL_DATA_DIR=str(self.data), NO_COLOR="1")

    @classmethod
    def find(cls, binary, scratch):
        if binary is None:
            subprocess.run(["cargo", "build", "--release", "-p", "tidemill-cli"], cwd=CHECKOUT, check=True)
            target = os.environ.get("CARGO_TARGET_DIR", "target")
            binary = pathlib.Path(CHECKOUT, target, "release", "tidemill")
        return cls(pathlib.Path(binary).resolve(), scratch)

    def run(self, repo, *more, stdout=None):
        """Seconds of one `tidemill run` in `repo`, as a whole process."""
        command = [self.binary, "run", "--force", "--jobs", str(PARALLEL), *more]
        return timed(command, cwd=repo, env=self.env, stdout=stdout)

    def run_with_memory(self, repo, stdout):
        """(seconds, peak bytes) of one `tidemill run`, its worker included: it is the same process."""
        with open(stdout, "wb") as output, open(str(stdout) + ".err", "wb") as errors:
            begin = time.perf_counter()
            process = subprocess.Popen(
                [self.binary, "run", "--force"],
                cwd=repo,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
            stop, peak = threading.Event(), [0]
            watcher = threading.Thread(target=peak_memory, args=(process.pid, stop, peak))
            watcher.start()
            try:
                code = process.wait(TIME_LIMIT)
            finally:
                stop.set()
                watcher.join()
            spent = time.perf_counter() - begin
        if code != 0:
            raise RunFailed(f"tidemill run ended with {code}: {pathlib.Path(str(stdout) + '.err').read_text()[-500:]}")
        return spent, peak[0]

    def log(self, repo, job, file):
        """Writes the stored log of `job` of the latest run to `file`."""
        timed([self.binary, "logs", job], cwd=repo, env=self.env, stdout=file)

    def check(self, file):
        return timed([self.binary, "check", str(file)], env=self.env)


def git(folder, *words):
    """Runs git in `folder`, as a person without settings; returns what it prints."""
    identity = ["-c", "user.name=Bench", "-c", "user.email=bench@example.invalid", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def repository(folder, pipeline, files=()):
    """A git repository in `folder` with one commit: the pipeline file and `files` (path, bytes)."""
    folder.mkdir(parents=True)
    for path, content in [(".pipelines/bench.yml", pipeline.encode()), *files]:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "bench"]):
        git(folder, *words)
    return folder


def pipeline(jobs, stages=("build",)):
    """A pipeline file; `jobs` maps a name to (stage, needs or None, commands, more lines)."""
    lines = ["name: bench", f"stages: [{', '.join(stages)}]", f"defaults: {{ image: '{IMAGE}' }}", "jobs:"]
    for name, (stage, needs, commands, *more) in jobs.items():
        lines += [f"  {name}:", f"    stage: {stage}"]
        if needs is not None:
            lines.append(f"    needs: [{', '.join(needs)}]")
        lines.append("    script:")
        # Quoted as JSON, which is YAML too: a bare `true` would be no string.
        lines += [f"      - {json.dumps(command)}" for command in commands]
        lines += [f"    {line}" for line in more]
    return "\n".join(lines) + "\n"
