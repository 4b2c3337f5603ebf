"""The time from a push to the first line of a job's log: a server with its own workers, and a git server, on this machine."""

import json
import pathlib
import re
import shutil
import subprocess
import time
import urllib.request
import uuid

from engine import IMAGE
from faults_lib.api import Api, Refused
from faults_lib.git_server import GitServer
from subject import CHECKOUT, RunFailed, git, pipeline, repository

SECRET = "a secret of the hook"
LINE = "the first line"
LIMIT = 60
EXAMPLE = pathlib.Path(CHECKOUT, "backend/services/tests/fixtures/webhooks/gitlab/push.json")


def wait_for(what, probe):
    """The first true value of `probe`, which is asked 200 times a second."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if value := probe():
            return value
        time.sleep(0.005)
    raise RunFailed(f"after {LIMIT} s: {what}")


class Pushes:
    """A repository that is pushed to a git server, and a Tidemill server that the pushes are reported to."""

    def __init__(self, tidemill, scratch):
        self.scratch = scratch
        text = "on: { push: {} }\n" + pipeline({"show": ("build", None, [f"echo {LINE}"])})
        self.work = repository(scratch / "work", text, [("source.txt", b"0\n")])
        served = scratch / "served"
        bare = served / "team" / "app.git"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", bare], check=True)
        self.git_server = GitServer(served, "--enable=receive-pack")
        self.url = f"{self.git_server.url}/team/app.git"
        env = tidemill.env | {"TIDEMILL_DATA_DIR": str(scratch / "server")}
        command = [tidemill.binary, "server", "--listen", "127.0.0.1:0", "--jobs", "2", "--allow-host", "127.0.0.1"]
        self.server = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        address = re.search(r"http://[^,\s]+", self.server.stdout.readline()).group()
        self.hook = f"{address}/api/webhook/gitlab"
        token = (scratch / "server" / "token").read_text().strip()
        self.api = Api(address, token)
        secret = scratch / "secret"
        secret.write_text(SECRET)
        subprocess.run(
            [tidemill.binary, "repo", "add", self.url, "--provider", "gitlab", "--secret-file", secret],
            env=env | {"TIDEMILL_SERVER": address, "TIDEMILL_TOKEN": token},
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.number = 0

    def stop(self):
        self.server.terminate()
        self.server.wait(30)
        self.git_server.stop()

    def push(self):
        """Pushes a new commit; returns its hash and that of its parent."""
        self.number += 1
        (self.work / "source.txt").write_text(f"{self.number}\n")
        git(self.work, "commit", "-qam", f"change {self.number}")
        git(self.work, "push", "-q", self.url, "main")
        return git(self.work, "rev-parse", "HEAD"), git(self.work, "rev-parse", "HEAD~")

    def report(self, after, before):
        """Sends what GitLab sends for a push."""
        body = json.loads(EXAMPLE.read_text())["body"] | {
            "before": before,
            "after": after,
            "checkout_sha": after,
            "ref": "refs/heads/main",
        }
        body["project"] |= {"git_http_url": self.url, "git_ssh_url": self.url, "web_url": self.url}
        headers = {
            "Content-Type": "application/json",
            "X-Gitlab-Event": "Push Hook",
            "X-Gitlab-Event-UUID": str(uuid.uuid4()),
            "X-Gitlab-Token": SECRET,
        }
        urllib.request.urlopen(urllib.request.Request(self.hook, json.dumps(body).encode(), headers), timeout=LIMIT)

    def first_line(self):
        """Seconds from the report of a push until the log of its job has the first line of its script."""
        after, before = self.push()
        begin = time.perf_counter()
        self.report(after, before)

        def jobs():
            new = [
                one for one in self.api.executions() if one.get("commit") == after and one["pipeline_name"] == "bench"
            ]
            return new and self.api.status(new[0]["id"])["jobs"]

        job = wait_for("the push has an execution", jobs)[0]["id"]
        wait_for("the job printed its line", lambda: self.log(job).decode().count(LINE) >= 2)
        spent = time.perf_counter() - begin
        wait_for("the execution ended", lambda: all(one.get("end_time") for one in self.api.executions()))
        return spent

    def log(self, job):
        """The log of a job's first attempt; nothing before it has begun."""
        try:
            return self.api.log(job, 1)
        except Refused as refused:
            if refused.status != 404:
                raise
            return b""

    def floor(self):
        """Seconds of git and the engine alone: fetch the commit, check it out, and the first line of a container."""
        self.push()
        clone = self.scratch / "clone"
        shutil.rmtree(clone, ignore_errors=True)
        begin = time.perf_counter()
        subprocess.run(["git", "clone", "-q", "--depth=50", self.url, clone], check=True)
        command = ["docker", "run", "--rm", "-v", f"{clone}:/w", IMAGE, "echo", LINE]
        container = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        container.stdout.readline()
        spent = time.perf_counter() - begin
        container.wait()
        return spent
