"""Records the engine's events, independently of server and workers."""

import http.client
import json
import pathlib
import socket
import threading
import time
import urllib.parse

from engine import UnixConnection

from .journal import Journal

LABEL = "tidemill.data"
# Where the kernel lists a container's processes: control groups of version 1, of version 2, and under systemd.
GROUPS = (
    "cpu,cpuacct/docker/{}",
    "cpu/docker/{}",
    "pids/docker/{}",
    "memory/docker/{}",
    "docker/{}",
    "system.slice/docker-{}.scope",
)
# How often the processes are counted, in seconds.
SAMPLE = 0.1
# A standby or idle container has its first process, and at most one that watches its input; a script is more.
IDLE_PROCESSES = 2


class Engine:
    """A client of the container engine."""

    def __init__(self, address: str):
        self.address = address

    def connection(self, timeout: float | None = 30) -> http.client.HTTPConnection:
        """A new connection."""
        kind, _, rest = self.address.partition("://")
        if kind == "unix":
            return UnixConnection(rest, timeout)
        host, _, port = rest.partition(":")
        return http.client.HTTPConnection(host, int(port or 2375), timeout=timeout)

    def json(self, path: str, **query):
        """The reply of a GET. `None`: not found. Raises `OSError` if the engine is unreachable."""
        words = urllib.parse.urlencode(
            {key: json.dumps(value) if isinstance(value, dict) else value for key, value in query.items()}
        )
        return self._call("GET", f"{path}?{words}")

    def post(self, path: str, body: dict) -> dict:
        """The reply of a POST."""
        return self._call("POST", path, body)

    def delete(self, path: str) -> None:
        """Deletes an object if it exists."""
        self._call("DELETE", path)

    def _call(self, method: str, path: str, body: dict | None = None):
        connection = self.connection()
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {"content-type": "application/json"})
            reply = connection.getresponse()
            content = reply.read()
            return json.loads(content) if reply.status in (200, 201) else None
        finally:
            connection.close()

    def answers(self) -> bool:
        """Whether it is running."""
        try:
            return self.json("/version") is not None
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def containers(self, data: pathlib.Path) -> list[str]:
        """Ids of containers, running or not, of workers whose data directory is `data` or below it."""
        listed = self.json("/containers/json", all="1", filters={"label": [LABEL]}) or []
        return [one["Id"] for one in listed if _is_below(one["Labels"][LABEL], data)]

    def volumes(self, data: pathlib.Path) -> list[str]:
        """Names of volumes of those workers."""
        listed = (self.json("/volumes", filters={"label": [LABEL]}) or {}).get("Volumes") or []
        return [one["Name"] for one in listed if _is_below((one["Labels"] or {}).get(LABEL, ""), data)]

    def networks(self, data: pathlib.Path) -> list[str]:
        """Names of networks of those workers, and of networks named like theirs that say of no worker."""
        listed = self.json("/networks") or []
        labelled = [(one["Name"], (one["Labels"] or {}).get(LABEL)) for one in listed]
        return [
            name
            for name, label in labelled
            if (name.startswith("tidemill-") if label is None else _is_below(label, data))
        ]


def _is_below(path: str, directory: pathlib.Path) -> bool:
    return pathlib.PurePath(path).is_relative_to(directory)


class EventRecorder:
    """Records events of containers and volumes until it is closed, across restarts of the engine."""

    def __init__(self, engine: Engine, path: pathlib.Path):
        self.engine, self.journal = engine, Journal(path)
        self.closed = threading.Event()
        # Job scripts print the time since the machine's start, as a shell knows no finer clock.
        booted = time.time() - float(pathlib.Path("/proc/uptime").read_text().split()[0])
        self.journal.note("recorder", booted=booted)
        self.since = time.time()
        self.link: socket.socket | None = None
        self.alive: dict[str, pathlib.Path | None] = {}
        self.running: dict[str, tuple[float, float]] = {}
        self.threads = [threading.Thread(target=task, daemon=True) for task in (self._watch, self._sample)]
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        """Waits until all events are recorded, then stops."""
        time.sleep(0.5)
        self.closed.set()
        if self.link is not None:
            try:
                self.link.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join(5)
        self.journal.close()

    def _watch(self) -> None:
        while not self.closed.is_set():
            try:
                self._read()
            except (OSError, http.client.HTTPException, ValueError):
                pass
            if not self.closed.is_set():
                self.journal.note("gap", since=self.since)
                self.closed.wait(0.2)

    def _read(self) -> None:
        filters = {"type": ["container", "volume"]}
        query = urllib.parse.urlencode({"since": f"{self.since:.6f}", "filters": json.dumps(filters)})
        connection = self.engine.connection(timeout=None)
        try:
            connection.request("GET", f"/events?{query}")
            self.link = connection.sock
            reply = connection.getresponse()
            while not self.closed.is_set() and (line := reply.readline()):
                self._note(json.loads(line))
        finally:
            self.link = None
            connection.close()

    def _note(self, event: dict) -> None:
        what, action, actor = event["Type"], event["Action"], event["Actor"]
        at = event["timeNano"] / 1e9
        self.since = at
        if what == "volume" and action in ("create", "mount"):
            upper = None
            if action == "create":
                seen = self.engine.json(f"/volumes/{actor['ID']}")
                options = ((seen or {}).get("Options") or {}).get("o", "")
                upper = next(
                    (o.removeprefix("upperdir=") for o in options.split(",") if o.startswith("upperdir=")), None
                )
            self.journal.note(
                "volume",
                at=at,
                action=action,
                name=actor["ID"],
                upper=upper,
                container=actor["Attributes"].get("container"),
            )
        elif what == "container" and action in ("create", "start", "die", "destroy"):
            data = actor["Attributes"].get(LABEL)
            if data is not None:
                self.journal.note("container", at=at, action=action, id=actor["ID"], data=data)
                if action == "start":
                    self.alive[actor["ID"]] = None
                elif action != "create":
                    self.alive.pop(actor["ID"], None)

    def _sample(self) -> None:
        """Records when scripts ran: a container may outlive its script."""
        while not self.closed.wait(SAMPLE):
            for container, group in list(self.alive.items()):
                if group is None:
                    group = next((path for path in map(self._group(container), GROUPS) if path.exists()), None)
                    if container in self.alive:
                        self.alive[container] = group
                if self._runs(group):
                    since, _ = self.running.get(container, (time.time(), 0))
                    self.running[container] = (since, time.time())
                elif container in self.running:
                    self._ran(container)
            for container in set(self.running) - set(self.alive):
                self._ran(container)
        for container in list(self.running):
            self._ran(container)

    @staticmethod
    def _group(container: str):
        return lambda form: pathlib.Path("/sys/fs/cgroup") / form.format(container) / "cgroup.procs"

    @staticmethod
    def _runs(group: pathlib.Path | None) -> bool:
        try:
            return group is not None and len(group.read_text().split()) > IDLE_PROCESSES
        except OSError:
            return False

    def _ran(self, container: str) -> None:
        since, until = self.running.pop(container)
        self.journal.note("ran", at=since, until=until, container=container)
