"""A proxy between Tidemill and an AWS emulator that injects faults: throttling, errors, delays, and lost replies of completed requests."""

import http.client
import http.server
import json
import random
import select
import socket
import socketserver
import threading
import time

# How often each service's requests go wrong in quiet times, and in a storm.
QUIET, STORM = 0.08, 0.6
# Of those that go wrong: refused as throttled, refused as broken, carried out and not answered; the rest are slow.
THROTTLED, BROKEN, UNANSWERED = 0.45, 0.25, 0.15

_DYNAMODB, _SQS = "com.amazonaws.dynamodb.v20120810", "com.amazonaws.sqs"


def _error(kind: str, words: str) -> bytes:
    return json.dumps({"__type": kind, "message": words}).encode()


def _xml(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>a bad day</Message></Error>".encode()


def service(path: str, headers) -> str:
    """The service of a request."""
    target = headers.get("x-amz-target", "")
    if target.startswith("DynamoDB"):
        return "dynamodb"
    if target.startswith("AmazonSQS"):
        return "sqs"
    if path.startswith("/_aws/execute-api/"):
        return "api"
    return "s3"


def refusal(of: str, throttled: bool) -> tuple[int, str, bytes]:
    """Status, media type and body of an error reply of the service."""
    json_1_0 = "application/x-amz-json-1.0"
    if of == "dynamodb" and throttled:
        return 400, json_1_0, _error(f"{_DYNAMODB}#ProvisionedThroughputExceededException", "too fast")
    if of == "dynamodb":
        return 500, json_1_0, _error(f"{_DYNAMODB}#InternalServerError", "a bad day")
    if of == "sqs":
        return 503, json_1_0, _error(f"{_SQS}#ServiceUnavailable", "a bad day")
    if of == "s3":
        return (
            (503, "application/xml", _xml("SlowDown")) if throttled else (500, "application/xml", _xml("InternalError"))
        )
    return (429 if throttled else 502), "application/json", b'{"message": "a bad day"}'


class AwsProxy:
    """Forwards 127.0.0.1:`port` to the emulator at 127.0.0.1:`target`."""

    def __init__(self, target: int, seed: int):
        self.target, self.random, self.lock = target, random.Random(seed), threading.Lock()
        self.share, self.counted = 0.0, {}
        proxy = self

        class Handler(_Handler):
            of = proxy

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads, request_queue_size = True, 128

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def trouble(self, share: float) -> None:
        """Sets the share of requests with faults."""
        self.share = share

    def close(self) -> None:
        """Stops listening."""
        self.server.shutdown()
        self.server.server_close()

    def fate(self, of: str) -> tuple[str, float]:
        """The fault of a request, and its delay in seconds."""
        with self.lock:
            if self.random.random() >= self.share:
                return "pass", 0.0
            chance = self.random.random()
            if chance < THROTTLED:
                what = "throttled"
            elif chance < THROTTLED + BROKEN:
                what = "broken"
            elif chance < THROTTLED + BROKEN + UNANSWERED:
                what = "unanswered"
            else:
                what = "slow"
            key = f"{of}: {what}"
            self.counted[key] = self.counted.get(key, 0) + 1
            return what, self.random.uniform(0.2, 2) if what == "slow" else 0.0


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    of: AwsProxy

    def handle_any(self) -> None:
        body = self._body()
        service_name = service(self.path, self.headers)
        what, seconds = self.of.fate(service_name)
        if what in ("throttled", "broken"):
            self._answer(*refusal(service_name, what == "throttled"))
            return
        time.sleep(seconds)
        self._forward(body, answered=what != "unanswered")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = handle_any

    def log_message(self, *_) -> None:
        """Discards the message."""

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _forward(self, body: bytes, answered: bool) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self.of.target, timeout=120)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("transfer-encoding", "connection", "content-length", "expect"):
                    upstream.putheader(name, value)
            if body or self.command in ("POST", "PUT"):
                upstream.putheader("content-length", str(len(body)))
            upstream.endheaders(body or None)
            if not self._is_still_asked(upstream.sock):
                return
            reply = upstream.getresponse()
            content = reply.read()
        except (OSError, http.client.HTTPException):
            self.close_connection = True
            return
        finally:
            upstream.close()
        if not answered:
            self.close_connection = True
            return
        try:
            self.send_response_only(reply.status)
            for name, value in reply.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            length = reply.getheader("content-length") if self.command == "HEAD" else str(len(content))
            if reply.status not in (204, 304) and length is not None:
                self.send_header("content-length", length)
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            self.close_connection = True

    def _is_still_asked(self, upstream: socket.socket) -> bool:
        """Waits for the reply; false if the client closes its connection first."""
        while True:
            ready, _, _ = select.select([self.connection, upstream], [], [])
            if upstream in ready:
                return True
            if not self.connection.recv(1, socket.MSG_PEEK):
                self.close_connection = True
                return False
            # Another request already, on the same connection: it waits.
            select.select([upstream], [], [])
            return True
