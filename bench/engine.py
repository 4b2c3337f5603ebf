"""The baseline: containers created through the engine's API, without Tidemill."""

import concurrent.futures
import http.client
import json
import os
import socket
import threading
import time
import urllib.parse

IMAGE = "tidemill-demo:1"
LABEL = "io.tidemill.bench"
PARALLEL = 4


class EngineError(Exception):
    """The engine rejected a request, with its message."""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=600):
        super().__init__("engine", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Engine:
    """A client of the engine with one persistent connection per thread. Leaving it removes its containers."""

    def __init__(self, address):
        self.address = address
        self.local = threading.local()
        self.pool = concurrent.futures.ThreadPoolExecutor(PARALLEL)

    @classmethod
    def from_environment(cls):
        return cls(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))

    def __enter__(self):
        self.call("GET", f"/images/{IMAGE}/json")
        return self

    def __exit__(self, *_):
        self.pool.shutdown()
        for container in self.labelled(LABEL):
            self.remove(container["Id"])

    def connection(self):
        if not hasattr(self.local, "connection"):
            kind, _, rest = self.address.partition("://")
            self.local.connection = (
                UnixConnection(rest) if kind == "unix" else http.client.HTTPConnection(rest, timeout=600)
            )
        return self.local.connection

    def call(self, method, path, body=None):
        """The decoded reply, or None for an empty one."""
        connection = self.connection()
        connection.request(
            method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"}
        )
        reply = connection.getresponse()
        data = reply.read()
        if reply.status >= 400:
            raise EngineError(f"{method} {path}: {reply.status} {data.decode(errors='replace').strip()}")
        return json.loads(data) if data else None

    def labelled(self, label):
        """Containers, running or not, with this label."""
        filters = urllib.parse.quote(json.dumps({"label": [label]}))
        return self.call("GET", f"/containers/json?all=1&filters={filters}")

    def create(self, command, network="default"):
        body = {"Image": IMAGE, "Cmd": command, "Labels": {LABEL: "1"}, "HostConfig": {"NetworkMode": network}}
        return self.call("POST", "/containers/create", body)["Id"]

    def start(self, container):
        self.call("POST", f"/containers/{container}/start")

    def remove(self, container):
        self.call("DELETE", f"/containers/{container}?force=1")

    def run(self, command, network="default"):
        """Creates, starts, awaits and removes one container."""
        container = self.create(command, network)
        self.start(container)
        code = self.call("POST", f"/containers/{container}/wait")["StatusCode"]
        self.remove(container)
        if code != 0:
            raise EngineError(f"{command} ended with {code}")

    def run_stages(self, stages, network="default"):
        """Seconds for `stages` (a list of lists of commands), PARALLEL at a time, one stage after the other."""
        begin = time.perf_counter()
        for commands in stages:
            list(self.pool.map(lambda command: self.run(command, network), commands))
        return time.perf_counter() - begin

    def bare_start(self, count=1):
        """Seconds to create and start `count` containers concurrently."""

        def start(_):
            container = self.create(["true"])
            self.start(container)
            return container

        begin = time.perf_counter()
        containers = list(self.pool.map(start, range(count)))
        spent = time.perf_counter() - begin
        for container in containers:
            self.call("POST", f"/containers/{container}/wait")
            self.remove(container)
        return spent

    def holder(self):
        """A container whose network others can join; removed when the client is left."""
        container = self.create(["tail", "-f", "/dev/null"])
        self.start(container)
        return container
