"""Finds what remains after servers and workers were stopped."""

import pathlib

from .audit import Finding
from .event_recorder import Engine
from .fleet import processes_of, wait_until

# All that a server's data directory may hold.
OWN = {
    ".gitignore",
    "address",
    "tidemill.db",
    "tidemill.db-wal",
    "tidemill.db-shm",
    "tidemill.lock",
    "tidemill.acknowledged",
    "token",
    "secret.key",
    "reserve",
    "logs",
    "artifacts",
    "worker",
}
# An engine removes what ended by itself a moment later.
PATIENCE = 15


def leftovers(
    case: pathlib.Path,
    binary: pathlib.Path,
    engine: Engine,
    data_dirs: list[pathlib.Path],
    mounts: set[str],
    patience: float = PATIENCE,
) -> list[Finding]:
    """Containers, volumes, networks, processes, mounts and directories that a case left behind. `data_dirs` are the
    data directories of its processes, and `mounts` its own."""
    found = []

    def find(kind: str, things) -> None:
        things = sorted(things)
        if things:
            found.append(Finding("nothing is left", kind, f"{len(things)} left: {', '.join(things[:5])}"))

    def is_empty() -> bool:
        return not (engine.containers(case) or engine.volumes(case) or engine.networks(case))

    wait_until(is_empty, patience, 0.2)
    find("containers", engine.containers(case))
    find("volumes", engine.volumes(case))
    find("networks", engine.networks(case))
    wait_until(lambda: not processes_of(case, binary), patience, 0.2)
    find("processes", processes_of(case, binary))
    lines = pathlib.Path("/proc/self/mounts").read_text().splitlines()
    find("mounts", {place for place in (line.split()[1] for line in lines) if str(case) in place} - mounts)
    find("temporary files", (str(path) for path in (case / "tmp").iterdir()))
    for data in data_dirs:
        work = data / "worker" / "work"
        find("working directories", (str(path) for path in work.iterdir()) if work.exists() else ())
        if (data / "tidemill.db").exists():
            find("files in the data directory", {path.name for path in data.iterdir()} - OWN)
    return found
