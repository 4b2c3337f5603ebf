"""Starts LocalStack on this machine's own addresses only. By itself it listens on every IPv4 address, whatever
GATEWAY_LISTEN says (localstack/runtime/server/twisted.py, 4.14.0)."""

import functools
import runpy

from twisted.internet import endpoints

endpoints.TCP4ServerEndpoint = functools.partial(endpoints.TCP4ServerEndpoint, interface="127.0.0.1")
runpy.run_module("localstack.runtime.main", run_name="__main__")
