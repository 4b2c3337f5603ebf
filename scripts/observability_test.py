"""Runs a server with its workers under Prometheus, and checks what Prometheus and a receiver of OTLP got of its executions.

scripts/observability-test calls it.
"""

import argparse
import contextlib
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIG = ROOT / "infra" / "observability"
TYPES = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PIPELINE = """\
name: observed
stages: [test]
jobs:
  good: {{ stage: test, image: "{image}", script: ['echo "mine: $TRACEPARENT"', "true"] }}
  bad: {{ stage: test, image: "{image}", script: ["exit 3"] }}
"""
TIMEOUT_S = 120


class Receiver(http.server.ThreadingHTTPServer):
    """Decodes what is posted to it."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), ReceiverHandler)
        self.lock = threading.Lock()
        self.requests = {name: [] for name in TYPES}
        self.errors = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def spans(self):
        with self.lock:
            requests = list(self.requests["traces"])
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class ReceiverHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        signal_name = self.path.removeprefix("/v1/")
        try:
            message = TYPES[signal_name].FromString(body)
            assert self.headers["content-type"] == "application/x-protobuf", self.headers
            assert self.headers["x-tenant"] == "ci", self.headers
            with self.server.lock:
                self.server.requests[signal_name].append(message)
            self.send_response(200)
        except Exception as error:
            self.server.errors.append(f"{self.path}: {error!r}")
            self.send_response(400)
        self.end_headers()

    def log_message(self, *_):
        pass


def until(what, check):
    """Waits until a check returns something."""
    end = time.monotonic() + TIMEOUT_S
    while True:
        with contextlib.suppress(OSError, LookupError):
            found = check()
            if found:
                return found
        if time.monotonic() > end:
            raise SystemExit(f"failed: {what}")
        time.sleep(0.2)


def get_json(url):
    with urllib.request.urlopen(url, timeout=10) as reply:
        return json.load(reply)


def names_in(path):
    """Returns the metrics that a file names, without the suffixes of histograms."""
    names = set(re.findall(r"\b(?:tidemill|process)_[a-z_]+", path.read_text()))
    return {name.removesuffix("_bucket") for name in names}


def free_port():
    with http.server.HTTPServer(("127.0.0.1", 0), None) as server:
        return server.server_port


class Test:
    def __init__(self, args, work):
        self.args, self.work = args, work
        self.processes = []
        self.receiver = Receiver()

    def start(self, name, command, **options):
        log = open(self.work / f"{name}.log", "wb")  # noqa: SIM115 - the process keeps it
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **options)
        self.processes.append(process)
        return process

    def log(self, name):
        return (self.work / f"{name}.log").read_text(errors="replace")

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()

    def run(self):
        metrics = f"127.0.0.1:{free_port()}"
        environment = os.environ | {
            "TIDEMILL_DATA_DIR": str(self.work / "data"),
            "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=ci",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        }
        endpoint = f"http://127.0.0.1:{self.receiver.server_port}"
        command = [self.args.tidemill, "server", "--listen", "127.0.0.1:0", "--jobs", "2", "--isolate", "off"]
        command += ["--metrics-listen", metrics, "--otlp-endpoint", endpoint]
        command += ["--log-format", "json", "--log-level", "info"]
        server = self.start("server", command, env=environment)
        self.start_prometheus(metrics)
        found = until("the server starts", lambda: re.search(r"serving on (http://[^,]+),", self.log("server")))
        execution = self.run_pipeline(environment | {"TIDEMILL_SERVER": found[1]})
        self.check_trace(execution)
        self.check_prometheus()
        self.check_otlp()
        self.check_log(server, execution)

    def start_prometheus(self, target):
        config = (CONFIG / "prometheus.yml").read_text().replace("127.0.0.1:9600", target).replace("15s", "1s")
        (self.work / "prometheus.yml").write_text(config)
        shutil.copy(CONFIG / "alerts.yml", self.work)
        self.prometheus = f"http://127.0.0.1:{free_port()}"
        command = [self.args.prometheus, f"--config.file={self.work / 'prometheus.yml'}"]
        command += [f"--storage.tsdb.path={self.work / 'tsdb'}"]
        command += [f"--web.listen-address={self.prometheus.removeprefix('http://')}"]
        self.start("prometheus", command)

    def run_pipeline(self, environment):
        app = self.work / "app"
        (app / ".pipelines").mkdir(parents=True)
        (app / ".pipelines" / "observed.yml").write_text(PIPELINE.format(image=self.args.image))
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
        for step in [["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "first"]]:
            subprocess.run([*git, *step], cwd=app, check=True)
        token = until("the token is there", lambda: (self.work / "data" / "token").read_text().strip())
        environment = environment | {"TIDEMILL_TOKEN": token, "TRACEPARENT": CALLER}
        command = [self.args.tidemill, "run", "--upload-all", "--format", "json"]
        done = subprocess.run(command, cwd=app, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1, f"one job fails: {done.returncode}\n{done.stdout}\n{done.stderr}"
        print("the pipeline ran:", done.stdout.splitlines()[0][:120] if done.stdout else "", file=sys.stderr)
        log = [self.args.tidemill, "logs", "good"]
        self.job_log = subprocess.run(log, cwd=app, env=environment, capture_output=True, text=True, check=True).stdout
        return until("the trace arrives", lambda: {span.name: span for span in self.receiver.spans()})

    def check_trace(self, spans):
        _, trace, parent, _ = CALLER.split("-")
        root = spans["observed"]
        assert {span.trace_id.hex() for span in spans.values()} == {trace}
        assert root.parent_span_id.hex() == parent
        for name in ["good", "bad"]:
            assert spans[name].parent_span_id == root.span_id, name
        assert spans["good"].status.code == 1 and spans["bad"].status.code == 2
        for name in ["queue", "prepare", "script", "collect", "attempt 1", "command 1"]:
            assert name in spans, f"{name} is missing in {sorted(spans)}"
        ids = {span.span_id.hex() for span in self.receiver.spans() if span.name == "attempt 1"}
        mine = re.search(r"^mine: 00-([0-9a-f]{32})-([0-9a-f]{16})-01", self.job_log, re.MULTILINE)
        assert mine and mine[1] == trace and mine[2] in ids, self.job_log
        print("trace:", len(self.receiver.spans()), "spans", file=sys.stderr)

    def query(self, expression):
        url = f"{self.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        reply = get_json(url)
        assert reply["status"] == "success", reply
        return reply["data"]["result"]

    def check_prometheus(self):
        until("Prometheus reads the server", lambda: self.query('up{job="tidemill"} == 1'))
        failed = 'tidemill_executions_ended_total{status="failed"} == 1'
        until("Prometheus has the execution", lambda: self.query(failed))
        known = set(get_json(f"{self.prometheus}/api/v1/label/__name__/values")["data"])
        known |= {name.removesuffix("_bucket") for name in known}
        for file in ["alerts.yml", "dashboard.json"]:
            missing = names_in(CONFIG / file) - known
            assert not missing, f"{file} names metrics that Prometheus does not have: {sorted(missing)}"
        dashboard = json.loads((CONFIG / "dashboard.json").read_text())
        expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
        assert len(expressions) > 20
        for expression in expressions:
            self.query(expression.replace("$instance", ".*"))
        rules = get_json(f"{self.prometheus}/api/v1/rules")["data"]["groups"][0]["rules"]
        assert len(rules) > 8 and all(rule["health"] != "err" for rule in rules), rules
        print(f"Prometheus: {len(known)} metrics, {len(expressions)} queries, {len(rules)} rules", file=sys.stderr)

    def check_otlp(self):
        def metric_names():
            with self.receiver.lock:
                latest = self.receiver.requests["metrics"][-1]
            scopes = latest.resource_metrics[0].scope_metrics
            return {metric.name for scope in scopes for metric in scope.metrics}

        until("metrics arrive over OTLP", lambda: "tidemill_worker_slots" in metric_names())
        until("logs arrive over OTLP", lambda: self.receiver.requests["logs"])
        resource = self.receiver.requests["logs"][0].resource_logs[0].resource
        attributes = {one.key: one.value.string_value for one in resource.attributes}
        assert attributes["service.name"] == "tidemill-server", attributes
        assert attributes["deployment.environment.name"] == "test", attributes
        assert not self.receiver.errors, self.receiver.errors

    def check_log(self, server, spans):
        attributes = {one.key: one.value.string_value for one in spans["observed"].attributes}
        execution = attributes["cicd.pipeline.run.id"]
        lines = [json.loads(line) for line in self.log("server").splitlines() if line.startswith("{")]
        of_execution = [line for line in lines if line.get("execution") == execution]
        messages = {line["message"] for line in of_execution}
        assert {"created an execution", "an attempt ended", "an execution ended"} <= messages, messages
        created = next(line for line in of_execution if line["message"] == "created an execution")
        assert re.fullmatch("[0-9a-f]{32}", created["span"]["request"]), created
        server.send_signal(signal.SIGUSR1)
        until("the level is raised", lambda: "the log level was raised" in self.log("server"))
        until("requests are logged", lambda: "answered a request" in self.log("server"))
        server.send_signal(signal.SIGUSR2)
        until("the level is reset", lambda: "the log level is reset" in self.log("server"))
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0, self.log("server")
        print("log: JSON with ids of executions and requests, level changed by signals", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser()
    for name in ["--tidemill", "--image", "--prometheus"]:
        parser.add_argument(name, required=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="tidemill-observability."))
    test = Test(parser.parse_args(), work)
    try:
        test.run()
    except BaseException:
        for log in work.glob("*.log"):
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}", file=sys.stderr)
        raise
    finally:
        test.stop()
        shutil.rmtree(work, ignore_errors=True)
    print("observability: all checks passed")


if __name__ == "__main__":
    main()
