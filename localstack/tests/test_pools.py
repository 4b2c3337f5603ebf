"""A job that requires labels requests a machine of its pool, from none; on the deployment of `scripts/test`.

The emulator's Auto Scaling starts no machines. A worker that this test starts in place of one has its name, as on AWS.
Run by itself, it prints the times, which docs/deploy.md has: `TIDEMILL_TEST_CLOUD_ENV=.../env TIDEMILL_BINARY=.../tidemill
python localstack/tests/test_pools.py`.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import boto3
from cloud import read_environment

LABELS = {"size": "large", "zone": "emulator"}
# Of the groups, as infra/template.yml calls them.
GROUP = "tidemill-workers-b"
OTHERS = ["tidemill-workers-b-on-demand"]


def pipeline(image: str) -> str:
    jobs = [{"name": name, "image": image, "script": ["true"], "runs_on": LABELS} for name in ("one", "two")]
    return json.dumps({"name": "pools", "jobs": {job.pop("name"): job for job in jobs}})


@unittest.skipUnless(os.environ.get("TIDEMILL_TEST_CLOUD_ENV"), "TIDEMILL_TEST_CLOUD_ENV is not set")
class PoolTest(unittest.TestCase):
    def setUp(self):
        self.environment = read_environment(Path(os.environ["TIDEMILL_TEST_CLOUD_ENV"]))
        if "TIDEMILL_LABELLED_QUEUE_URL_B" not in self.environment:
            self.skipTest("the deployment has no pool B")
        self.autoscaling, self.functions = self.client("autoscaling"), self.client("lambda")

    def client(self, service: str):
        return boto3.client(
            service,
            region_name=self.environment["AWS_REGION"],
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )

    def call(self, path: str, body: dict | None = None) -> dict:
        request = urllib.request.Request(
            self.environment["TIDEMILL_SERVER"] + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": "Bearer " + self.environment["TIDEMILL_TOKEN"],
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.loads(reply.read())

    def groups(self) -> dict:
        groups = self.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        return {group["AutoScalingGroupName"]: group for group in groups}

    def scale(self) -> dict:
        """Runs the decision of the scale function, and returns what it did."""
        reply = self.functions.invoke(FunctionName="tidemill-scale")
        outcome = json.loads(reply["Payload"].read())
        self.assertNotIn("FunctionError", reply, outcome)
        return outcome

    def wait_for(self, what: str, check, seconds: float = 60):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := check():
                return found
            time.sleep(0.02)
        self.fail(f"{what}: not within {seconds} s")

    def start_worker(self, name: str, data: str) -> subprocess.Popen:
        """A worker as the start-up script of the template starts it."""
        binary = os.environ["TIDEMILL_BINARY"]
        labels = [argument for label in LABELS.items() for argument in ("--label", "=".join(label))]
        passed = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "TIDEMILL_"))}
        passed |= {
            "TIDEMILL_SERVER": self.environment["TIDEMILL_SERVER"],
            "TIDEMILL_TOKEN": self.environment["TIDEMILL_WORKER_TOKEN"],
            "TIDEMILL_QUEUE_URL": self.environment["TIDEMILL_LABELLED_QUEUE_URL_B"],
            "TIDEMILL_QUEUE_WAIT": "1s",
            "TIDEMILL_DATA_DIR": data,
            "TIDEMILL_IMDS": "http://127.0.0.1:1",
            "AWS_ENDPOINT_URL": self.environment["AWS_ENDPOINT_URL"],
            "AWS_REGION": self.environment["AWS_REGION"],
            "AWS_ACCESS_KEY_ID": self.environment["TIDEMILL_WORKER_ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": self.environment["TIDEMILL_WORKER_SECRET_ACCESS_KEY"],
        }
        command = [binary, "worker", "--name", name, "--jobs", "1", *labels]
        return subprocess.Popen(command, env=passed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def test_job_gets_a_machine_of_its_pool_from_none(self):
        before = self.groups()
        self.assertEqual(before[GROUP]["DesiredCapacity"], 0)
        self.assertNotIn("tidemill-workers", before, "the pool without labels has no machines here")
        # Its machines have no workers afterwards, and the emulator cannot end them one by one.
        self.addCleanup(self.autoscaling.set_desired_capacity, AutoScalingGroupName=GROUP, DesiredCapacity=0)
        times: dict[str, float] = {}
        began = time.monotonic()

        def note(step: str) -> None:
            times[step] = time.monotonic() - began

        image = os.environ.get("TIDEMILL_TEST_IMAGE", "tidemill-demo:1")
        request = {"pipeline": pipeline(image), "repo": "pools", "commit": "0" * 40, "source": {"kind": "none"}}
        execution = self.call("/api/pipeline/execute", request)["execution_id"]
        note("the request is answered")
        # In the same request: one machine for each job, as a worker of this pool runs one at a time.
        group = self.groups()[GROUP]
        self.assertEqual(group["DesiredCapacity"], 2)
        note("machines are requested")
        self.assertEqual([self.groups()[name]["DesiredCapacity"] for name in OTHERS], [0])

        self.assertEqual(self.scale(), {"needed": 2, "changes": 0, "unstarted": 0})

        machine = group["Instances"][0]["InstanceId"]
        with tempfile.TemporaryDirectory() as data:
            worker = self.start_worker(machine, data)
            try:
                began = time.monotonic() - times["machines are requested"]
                note("the worker starts")

                def jobs(*statuses: str) -> list:
                    shown = self.call(f"/api/pipeline/status/{execution}")["jobs"]
                    return [job for job in shown if job["status"] in statuses]

                self.wait_for("a job has a worker", lambda: jobs("RUNNING", "SUCCESS"))
                note("the first job has a worker")
                self.wait_for("a job has ended", lambda: jobs("SUCCESS"))
                note("the first job has ended")
                self.wait_for("both jobs have ended", lambda: len(jobs("SUCCESS")) == 2)
                self.assertEqual(self.scale()["unstarted"], 0)
                listed = self.call("/api/workers")["workers"]
                self.assertIn((machine, LABELS["size"]), [(one["name"], one["labels"].get("size")) for one in listed])
            finally:
                worker.terminate()
                worker.wait(60)
        if __name__ == "__main__":
            for step, seconds in times.items():
                print(f"{seconds:7.2f} s  {step}")


if __name__ == "__main__":
    unittest.main()
