"""Runs the workers' start-up script, with its paths in a directory and every command that would change the machine replaced."""

import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from template import Template

PARAMETERS = {
    "MaxWorkers": "10",
    "WorkerToken": "secret-token",
    "WorkerBinaryUrl": "/api/workers/program",
    "WorkerImages": "docker.io/library/rust:1,example.org/app",
}
BINARY = b"#!/bin/sh\n"
# The commands of a new machine. curl answers as the metadata service and the API do.
COMMANDS = {
    "curl": r"""
case $* in
*/api/token*) echo session ;;
*/instance-id) echo i-0123 ;;
*/target-lifecycle-state) cat "$ROOT/lifecycle" ;;
*/spot/instance-action) exit 22 ;;
*) echo "$* $(cat "${7#@}")" >>"$ROOT/fetched"
   while [ "$1" != -o ]; do shift; done
   printf '#!/bin/sh\n' >"$2" ;;
esac
""",
    "dnf": 'echo "$*" >>"$ROOT/packages"',
    "systemctl": 'echo "$*" >>"$ROOT/systemctl"',
    "systemd-run": 'echo "$*" >>"$ROOT/units"',
}
WITH_ENGINE = {"docker": "", "git": "", "iptables": ""}
# Of this machine: the script needs no others.
TOOLS = ["bash", "cat", "chmod", "cut", "echo", "env", "mkdir", "printf", "rm", "sha256sum", "sleep", "sh", "tr"]


class WorkerSetup(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        (self.root / "bin").mkdir()
        for name in ("etc/systemd/system", "usr/local/bin", "var/lib", "run"):
            (self.root / name).mkdir(parents=True)
        (self.root / "lifecycle").write_text("InService")

    def run_script(
        self, commands: dict, lifecycle: str = "InService", template: str = "WorkerTemplate", **parameters: str
    ) -> str:
        """Runs the script, and returns its output."""
        sha256 = subprocess.run(["sha256sum"], input=BINARY, stdout=subprocess.PIPE, check=True).stdout[:64]
        parameters = {**PARAMETERS, "WorkerBinarySha256": sha256.decode(), **parameters}
        templates = Template(**parameters).resources("AWS::EC2::LaunchTemplate")
        script = templates[template]["LaunchTemplateData"]["UserData"]
        for path in ("/etc/", "/usr/local/", "/var/lib/", "/run/"):
            script = script.replace(path, f"{self.root}{path}")
        for name, body in {**COMMANDS, **commands}.items():
            file = self.root / "bin" / name
            file.write_text(f"#!/bin/bash\n{body}\n")
            file.chmod(0o755)
        for name in TOOLS:
            found = subprocess.run(["sh", "-c", f"command -v {name}"], capture_output=True, text=True).stdout
            link = self.root / "bin" / name
            if os.path.isabs(found.strip()) and not link.exists():
                link.symlink_to(found.strip())
        (self.root / "lifecycle").write_text(lifecycle)
        environment = {"PATH": str(self.root / "bin"), "ROOT": str(self.root)}
        done = subprocess.run(
            ["bash", "-c", script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
        )
        self.assertEqual(done.returncode, 0, done.stdout.decode())
        return done.stdout.decode()

    def text(self, name: str) -> str:
        path = self.root / name
        return path.read_text() if path.exists() else ""

    def call(self, name: str) -> subprocess.CompletedProcess:
        """Runs a script that the start-up script has written."""
        environment = {"PATH": str(self.root / "bin"), "ROOT": str(self.root)}
        return subprocess.run(
            [self.root / "usr/local/lib/tidemill" / name], env=environment, capture_output=True, timeout=5
        )

    def test_image_with_an_engine_installs_nothing(self):
        output = self.run_script(WITH_ENGINE)
        self.assertEqual(self.text("packages"), "")
        self.assertIn("starting the worker", output)
        self.assertIn("enable --now docker", self.text("systemctl"))
        self.assertTrue(self.text("systemctl").endswith("start --no-block tidemill\n"))

    def test_plain_image_installs_what_it_lacks(self):
        self.run_script({"git": ""})
        self.assertEqual(self.text("packages"), "install -y --setopt=install_weak_deps=False docker iptables-nft\n")

    def test_worker_is_the_instance_and_has_the_labels_of_its_pool(self):
        self.run_script(
            WITH_ENGINE,
            WorkerSlots="3",
            WorkerConfig="allow.gpus=true limits.log=1GiB",
            WorkerUsdPerHour="0.07",
            DrainSeconds="600",
        )
        environment = self.text("etc/tidemill/worker.env")
        for line in ("INSTANCE=i-0123", "TIDEMILL_TOKEN=secret-token", "TIDEMILL_GRACE=570s"):
            self.assertIn(line + "\n", environment)
        unit = self.text("etc/systemd/system/tidemill.service")
        arguments = (
            "--name i-0123 --jobs 3 --worker-config allow.gpus=true --worker-config limits.log=1GiB"
            " --worker-config machine.usd_per_hour=0.07"
        )
        self.assertIn(f"ExecStart={self.root}/usr/local/bin/tidemill worker {arguments}\n", unit)
        self.assertEqual((self.root / "etc/tidemill/worker.env").stat().st_mode & 0o77, 0, "it holds the token")

    def test_worker_of_a_pool_has_its_labels(self):
        pool = {"LabelsA": "arch=arm64,gpu=true", "MaxWorkersA": "1", "WorkerConfigA": "allow.gpus=true"}
        self.run_script(WITH_ENGINE, template="WorkerTemplateA", **pool)
        unit = self.text("etc/systemd/system/tidemill.service")
        self.assertIn("--jobs 2 --label arch=arm64 --label gpu=true --worker-config allow.gpus=true\n", unit)
        self.assertIn("TIDEMILL_QUEUE_URL=<LabelledQueueA>\n", self.text("etc/tidemill/worker.env"))

    def test_program_is_fetched_with_the_token_only_from_the_api(self):
        self.run_script(WITH_ENGINE)
        self.assertIn("Authorization: Bearer secret-token", self.text("fetched"))
        self.assertFalse((self.root / "etc/tidemill/binary.headers").exists())
        (self.root / "fetched").unlink()
        self.run_script(WITH_ENGINE, WorkerBinaryUrl="https://example.org/tidemill")
        self.assertIn("https://example.org/tidemill", self.text("fetched"))
        self.assertNotIn("Bearer", self.text("fetched"))

    def test_another_program_is_not_started(self):
        with self.assertRaises(AssertionError):
            self.run_script(WITH_ENGINE, WorkerBinarySha256="0" * 64)
        self.assertNotIn("start --no-block tidemill", self.text("systemctl"))

    def test_images_are_pulled_beside_the_worker(self):
        self.run_script(WITH_ENGINE)
        self.assertIn("IMAGES=docker.io/library/rust:1,example.org/app", self.text("units"))
        (self.root / "units").unlink()
        self.run_script(WITH_ENGINE, WorkerImages="")
        self.assertEqual(self.text("units"), "")

    def test_log_is_sent_from_the_beginning_if_it_is_wanted(self):
        self.run_script(WITH_ENGINE)
        self.assertIn("enable --now tidemill-log", self.text("systemctl").splitlines())
        sender = self.text("etc/systemd/system/tidemill-log.service")
        self.assertIn("send-log <WorkerLogGroup> i-0123 us-east-1 tidemill.service cloud-final.service", sender)
        (self.root / "systemctl").unlink()
        self.run_script(WITH_ENGINE, WorkerLogs="off")
        self.assertNotIn("tidemill-log", self.text("systemctl"))

    def test_new_lines_of_the_journal_are_sent_once(self):
        lines = [
            {"MESSAGE": "started", "__REALTIME_TIMESTAMP": "1700000000000500", "__CURSOR": "s=1"},
            {"MESSAGE": [98, 255], "__REALTIME_TIMESTAMP": "1700000001000500", "__CURSOR": "s=2"},
        ]
        printed = "\n".join(map(json.dumps, lines))
        commands = {
            "journalctl": f"case $* in *--after-cursor=s=2*) exit ;; esac\ncat <<'END'\n{printed}\nEND",
            "aws": """echo "$*" >>"$ROOT/calls"
case $* in *put-log-events*) cat "$ROOT/run/tidemill-log.json" >>"$ROOT/sent" ;; esac""",
        }
        self.run_script({**WITH_ENGINE, **commands})
        sender = self.root / "usr/local/lib/tidemill/send-log"
        arguments = ["group", "i-0123", "us-east-1", "tidemill.service", "cloud-final.service"]
        environment = {"PATH": str(self.root / "bin"), "ROOT": str(self.root)}
        process = subprocess.Popen([sys.executable, sender, *arguments], env=environment)
        try:
            cursor = self.root / "var/lib/tidemill/log-cursor"
            until = time.monotonic() + 10
            while not cursor.exists() and time.monotonic() < until:
                time.sleep(0.05)
        finally:
            process.kill()
            process.wait()
        self.assertEqual(cursor.read_text(), "s=2")
        sent = [{"timestamp": 1700000000000, "message": "started"}, {"timestamp": 1700000001000, "message": "b\ufffd"}]
        self.assertEqual(json.loads(self.text("sent")), sent)
        first, second = self.text("calls").splitlines()
        self.assertIn("create-log-stream --log-group-name group --log-stream-name i-0123", first)
        self.assertIn("put-log-events --log-group-name group --log-stream-name i-0123", second)

    def test_worker_starts_neither_in_a_warm_pool_nor_while_it_leaves(self):
        self.run_script(WITH_ENGINE, lifecycle="Warmed:Stopped")
        self.assertEqual(self.call("state").stdout, b"warm\n")
        with self.assertRaises(subprocess.TimeoutExpired):
            self.call("stays")
        self.call("turn-off-when-drained")
        self.assertNotIn("poweroff", self.text("systemctl"))
        (self.root / "lifecycle").write_text("InService")
        self.assertEqual(self.call("stays").returncode, 0)
        (self.root / "lifecycle").write_text("Terminated")
        self.assertEqual(self.call("stays").returncode, 1)
        self.call("turn-off-when-drained")
        self.assertIn("poweroff", self.text("systemctl"))


if __name__ == "__main__":
    unittest.main()
