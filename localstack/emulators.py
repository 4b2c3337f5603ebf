"""The emulators for local deployments. All listen on this machine only."""

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from processes import Background, Failure, tail, wait_until

REGION = "us-east-1"
CHECKOUT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    """A free port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(url: str) -> bool:
    """Whether a GET of the address succeeds."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False


class Process:
    """An emulator that is a process of this machine. Subclasses define its command and environment."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.process = Background(directory, "emulator")

    def start(self, port: int) -> int:
        """Starts the emulator unless it is running, and returns its port; 0: a free one."""
        if (notes := self.process.notes()) is not None:
            return notes["port"]
        requested = port
        for _ in range(5):
            port = requested or free_port()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    raise Failure(
                        f"port {port} is taken, so the emulator cannot listen there.\n"
                        "Stop what listens, or choose another: TIDEMILL_EMULATOR_PORT=4567 make cloud-up"
                    )
            self._launch(port)
            health = f"http://127.0.0.1:{port}/_localstack/health"
            wait_until(lambda: answers(health) or not self.process.is_running(), 60)
            if answers(health) and self.process.is_running():
                return port
            self.process.stop(5)
            if requested:
                break
        raise Failure(f"the emulator did not start. The end of {self.process.log}:\n{tail(self.process.log)}")

    def _launch(self, port: int) -> None:
        temporary = self.directory / "tmp"
        temporary.mkdir(exist_ok=True)
        # Functions inherit this environment, so it holds no more than it must.
        environment = {"PATH": os.environ["PATH"], "HOME": str(temporary), **self.settings(port, temporary)}
        self.process.start(self.command(), environment, {"port": port})

    def stop(self) -> None:
        self.process.stop(10)

    def command(self) -> list:
        raise NotImplementedError

    def settings(self, port: int, temporary: Path) -> dict:
        raise NotImplementedError


class MiniStack(Process):
    """MiniStack from PyPI. The functions are processes of this machine, too."""

    api_kind = "http"

    def command(self) -> list:
        return [sys.executable, str(CHECKOUT / "localstack" / "start_ministack.py")]

    def settings(self, port: int, temporary: Path) -> dict:
        return {
            "TMPDIR": str(temporary),
            "BIND_HOST": "127.0.0.1",  # else it would listen to the world
            "MINISTACK_HOST": "127.0.0.1",  # in the addresses that it gives out
            "GATEWAY_PORT": str(port),
            # Else functions would look for the real AWS. Tests may have something of theirs in between.
            "AWS_ENDPOINT_URL": os.environ.get("TIDEMILL_EMULATOR_FRONT", f"http://127.0.0.1:{port}"),
            "AWS_DEFAULT_REGION": REGION,
            "AUTH": "true",  # roles may do what their policies say, and no more
            "DOCKER_HOST": "unix:///nonexistent/docker.sock",  # else it would look for containers to remove
        }


class LocalStackProcess(Process):
    """LocalStack from PyPI, as scripts/localstack-suite installs it: S3 and SQS only, without deployments."""

    api_kind = "rest"

    def command(self) -> list:
        return [str(CHECKOUT / "target" / "tools" / "localstack" / "start")]

    def settings(self, port: int, temporary: Path) -> dict:
        return {
            "GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "SERVICES": "s3,sqs",
            "EAGER_SERVICE_LOADING": "1",
            "FILESYSTEM_ROOT": str(temporary),
            "OVERRIDE_IN_DOCKER": "0",
            "DISABLE_EVENTS": "1",
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "DNS_ADDRESS": "0",
        }


class LocalStack:
    """The LocalStack image, through docker compose: needs the image, or access to its registry."""

    api_kind = "rest"  # its community edition has no HTTP APIs

    def __init__(self, directory: Path):
        self.directory = directory
        self.port_file = directory / "emulator.port"

    def start(self, port: int) -> int:
        """Starts the emulator unless it is running, and returns its port; 0: a free one."""
        if self.port_file.exists():
            port = int(self.port_file.read_text())
        port = port or free_port()
        self.port_file.write_text(str(port))
        self._compose(port, "up", "--detach")
        health = f"http://127.0.0.1:{port}/_localstack/health"
        if not wait_until(lambda: answers(health), 120):
            raise Failure(f"no reply from LocalStack at {health}. See: docker compose -p {self._project()} logs")
        return port

    def stop(self) -> None:
        if self.port_file.exists():
            self._compose(int(self.port_file.read_text()), "down", "--volumes")
            self.port_file.unlink()

    def _project(self) -> str:
        return "tidemill-cloud-" + "".join(c if c.isalnum() else "-" for c in str(self.directory)).strip("-").lower()

    def _compose(self, port: int, *command: str) -> None:
        if not shutil.which("docker"):
            raise Failure(
                "TIDEMILL_EMULATOR=localstack needs docker with its compose plugin, but docker is not installed."
            )
        done = subprocess.run(
            ["docker", "compose", "-p", self._project(), "-f", CHECKOUT / "localstack" / "compose.yml", *command],
            env={**os.environ, "TIDEMILL_EMULATOR_PORT": str(port)},
        )
        if done.returncode:
            raise Failure(f"docker compose {command[0]} failed; see its output above.")


KINDS = {"ministack": MiniStack, "localstack": LocalStack, "localstack-process": LocalStackProcess}
