"""Runs a function of LocalStack as a process of this machine. LocalStack by itself runs it in a container, whose image and init
program it downloads."""

import collections
import os
import subprocess
import threading

from localstack import config
from localstack.services.lambda_.invocation.executor_endpoint import StatusErrorException
from localstack.services.lambda_.invocation.lambda_models import InvocationResult
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor
from runtime_api import Invocation, RuntimeApi, Stopped, TimedOut, error

HOST = "127.0.0.1"
# Lines of a process's output that are kept for the next invocation's log.
MAX_LINES = 1000


class FunctionProcess(RuntimeExecutor):
    """One process of a function with a custom runtime: the executable `bootstrap` of its zip. It serves one invocation at a
    time; LocalStack starts as many as it needs, and stops those that are idle."""

    def __init__(self, id, function_version):
        super().__init__(id, function_version)
        self.api = RuntimeApi()
        self.process: subprocess.Popen | None = None
        self.lines = collections.deque(maxlen=MAX_LINES)

    def start(self, env_vars: dict) -> None:
        code = self.function_version.config.code.get_unzipped_code_location()
        environment = {name: str(value) for name, value in env_vars.items()} | {
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_RUNTIME_API": self.api.address,
            "LAMBDA_TASK_ROOT": str(code),
            "AWS_ENDPOINT_URL": os.environ["TIDEMILL_FUNCTIONS_ENDPOINT"],
        }
        self.process = subprocess.Popen(
            [code / "bootstrap"],
            cwd=code,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        threading.Thread(target=self._watch, args=(self.process,), daemon=True).start()
        try:
            self.api.wait_until_ready(config.LAMBDA_RUNTIME_ENVIRONMENT_TIMEOUT)
        except (Stopped, TimedOut) as failure:
            raise RuntimeError(f"{failure}. The end of its output:\n{self.get_logs()}") from failure

    def stop(self) -> None:
        if self.process:
            self.process.kill()  # as Lambda does
            self.process.wait()
        self.api.close()

    def invoke(self, payload: dict) -> InvocationResult:
        invocation = Invocation(
            id=payload["invoke-id"],
            function_arn=payload["invoked-function-arn"],
            payload=payload["payload"].encode(),
            seconds=self.function_version.config.timeout,
            trace=payload["trace-id"],
        )
        try:
            reply = self.api.invoke(invocation)
        # This error makes LocalStack replace the process.
        except TimedOut as failure:
            raise StatusErrorException(str(failure), error("Sandbox.Timedout", str(failure))) from failure
        except Stopped as failure:
            message = f"{failure}. The end of its output:\n{self.get_logs()}"
            raise StatusErrorException(message, error("Runtime.ExitError", message)) from failure
        logs = f"START RequestId: {invocation.id}\n{self._take_logs()}"
        return InvocationResult(invocation.id, reply.payload, reply.is_error, logs)

    def get_logs(self) -> str:
        return "".join(self.lines.copy())

    def get_address(self) -> str:
        return HOST

    def get_endpoint_from_executor(self) -> str:
        return HOST

    def get_runtime_endpoint(self) -> str:
        return f"http://{self.api.address}"

    @classmethod
    def prepare_version(cls, function_version) -> None:
        function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version) -> None:
        """Keeps the code: an update of the settings makes a new version with the same code."""

    def _watch(self, process: subprocess.Popen) -> None:
        """Reads the process's output until it ends."""
        with process.stdout as output:
            for line in output:
                self.lines.append(line.decode(errors="replace"))
        process.wait()
        self.api.process_ended()

    def _take_logs(self) -> str:
        """What the process has written since the last time. Its last lines may come too late, and count for the next invocation."""
        lines = []
        while self.lines:
            lines.append(self.lines.popleft())
        return "".join(lines)
