"""Removes what a killed worker left in the container engine. Calls the engine's API directly, so that no client is needed."""

import http.client
import json
import socket
from urllib.parse import quote, urlsplit

DEFAULT_HOST = "unix:///var/run/docker.sock"


class _Engine(http.client.HTTPConnection):
    def __init__(self, host: str):
        at = urlsplit(host)
        super().__init__(at.hostname or "engine", at.port or 80, timeout=60)
        self.socket_path = at.path if at.scheme == "unix" else None

    def connect(self):
        if self.socket_path is None:
            return super().connect()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.socket_path)

    def ask(self, method: str, path: str):
        self.request(method, path)
        body = self.getresponse().read()
        return json.loads(body) if body else None


def remove_labelled(host: str, label: str) -> None:
    """Removes all containers, networks and volumes with a label. Ignores an engine that is not running."""
    engine = _Engine(host)
    chosen = "filters=" + quote(json.dumps({"label": [label]}))
    try:
        for container in engine.ask("GET", f"/containers/json?all=1&{chosen}"):
            engine.ask("DELETE", f"/containers/{container['Id']}?force=1&v=1")
        for network in engine.ask("GET", f"/networks?{chosen}"):
            engine.ask("DELETE", f"/networks/{network['Id']}")
        for volume in engine.ask("GET", f"/volumes?{chosen}")["Volumes"] or []:
            engine.ask("DELETE", f"/volumes/{quote(volume['Name'])}?force=1")
    except OSError as error:
        print(f"no reply from the container engine, so that nothing was removed there: {error}")
    finally:
        engine.close()
