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
# Else an emulator would look for containers to start, or to remove.
NO_ENGINE = "unix:///nonexistent/docker.sock"


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


def ministack_command() -> list:
    """The command that starts MiniStack, in whose virtual environment this runs."""
    return [sys.executable, str(CHECKOUT / "localstack" / "start_ministack.py")]


def functions_endpoint(port: int) -> str:
    """The address at which functions reach the emulator. Tests may have something of theirs in between."""
    return os.environ.get("TIDEMILL_EMULATOR_FRONT", f"http://127.0.0.1:{port}")


class Process:
    """An emulator that is a process of this machine. Subclasses define its command and environment."""

    # How long its start may take.
    start_seconds = 60
    # The C library of the functions: this machine's.
    max_glibc = None

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
            wait_until(lambda: answers(health) or not self.process.is_running(), self.start_seconds)
            if answers(health) and self.process.is_running():
                return port
            self.process.stop(5)
            if requested:
                break
        raise Failure(f"the emulator did not start. The end of {self.process.log}:\n{tail(self.process.log)}")

    def _launch(self, port: int) -> None:
        temporary = self._temporary()
        # Functions inherit this environment, so it holds no more than it must.
        environment = {"PATH": os.environ["PATH"], "HOME": str(temporary), **self.settings(port, temporary)}
        self.process.start(self.command(), environment, {"port": port})

    def _temporary(self) -> Path:
        temporary = self.directory / "tmp"
        temporary.mkdir(exist_ok=True)
        return temporary

    def stop(self) -> None:
        self.process.stop(10)

    def command(self) -> list:
        raise NotImplementedError

    def settings(self, port: int, temporary: Path) -> dict:
        raise NotImplementedError


class MiniStack(Process):
    """MiniStack from PyPI. The functions are processes of this machine, too."""

    api_kind = "http"
    has_authorizers = True

    def command(self) -> list:
        return ministack_command()

    def settings(self, port: int, temporary: Path) -> dict:
        return {
            "TMPDIR": str(temporary),
            "BIND_HOST": "127.0.0.1",  # else it would listen to the world
            "MINISTACK_HOST": "127.0.0.1",  # in the addresses that it gives out
            "GATEWAY_PORT": str(port),
            # Else functions would look for the real AWS.
            "AWS_ENDPOINT_URL": functions_endpoint(port),
            "AWS_DEFAULT_REGION": REGION,
            "AUTH": "true",  # roles may do what their policies say, and no more
            "DOCKER_HOST": NO_ENGINE,
        }


class LocalStack(Process):
    """LocalStack from PyPI, with the plug-in in localstack/plugin: functions are processes of this machine, and a second process,
    a MiniStack, holds the records behind LocalStack's own DynamoDB."""

    api_kind = "rest"  # its community edition has no HTTP APIs
    has_authorizers = False  # nor authorizers
    start_seconds = 180

    def __init__(self, directory: Path):
        super().__init__(directory)
        self.records = Background(directory, "records")

    def start(self, port: int) -> int:
        if subprocess.run([CHECKOUT / "localstack" / "install"]).returncode:
            raise Failure("LocalStack could not be installed; the reason is above.")
        self._start_records()
        return super().start(port)

    def _start_records(self) -> None:
        if self.records.is_running():
            return
        # If only this one ended, what LocalStack knows of tables and streams is of no use.
        self.process.stop(10)
        port = free_port()
        temporary = self._temporary()
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(temporary),
            "TMPDIR": str(temporary),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "DOCKER_HOST": NO_ENGINE,
        }
        self.records.start(ministack_command(), environment, {"port": port})
        health = f"http://127.0.0.1:{port}/_localstack/health"
        if not wait_until(lambda: answers(health) or not self.records.is_running(), 60) or not answers(health):
            raise Failure(f"MiniStack did not start. The end of {self.records.log}:\n{tail(self.records.log)}")

    def stop(self) -> None:
        self.process.stop(1)  # it takes long to end by itself, and nothing of it is kept
        self.records.stop(5)

    def command(self) -> list:
        return [str(CHECKOUT / "target" / "tools" / "localstack" / "start")]

    def settings(self, port: int, temporary: Path) -> dict:
        return {
            "TMPDIR": str(temporary),
            "FILESYSTEM_ROOT": str(temporary / "localstack"),
            "OVERRIDE_IN_DOCKER": "0",
            "GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "LOCALSTACK_HOST": f"127.0.0.1:{port}",  # in the addresses that it gives out
            "SQS_ENDPOINT_STRATEGY": "path",  # needs no DNS
            "DNS_ADDRESS": "0",
            "DISABLE_EVENTS": "1",
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "DOCKER_HOST": NO_ENGINE,
            "PROVIDER_OVERRIDE_DYNAMODB": "v2",
            "PROVIDER_OVERRIDE_DYNAMODBSTREAMS": "v2",
            "DYNAMODB_LOCAL_PORT": str(self.records.notes()["port"]),
            "TIDEMILL_FUNCTIONS_ENDPOINT": functions_endpoint(port),
        }


class LocalStackImage:
    """The LocalStack image, through docker compose: needs the image, or access to its registry."""

    api_kind = "rest"  # its community edition has no HTTP APIs
    has_authorizers = False  # nor authorizers
    max_glibc = (2, 34)  # that of Amazon Linux 2023, in whose containers it runs functions

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
                "TIDEMILL_EMULATOR=localstack-image needs docker with its compose plugin, but docker is not installed."
            )
        done = subprocess.run(
            ["docker", "compose", "-p", self._project(), "-f", CHECKOUT / "localstack" / "compose.yml", *command],
            env={**os.environ, "TIDEMILL_EMULATOR_PORT": str(port)},
        )
        if done.returncode:
            raise Failure(f"docker compose {command[0]} failed; see its output above.")


KINDS = {"ministack": MiniStack, "localstack": LocalStack, "localstack-image": LocalStackImage}
