"""A client of Tidemill's API. Each call opens a connection, since servers are killed and restarted."""

import http.client
import json
import urllib.parse


class Unreachable(Exception):
    """No reply, or an incomplete one: the result of the request is unknown."""


class Refused(Exception):
    """An error reply, with its status and problem document."""

    def __init__(self, status: int, problem: dict):
        super().__init__(f"{status} {problem.get('type', '')}: {problem.get('detail', problem)}")
        self.status, self.problem = status, problem


class Api:
    """The API at `url`, with a bearer token."""

    def __init__(self, url: str, token: str):
        self.url, self.token = url.rstrip("/"), token

    def call(self, method: str, path: str, body=None, headers: dict | None = None, timeout: float = 10):
        """The reply's bytes and headers. Raises `Refused` or `Unreachable`."""
        address = urllib.parse.urlsplit(self.url + path)
        sent = {**({"authorization": f"Bearer {self.token}"} if self.token else {}), **(headers or {})}
        if body is not None:
            body, sent["content-type"] = json.dumps(body).encode(), "application/json"
        target = address.path + (f"?{address.query}" if address.query else "")
        kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        connection = kind(address.hostname, address.port, timeout=timeout)
        try:
            connection.request(method, target, body, sent)
            reply = connection.getresponse()
            content = reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        if reply.status >= 400:
            try:
                problem = json.loads(content)
            except ValueError:
                problem = {}
            raise Refused(reply.status, problem if isinstance(problem, dict) else {"detail": problem})
        return content, reply.headers

    def json(self, method: str, path: str, body=None, headers: dict | None = None, timeout: float = 10) -> dict:
        """The reply from JSON."""
        content, _ = self.call(method, path, body, headers, timeout)
        try:
            return json.loads(content)
        except ValueError as error:
            raise Unreachable(f"{method} {path}: half a reply ({error})") from error

    def execute(self, request: dict, key: str) -> dict:
        """Starts an execution under an idempotency key."""
        return self.json("POST", "/api/pipeline/execute", request, {"idempotency-key": key})

    def status(self, execution: str) -> dict:
        """The execution with all its jobs."""
        path = f"/api/pipeline/status/{execution}"
        view = page = self.json("GET", path)
        while cursor := page.get("next_cursor"):
            page = self.json("GET", f"{path}?cursor={cursor}")
            view["jobs"] += page["jobs"]
        return view

    def cancel(self, execution: str) -> dict:
        """Cancels the execution."""
        return self.json("POST", f"/api/pipeline/cancel/{execution}")

    def log(self, job: str, attempt: int) -> bytes:
        """The stored log of an attempt."""
        got = b""
        while True:
            path = f"/api/job/logs/{job}?attempt={attempt}&offset={len(got)}"
            content, _ = self.call("GET", path, timeout=20)
            if not content:
                return got
            got += content

    def artifacts(self, execution: str) -> list:
        """The execution's artifacts."""
        return self.json("GET", f"/api/artifact/list/{execution}")["artifacts"]

    def artifact(self, artifact: str) -> bytes:
        """An artifact's stored bytes; a redirect is followed without the token."""
        content, headers = self.call("GET", f"/api/artifact/download/{artifact}", timeout=20)
        if location := headers.get("location"):
            content, _ = Api(location, "").call("GET", "", timeout=20)
        return content

    def executions(self) -> list:
        """All executions, newest first."""
        found, cursor = [], ""
        while True:
            page = self.json("GET", f"/api/pipeline/executions?limit=200{cursor}", timeout=20)
            found += page["executions"]
            if not page.get("next_cursor"):
                return found
            cursor = "&cursor=" + urllib.parse.quote(page["next_cursor"])
