"""Starts LocalStack 4.14.0 as a process of this machine, so that the whole template runs on it without containers and downloads.

LocalStack's own parts are used throughout. These are replaced, each by the function below that says why:

- the container in which a function runs, by a process;
- the server behind its DynamoDB, by a MiniStack that listens at DYNAMODB_LOCAL_PORT;
- an API's media types for binary bodies, which lack `*/*`;
- the directory of its objects, and the address at which it listens."""

import functools
import os
import runpy
import sys
import tempfile


def listen_on_loopback() -> None:
    """Listens on this machine's own addresses only. By itself it listens on every IPv4 address, whatever GATEWAY_LISTEN says
    (localstack/runtime/server/twisted.py)."""
    from twisted.internet import endpoints

    endpoints.TCP4ServerEndpoint = functools.partial(endpoints.TCP4ServerEndpoint, interface="127.0.0.1")


def run_functions_as_processes() -> None:
    """Functions in containers need an image and an init program, which it downloads. Its plug-in point takes another
    executor by name; ours takes the place of the default one, since it is no installed distribution."""
    from function_process import FunctionProcess
    from localstack.services.lambda_.invocation.plugins import DockerRuntimeExecutorPlugin

    DockerRuntimeExecutorPlugin.load = lambda *_, **__: FunctionProcess


def use_running_records_server() -> None:
    """LocalStack's DynamoDB is a proxy in front of a Java program, which it downloads. Ours runs already, and keeps the names
    of streams that the proxy gives out."""
    from localstack.services.dynamodb import utils
    from localstack.services.dynamodb.server import DynamodbServer
    from localstack.services.dynamodb.v2 import provider
    from localstack.services.dynamodbstreams.v2.provider import DynamoDBStreamsProvider
    from localstack.utils.threads import start_thread

    DynamodbServer.do_start_thread = lambda _: start_thread(lambda *_: None, name="records")
    DynamodbServer.is_running = lambda _: True
    DynamoDBStreamsProvider.modify_stream_arn_for_ddb_local = lambda _, arn: arn
    # The Java program keeps accounts and regions apart by this name; MiniStack reads both from the request.
    for module in (utils, provider):
        module.get_ddb_access_key = lambda account, _: account


def keep_objects_apart() -> None:
    """Objects of S3 are in one directory below /tmp, whatever TMPDIR says. Each deployment keeps its own, and is removed with it."""
    from localstack.services.s3 import provider

    provider.DEFAULT_S3_TMP_DIR = f"{tempfile.gettempdir()}/s3"


def let_any_type_be_binary() -> None:
    """Compressed replies would otherwise arrive as base64."""
    import binary_types  # noqa: F401


if __name__ == "__main__":
    listen_on_loopback()
    if "DYNAMODB_LOCAL_PORT" not in os.environ:
        sys.exit("DYNAMODB_LOCAL_PORT is not set; start this through localstack/cloud.")
    run_functions_as_processes()
    use_running_records_server()
    keep_objects_apart()
    let_any_type_be_binary()
    runpy.run_module("localstack.runtime.main", run_name="__main__")
