"""A git server on loopback."""

import pathlib
import socket
import subprocess
import time

from .fleet import free_port


class GitServer:
    """git's own server for the repositories below `base`, with further options of `git daemon`."""

    def __init__(self, base: pathlib.Path, *options: str):
        place = subprocess.run(["git", "--exec-path"], check=True, capture_output=True, text=True).stdout.strip()
        command = [f"{place}/git-daemon", "--listen=127.0.0.1", "--export-all", "--reuseaddr", f"--base-path={base}"]
        for _ in range(20):
            # Another process may take the port in between; then another port is tried.
            port = free_port()
            self.process = subprocess.Popen([*command, f"--port={port}", *options], stderr=subprocess.DEVNULL)
            self.url = f"git://127.0.0.1:{port}"
            if self._answers(port):
                return
            self.stop()
        raise RuntimeError("no git server could be started")

    def _answers(self, port: int) -> bool:
        while self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                return True
            except OSError:
                time.sleep(0.02)
        return False

    def stop(self) -> None:
        """Stops the server."""
        self.process.kill()
        self.process.wait()
