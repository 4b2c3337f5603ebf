"""The runtime API, called as a function's process calls it."""

import http.client
import json
import sys
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "plugin"))

from runtime_api import MAX_REPLY, PREFIX, Invocation, Reply, RuntimeApi, Stopped, TimedOut

NEXT = f"{PREFIX}invocation/next"


def invocation(id: str, seconds: float = 20) -> Invocation:
    return Invocation(id, "arn:aws:lambda:us-east-1:000000000000:function:api", b'{"a": 1}', seconds, "Root=1")


class RuntimeApiTest(unittest.TestCase):
    def setUp(self):
        self.api = RuntimeApi()
        self.addCleanup(self.api.close)
        self.process = http.client.HTTPConnection(self.api.address, timeout=20)
        self.addCleanup(self.process.close)

    def ask(self, method: str, path: str, body=None, **options):
        """A request of the process: the status, headers and body of the reply."""
        self.process.request(method, path, body, **options)
        reply = self.process.getresponse()
        return reply.status, reply.headers, reply.read()

    def invoke_while_it_posts(self, id: str, what: str, body, **options):
        """Invokes while the process takes the invocation and posts this; returns both replies: that of the process, and the
        status that it gets."""
        statuses = []

        def serve():
            _, headers, _ = self.ask("GET", NEXT)
            request = headers["Lambda-Runtime-Aws-Request-Id"]
            statuses.append(self.ask("POST", f"{PREFIX}invocation/{request}/{what}", body, **options)[0])

        process = threading.Thread(target=serve)
        process.start()
        reply = self.api.invoke(invocation(id))
        process.join()
        return reply, statuses[0]

    def test_invocation_arrives_with_its_headers_and_its_result_returns(self):
        received = []

        def run():
            received.append(self.ask("GET", NEXT))
            self.ask("POST", f"{PREFIX}invocation/one/response", b"result")

        thread = threading.Thread(target=run)
        thread.start()
        self.api.wait_until_ready(20)
        self.assertEqual(self.api.invoke(invocation("one")), Reply(b"result", is_error=False))
        thread.join()
        status, headers, body = received[0]
        self.assertEqual((status, body), (200, b'{"a": 1}'))
        self.assertEqual(headers["Lambda-Runtime-Trace-Id"], "Root=1")
        self.assertTrue(headers["Lambda-Runtime-Invoked-Function-Arn"].endswith(":function:api"))
        self.assertGreater(int(headers["Lambda-Runtime-Deadline-Ms"]), 0)

    def test_one_connection_serves_many_invocations(self):
        for id in ("one", "two", "three"):
            reply = self.invoke_while_it_posts(id, "response", id.encode())
            self.assertEqual(reply, (Reply(id.encode(), is_error=False), 202))

    def test_body_in_chunks_is_one_body(self):
        reply, _ = self.invoke_while_it_posts("one", "response", iter([b"first ", b"second"]), encode_chunked=True)
        self.assertEqual(reply.payload, b"first second")

    def test_error_of_a_function_is_an_error(self):
        reply, _ = self.invoke_while_it_posts("one", "error", b'{"errorMessage": "no"}')
        self.assertEqual(reply, Reply(b'{"errorMessage": "no"}', is_error=True))

    def test_reply_that_is_too_large_is_an_error_with_413(self):
        largest, status = self.invoke_while_it_posts("one", "response", b"x" * MAX_REPLY)
        self.assertEqual((len(largest.payload), status), (MAX_REPLY, 202))
        reply, status = self.invoke_while_it_posts("two", "response", b"x" * (MAX_REPLY + 1))
        self.assertEqual((reply.is_error, status), (True, 413))
        self.assertEqual(json.loads(reply.payload)["errorType"], "Function.ResponseSizeTooLarge")

    def test_late_reply_is_rejected(self):
        with self.assertRaises(TimedOut):
            self.api.invoke(invocation("one", seconds=0.01))
        status, _, _ = self.ask("POST", f"{PREFIX}invocation/one/response", b"late")
        self.assertEqual(status, 404)

    def test_end_of_the_process_fails_its_invocation(self):
        ended = threading.Timer(0.05, self.api.process_ended)
        ended.start()
        with self.assertRaises(Stopped):
            self.api.invoke(invocation("one"))

    def test_process_that_ends_before_it_asks_did_not_start(self):
        self.api.process_ended()
        with self.assertRaisesRegex(Stopped, "the process ended"):
            self.api.wait_until_ready(20)

    def test_error_of_a_start_is_reported(self):
        self.assertEqual(self.ask("POST", f"{PREFIX}init/error", b'{"errorMessage": "no settings"}')[0], 202)
        with self.assertRaisesRegex(Stopped, "no settings"):
            self.api.wait_until_ready(20)

    def test_process_that_never_asks_is_given_up(self):
        with self.assertRaisesRegex(TimedOut, r"within 0\.01 s"):
            self.api.wait_until_ready(0.01)

    def test_unknown_path_is_404(self):
        self.assertEqual(self.ask("GET", f"{PREFIX}invocation/previous")[0], 404)
        self.assertEqual(self.ask("POST", f"{PREFIX}invocation/one/response/more", b"")[0], 404)


if __name__ == "__main__":
    unittest.main()
