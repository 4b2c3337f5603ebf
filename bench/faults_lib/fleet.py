"""Starts, kills, stops and finds Tidemill's processes."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import time

# What would point a process elsewhere than meant.
POINTERS = ("TIDEMILL_SERVER", "TIDEMILL_TOKEN", "TIDEMILL_PROFILE", "TIDEMILL_QUEUE_URL", "TIDEMILL_DATA_DIR")


def free_port() -> int:
    """A free port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(holds, seconds: float, pause: float = 0.05) -> bool:
    """Whether `holds` became true within the time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


class Process:
    """A process of Tidemill that can be restarted with the same data directory."""

    def __init__(self, name: str, command: list, data: pathlib.Path, directory: pathlib.Path, environment: dict):
        self.name, self.command, self.data = name, [str(word) for word in command], data
        self.log = directory / f"{name}.log"
        kept = {key: value for key, value in os.environ.items() if key not in POINTERS}
        self.environment = {
            **kept,
            "TIDEMILL_DATA_DIR": str(data),
            "TIDEMILL_CONFIG": str(directory / "config.toml"),
            "TIDEMILL_LOG": "info",
            # What this machine may have of it is none of our business.
            "TIDEMILL_IMDS": "http://127.0.0.1:1",
            # Temporary files are counted when all is over.
            "TMPDIR": str(directory / "tmp"),
            **environment,
        }
        self.child: subprocess.Popen | None = None
        self.starts = 0

    def start(self) -> None:
        """Starts it."""
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                self.command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.starts += 1

    def is_running(self) -> bool:
        """Whether it is running."""
        return self.child is not None and self.child.poll() is None

    def kill(self) -> None:
        """Kills it with SIGKILL."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()

    def pause(self) -> None:
        """Pauses it, like a suspended machine."""
        os.kill(self.child.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Resumes it."""
        os.kill(self.child.pid, signal.SIGCONT)

    def stop(self, patience: float = 60) -> bool:
        """Stops it with SIGTERM. Returns whether it ended successfully within the time."""
        if not self.is_running():
            return self.child is not None and self.child.returncode == 0
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(patience) == 0
        except subprocess.TimeoutExpired:
            self.kill()
            return False


def server(
    binary, directory: pathlib.Path, data: pathlib.Path, port: int, workers: int, lease_ms: int, docker: str
) -> Process:
    """A server on this data directory, not started."""
    words = [binary, "server", "--listen", f"127.0.0.1:{port}", "--jobs", workers]
    return Process("server", words, data, directory, {"TIDEMILL_LEASE_TTL_MS": str(lease_ms), "DOCKER_HOST": docker})


def worker(
    binary,
    directory: pathlib.Path,
    name: str,
    url: str,
    token: str,
    docker: str,
    more: dict | None = None,
    data: pathlib.Path | None = None,
    slots: int = 2,
) -> Process:
    """A worker for the server at `url`, not started."""
    words = [binary, "worker", "--name", name, "--jobs", slots, "--grace", "0s", "--notices", "off"]
    passed = {"TIDEMILL_SERVER": url, "TIDEMILL_TOKEN": token, "DOCKER_HOST": docker, **(more or {})}
    return Process(name, words, data or directory / name, directory, passed)


def processes_of(directory: pathlib.Path, program: pathlib.Path) -> list[str]:
    """Processes of `program` whose data directory is in `directory`, by their environment or command line."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not re.fullmatch(r"\d+", entry.name):
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        arguments = command.split(b"\0")
        if str(directory).encode() in environment and str(program.name).encode() in arguments[0]:
            found.append(f"{entry.name}: {' '.join(word.decode(errors='replace') for word in arguments).strip()}")
    return found
