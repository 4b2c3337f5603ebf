"""Lambda's runtime API for one process of a function: it gets invocations by GET and posts replies.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html"""

import json
import queue
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PREFIX = "/2018-06-01/runtime/"
# Lambda's limit of a reply.
MAX_REPLY = (6 << 20) + 100


class Stopped(Exception):
    """The process has ended, or could not start."""


class TimedOut(Exception):
    """The process did not reply in time."""


@dataclass(frozen=True)
class Invocation:
    """What the process gets."""

    id: str
    function_arn: str
    payload: bytes
    seconds: float
    trace: str = ""


@dataclass(frozen=True)
class Reply:
    """What the process returned: a result, or an error as JSON."""

    payload: bytes
    is_error: bool


def error(kind: str, message: str) -> bytes:
    """An error as Lambda writes it."""
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()


class RuntimeApi:
    """Listens on a free port of this machine until it is closed. Invocations are made one after another."""

    def __init__(self):
        self._invocations = queue.Queue()
        self._replies = queue.Queue()
        self._is_ready = threading.Event()
        self._failure: bytes | None = None
        self._current: str | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="runtime-api", daemon=True).start()

    @property
    def address(self) -> str:
        """The value of AWS_LAMBDA_RUNTIME_API."""
        return f"127.0.0.1:{self._server.server_port}"

    def wait_until_ready(self, seconds: float) -> None:
        """Waits for the first request for an invocation."""
        if not self._is_ready.wait(seconds):
            raise TimedOut(f"the function did not ask for an invocation within {seconds:g} s of its start")
        if self._failure is not None:
            raise Stopped(self._failure.decode(errors="replace"))

    def invoke(self, invocation: Invocation) -> Reply:
        """Passes an invocation to the process, and returns its reply."""
        self._current = invocation.id
        self._invocations.put(invocation)
        try:
            reply = self._replies.get(timeout=invocation.seconds)
        except queue.Empty:
            raise TimedOut(f"Task timed out after {invocation.seconds:.2f} seconds") from None
        finally:
            self._current = None
        if reply is None:
            raise Stopped("the process ended before it replied")
        return reply

    def process_ended(self) -> None:
        """Fails the current invocation, or the start."""
        self._fail(error("Runtime.ExitError", "the process ended"))

    def close(self) -> None:
        """Stops listening."""
        self._invocations.put(None)
        self._server.shutdown()
        self._server.server_close()

    def _fail(self, failure: bytes) -> None:
        self._failure = self._failure or failure
        self._is_ready.set()
        self._replies.put(None)

    def _next(self) -> Invocation | None:
        self._is_ready.set()
        return self._invocations.get()

    def _accept(self, path: str, body: bytes | None) -> int:
        """Takes what the process posted, None if it was too large, and returns the HTTP status."""
        if path == "init/error":
            self._fail(body or b"")
            return 202
        match path.split("/"):
            case ["invocation", request, "response" | "error" as what] if request == self._current:
                self._current = None
                if body is None:
                    message = f"the reply is larger than {MAX_REPLY} bytes"
                    self._replies.put(Reply(error("Function.ResponseSizeTooLarge", message), True))
                    return 413
                self._replies.put(Reply(body, what == "error"))
                return 202
        return 404


class _Handler(BaseHTTPRequestHandler):
    """One connection of the process."""

    api: RuntimeApi
    protocol_version = "HTTP/1.1"
    # Headers and body leave in one packet, at once: else each call would wait for the acknowledgement of the first.
    wbufsize = 64 << 10
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path != f"{PREFIX}invocation/next":
            return self._reply(404)
        invocation = self.api._next()
        if invocation is None:  # it is to end
            self.close_connection = True
            return None
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + invocation.seconds) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
            "Content-Type": "application/json",
        }
        if invocation.trace:
            headers["Lambda-Runtime-Trace-Id"] = invocation.trace
        return self._reply(200, invocation.payload, headers)

    def do_POST(self):
        self._reply(self.api._accept(self.path.removeprefix(PREFIX), self._body()))

    def _body(self) -> bytes | None:
        """The body; None if it is too large. It is read to its end all the same, so that the process gets the reply."""
        body, is_too_large = bytearray(), False
        for part in self._parts():
            is_too_large = is_too_large or len(body) + len(part) > MAX_REPLY
            if not is_too_large:
                body += part
        return None if is_too_large else bytes(body)

    def _parts(self):
        """The parts of the body, each of which fits into memory."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            yield from self._read(int(self.headers.get("Content-Length", "0")))
            return
        while length := int(self.rfile.readline(100).split(b";")[0], 16):
            yield from self._read(length)
            self.rfile.readline(100)
        while self.rfile.readline(1000).strip():  # trailers
            pass

    def _read(self, length: int):
        while length > 0 and (part := self.rfile.read(min(length, 1 << 20))):
            length -= len(part)
            yield part

    def _reply(self, status: int, body: bytes = b"", headers: dict | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Writes no access log."""
