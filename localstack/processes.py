"""Background processes that outlive the command that started them, each recorded in a file beside its log."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path


class Failure(Exception):
    """A failure: what went wrong and what to do next."""


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


class Background:
    """One background process, by name, in the directory of a local deployment."""

    def __init__(self, directory: Path, name: str):
        self.name = name
        self.record = directory / f"{name}.pid"
        self.log = directory / f"{name}.log"

    def start(self, command: list, environment: dict, notes: dict | None = None) -> None:
        """Starts the command in a session of its own. `notes` can be read later."""
        with open(self.log, "ab") as log:
            child = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        known = {"pid": child.pid, "began": began(child.pid), "notes": notes or {}}
        self.record.write_text(json.dumps(known) + "\n")

    def notes(self) -> dict | None:
        """The notes from the start of the process; None unless it is running."""
        known = self._known()
        return known["notes"] if known else None

    def is_running(self) -> bool:
        return self._known() is not None

    def stop(self, patience: float) -> None:
        """Terminates the process and its session; kills them after `patience` seconds."""
        known = self._known()
        if known:
            pid = known["pid"]
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not self.is_running(), patience)
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            wait_until(lambda: not self.is_running(), 10)
        self.record.unlink(missing_ok=True)

    def _known(self) -> dict | None:
        """The record, if the process is still running: its start must match, since ids are reused."""
        try:
            known = json.loads(self.record.read_text())
        except (FileNotFoundError, ValueError):
            return None
        now = began(known["pid"])
        return known if now is not None and now == known["began"] else None


def began(pid: int) -> str | None:
    """The start of a process, unique among processes with its id; None if it has ended."""
    try:
        os.waitpid(pid, os.WNOHANG)  # if it is a child of ours that ended, it goes
    except ChildProcessError:
        pass
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The command's name is in parentheses and may hold anything. After it: the state first, the start 20th.
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] == "Z" else fields[19]
    shown = subprocess.run(["ps", "-p", str(pid), "-o", "lstart="], capture_output=True, text=True)
    return shown.stdout.strip() or None


def wait_until(condition, patience: float) -> bool:
    """Whether the condition holds within `patience` seconds."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
