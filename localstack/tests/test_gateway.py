"""What API Gateway lets through, with the template on MiniStack and functions that only note that they were called. Run by the
emulator's Python."""

import sys
import tempfile
import unittest
import urllib.error
import urllib.request
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import deployment
from deployment import CODE_BUCKET, FUNCTIONS, STACK, Deployment
from emulators import MiniStack

# A function in Python. The authorizer's replies are those of functions/src/authorizer.rs.
FUNCTION = """#!/usr/bin/env python3
import json, os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    request = urllib.request.urlopen(api + "next")
    event = json.load(request)
    with open(%r, "a") as calls:
        calls.write(os.environ["AWS_LAMBDA_FUNCTION_NAME"] + "\\n")
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    allowed = headers.get("authorization", "").startswith(("Bearer ", "Session"))
    if not os.environ["AWS_LAMBDA_FUNCTION_NAME"].endswith("-authorize"):
        reply = {"statusCode": 200, "body": "from the API"}
    elif event.get("version") == "2.0":
        reply = {"isAuthorized": allowed}
    else:
        statement = {"Action": "execute-api:Invoke", "Effect": "Allow" if allowed else "Deny", "Resource": "*"}
        reply = {"principalId": "caller", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
    address = api + request.headers["lambda-runtime-aws-request-id"] + "/response"
    urllib.request.urlopen(address, json.dumps(reply).encode())
"""
# What has no Authorization header by its nature.
OPEN = [
    ("GET", "/"),
    ("GET", "/executions"),
    ("GET", "/assets/index.js"),
    ("GET", "/api/health"),
    ("GET", "/api/openapi.json"),
    ("GET", "/api/session/login?provider=oidc"),
    ("GET", "/api/session/callback?code=1"),
    ("POST", "/api/session/token"),
    ("POST", "/api/webhook/github"),
    ("GET", "/api/badge/key"),
    ("GET", "/api/oidc/jwks"),
    ("GET", "/api/oidc/.well-known/openid-configuration"),
]
CLOSED = [
    ("GET", "/api/pipeline/executions"),
    ("POST", "/api/pipeline/execute"),
    ("POST", "/api/job/status"),
    ("GET", "/api/session"),
    ("DELETE", "/api/session"),
    ("POST", "/api/badge"),
    ("POST", "/api/badge/revoke"),
    ("PUT", "/api/repository"),
]


class GatewayTest(unittest.TestCase):
    def setUp(self):
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.scratch = Path(made.name)
        self.calls = self.scratch / "calls"
        functions = self.scratch / "functions"
        functions.mkdir()
        for name in FUNCTIONS:
            (functions / name).write_text(FUNCTION % str(self.calls))
        self.functions = functions

    def deploy(self, kind: str) -> str:
        emulator = MiniStack(self.scratch / kind)
        emulator.directory.mkdir()
        self.addCleanup(emulator.stop)
        endpoint = f"http://127.0.0.1:{emulator.start(0)}"
        stack = Deployment(endpoint)
        # A script has no symbols to strip.
        with mock.patch.object(deployment, "stripped", Path.read_bytes):
            prefix = stack.upload(self.functions)
        parameters = {
            "Name": STACK,
            "ApiKind": kind,
            "CodeBucket": CODE_BUCKET,
            "CodePrefix": prefix,
            "AdminTokenSha256": "0" * 64,
            "WorkerTokenSha256": "0" * 64,
            "Alarms": "off",
        }
        outputs = stack.apply(parameters)
        stage = outputs["ApiStage"].replace("$", "%24")
        return f"{endpoint}/_aws/execute-api/{outputs['ApiId']}/{stage}"

    def call(self, server: str, method: str, path: str, credential: str | None = None) -> tuple:
        """The status, and the functions that were called."""
        self.calls.write_text("")
        headers = {"authorization": credential} if credential else {}
        request = urllib.request.Request(server + path, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                status = reply.status
        except urllib.error.HTTPError as error:
            status = error.code
        return status, self.calls.read_text().split()

    def check(self, kind: str) -> None:
        server, api, authorize = self.deploy(kind), f"{STACK}-api", f"{STACK}-authorize"
        for method, path in OPEN:
            self.assertEqual(self.call(server, method, path), (200, [api]), f"{method} {path}")
        for method, path in CLOSED:
            self.assertEqual(self.call(server, method, path), (401, []), f"{method} {path}")
            status, called = self.call(server, method, path, "Basic YTpi")
            self.assertEqual((status, set(called) - {authorize}), (403, set()), f"{method} {path}")
            # As workers and the command line, and as the web UI with a cookie.
            for credential in ("Bearer token", "Session"):
                status, called = self.call(server, method, path, credential)
                self.assertEqual((status, set(called) - {authorize}), (200, {api}), f"{method} {path} {credential}")
        status, called = self.call(server, "POST", "/executions")
        self.assertEqual((status >= 400, called), (True, []), "pages are only read")

    def test_http_api_starts_no_function_without_a_credential(self):
        self.check("http")

    def test_rest_api_starts_no_function_without_a_credential(self):
        self.check("rest")
