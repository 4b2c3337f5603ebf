"""A journal of actions and acknowledgements, as JSON lines that survive their writer."""

import json
import pathlib
import threading
import time


class Journal:
    """A file of entries with `what` happened and `at`, seconds since the epoch."""

    def __init__(self, path: pathlib.Path):
        self.path, self.lock = path, threading.Lock()
        self.file = path.open("a", encoding="utf-8")

    def note(self, what: str, **fields) -> None:
        """Writes an entry."""
        line = json.dumps({"what": what, "at": fields.pop("at", None) or time.time(), **fields})
        with self.lock:
            if not self.file.closed:
                self.file.write(line + "\n")
                self.file.flush()

    def close(self) -> None:
        """Closes the file."""
        with self.lock:
            self.file.close()


def read(path: pathlib.Path) -> list:
    """The entries of a file; none if it does not exist."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
