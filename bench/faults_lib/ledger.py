"""Notes of what was done and what was acknowledged, as lines of JSON that outlive whoever wrote them."""

import json
import pathlib
import threading
import time


class Ledger:
    """A file of notes. Each has `what` it says, and `at`, the seconds since the epoch."""

    def __init__(self, path: pathlib.Path):
        self.path, self.lock = path, threading.Lock()
        self.file = open(path, "a", encoding="utf-8")

    def note(self, what: str, **fields) -> None:
        """Writes a note."""
        line = json.dumps({"what": what, "at": fields.pop("at", None) or time.time(), **fields})
        with self.lock:
            if not self.file.closed:
                self.file.write(line + "\n")
                self.file.flush()

    def close(self) -> None:
        """Writes no more."""
        with self.lock:
            self.file.close()


def read(path: pathlib.Path) -> list:
    """The notes in a file; none if it is not there."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
