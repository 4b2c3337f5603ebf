"""A case on a local deployment: functions, table, queue and bucket on the emulator, behind a proxy that injects faults."""

import http.client
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import time
import urllib.parse

from . import fleet
from .api import Api
from .audit import Audit, Finding
from .aws_proxy import QUIET, STORM, AwsProxy
from .campaign import Campaign
from .event_recorder import EventRecorder
from .leftovers import leftovers
from .records import deployed

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent.parent
# Long enough for a report to be lost three times in a storm, short enough that lost workers are noticed soon.
LEASE_MS = 8000


class Cloud:
    """The emulator with the deployment, and the proxy."""

    def __init__(self, directory: pathlib.Path, binary: pathlib.Path, seed: int):
        self.directory = directory
        port = fleet.free_port()
        self.proxy = AwsProxy(port, seed)
        # The functions that were built with the binary, else new ones.
        functions = {"TIDEMILL_FUNCTIONS_DIR": str(binary.parent)} if (binary.parent / "api").is_file() else {}
        self.environment = {
            **functions,
            **os.environ,
            "TIDEMILL_BINARY": str(binary),
            "TIDEMILL_EMULATOR_FRONT": f"http://127.0.0.1:{self.proxy.port}",
        }
        self.command = [CHECKOUT / "localstack" / "cloud", "--dir", str(directory), "--port", str(port)]

    def up(self) -> dict:
        """Starts the deployment. Returns the settings of clients, which use the proxy."""
        words = [*self.command, "up", "--no-worker", "--sweep-every", "2", "--parameter", f"LeaseTtlMs={LEASE_MS}"]
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the local cloud does not come up:\n{done.stderr[-3000:]}")
        lines = shlex.split((self.directory / "env").read_text(), comments=True)
        found = dict(line.split("=", 1) for line in lines)
        direct = found["AWS_ENDPOINT_URL"]
        front = f"http://127.0.0.1:{self.proxy.port}"
        return {key: value.replace(direct, front) for key, value in found.items()}

    def down(self) -> None:
        """Removes the deployment."""
        subprocess.run([*self.command, "down"], env=self.environment, capture_output=True)
        self.proxy.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class CloudCampaign(Campaign):
    """Workers and clients of a deployment, without a server to kill."""

    def __init__(
        self, case: pathlib.Path, binary: pathlib.Path, seed: int, *, docker: str, executions: int, cloud: Cloud
    ):
        super().__init__(case, binary, seed, docker=docker, executions=executions, workers=2, lease_ms=LEASE_MS)
        self.cloud, self.server = cloud, None

    def start(self) -> None:
        """Starts the workers and the clients."""
        settings = self.cloud.up()
        self.recorder = EventRecorder(self.engine, self.case / "events.jsonl")
        self.token, self.url, self.queue = (
            settings["TIDEMILL_TOKEN"],
            settings["TIDEMILL_SERVER"],
            settings["TIDEMILL_QUEUE_URL"],
        )
        self.settings = settings
        self.api = Api(self.url, self.token)
        passed = {
            **{key: value for key, value in settings.items() if key.startswith("AWS_")},
            "AWS_ACCESS_KEY_ID": settings["TIDEMILL_WORKER_ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": settings["TIDEMILL_WORKER_SECRET_ACCESS_KEY"],
            "TIDEMILL_QUEUE_URL": self.queue,
            "TIDEMILL_QUEUE_WAIT": "1s",
        }
        for number in range(self.wanted_workers):
            worker = fleet.worker(
                self.binary,
                self.case,
                f"worker-{number}",
                self.url,
                settings["TIDEMILL_WORKER_TOKEN"],
                self.docker,
                passed,
            )
            self.workers.append(worker)
            worker.start()
        self._begin()

    def wait_for_messages(self) -> None:
        """Nothing: `finish` waits for the deployment's queues."""

    def finish(self) -> tuple[list[Finding], dict]:
        """Waits for an empty queue, stops everything, and audits the deployment."""
        self.cloud.proxy.trouble(0)
        found = self.unseen()
        self.clients.end()
        found += self._queues()
        found += self.stop()
        self.recorder.close()
        self.journal.close()
        self.faults.close()
        # Refusals come from the emulator's gateway and the functions alike; that they were overcome is what counts.
        audit = Audit(self.case, deployed(self.api), refusals=None)
        found += audit.run()
        found += leftovers(self.case, self.binary, self.engine, [one.data for one in self.workers], set())
        return found, {**self.figures, **self.cloud.proxy.counted, **audit.figures}

    def _queues(self) -> list[Finding]:
        """Findings for messages that are left in the queue."""
        found = []
        for name, url in (
            ("queue", self.queue),
            ("dead-letter queue", self.settings["TIDEMILL_DEAD_LETTER_QUEUE_URL"]),
        ):
            if not fleet.wait_until(lambda url=url: self._messages(url) == 0, 60, 1):
                found.append(Finding("nothing is stuck", name, f"has {self._messages(url)} messages left"))
        return found

    def _messages(self, url: str) -> int:
        address = urllib.parse.urlsplit(self.settings["AWS_ENDPOINT_URL"])
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
        # The emulator needs credentials and does not check signatures.
        headers = {
            "content-type": "application/x-amz-json-1.0",
            "x-amz-target": "AmazonSQS.GetQueueAttributes",
            "authorization": f"AWS4-HMAC-SHA256 Credential={self.settings['AWS_ACCESS_KEY_ID']}/20260101/"
            f"{self.settings['AWS_REGION']}/sqs/aws4_request, SignedHeaders=host, Signature=0",
        }
        connection.request("POST", "/", json.dumps({"QueueUrl": url, "AttributeNames": ["All"]}), headers)
        attributes = json.loads(connection.getresponse().read())["Attributes"]
        connection.close()
        return sum(int(attributes[f"ApproximateNumberOfMessages{part}"]) for part in ("", "NotVisible", "Delayed"))


def bad_days(campaign: CloudCampaign, seconds: float) -> None:
    """A low rate of faults with bursts, and killed workers."""
    deadline, random = time.monotonic() + seconds, campaign.random
    proxy = campaign.cloud.proxy
    while campaign.is_busy(deadline):
        proxy.trouble(QUIET)
        time.sleep(random.uniform(4, 8))
        begun = time.time()
        proxy.trouble(STORM)
        time.sleep(random.uniform(1, 5))
        proxy.trouble(QUIET)
        campaign.faults.note("cut", at=begun, until=time.time(), how="storm", of="aws")
        campaign.count("storms")
        if random.random() < 0.3:
            campaign.kill(random.choice(campaign.workers), random.uniform(0, 1))
    proxy.trouble(0)
