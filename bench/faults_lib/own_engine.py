"""A separate Docker engine for one case, which can be killed. Needs root."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import time

from .event_recorder import Engine
from .fleet import wait_until
from .workload import IMAGE

SCRIPT = pathlib.Path(__file__).resolve().parent.parent.parent / "scripts" / "engine"


class OwnEngine:
    """A `dockerd` with all of its state in `root` and its own network namespace, started by `scripts/engine`."""

    def __init__(self, root: pathlib.Path, shared: str):
        self.root, self.shared = root, Engine(shared)
        self.address = f"unix://{root}/docker.sock"
        self.environment = {**os.environ, "TIDEMILL_ENGINE_ROOT": str(root)}

    def start(self) -> None:
        """Starts it and waits until it replies."""
        subprocess.run([SCRIPT], env=self.environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def load_image(self) -> None:
        """Loads the demo image of the shared engine."""
        source, target = self.shared.connection(), Engine(self.address).connection()
        source.request("GET", f"/images/{IMAGE}/get")
        image = source.getresponse().read()
        target.request("POST", "/images/load", image, {"content-type": "application/x-tar"})
        reply = target.getresponse()
        words = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"the engine did not take the image: {words!r}")

    def kill(self) -> None:
        """Kills it with SIGKILL; containers and their shims stay."""
        pid = int((self.root / "docker.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), 10)

    def stop(self) -> None:
        """Stops it and removes its state."""
        subprocess.run(
            [SCRIPT, "stop"], env=self.environment, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for pid in self._helpers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        for line in reversed(pathlib.Path("/proc/self/mounts").read_text().splitlines()):
            if line.split()[1].startswith(f"{self.root}/"):
                subprocess.run(["umount", "-l", line.split()[1]], check=False)
        shutil.rmtree(self.root, ignore_errors=True)

    def _helpers(self) -> list[int]:
        """Its `containerd` and shims, by their command lines, which name the directory."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                is_own = entry.name.isdigit() and f"{self.root}/".encode() in (entry / "cmdline").read_bytes()
                if is_own and (entry / "comm").read_text().startswith(("containerd", "dockerd")):
                    found.append(int(entry.name))
        return found
