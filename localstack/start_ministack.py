"""Starts MiniStack (1.5.33) with three differences:

- A long poll of a queue ends when its client goes away. By itself it would wait on, and take a message that nobody gets
  (ministack/services/sqs.py), so that a worker's stop would delay the next job by the time for which a message is hidden.
- A call of a function ends 5 ms after the function's reply, if it printed nothing. By itself MiniStack waits 50 ms for output
  (ministack/core/lambda_runtime.py), and asks 50 times meanwhile. Output that comes later is that of the next call.
- A long poll looks for messages every 20 ms, not every 100 ms."""

import asyncio
from types import SimpleNamespace

from ministack import app as ministack
from ministack.core import lambda_runtime
from ministack.services import sqs

# `first_line_wait`, `idle_confirm` and `hard_cap`.
assert lambda_runtime.Worker._drain_stderr_bounded.__defaults__ == (0.050, 0.005, 0.250)
lambda_runtime.Worker._drain_stderr_bounded.__defaults__ = (0.005, 0.005, 0.250)

# That is all for which this module has `asyncio`.
sqs.asyncio = SimpleNamespace(
    iscoroutine=asyncio.iscoroutine,
    sleep=lambda seconds: asyncio.sleep(min(seconds, 0.02)),
)

serve = ministack.app


async def app(scope, receive, send):
    """MiniStack as an ASGI application."""
    # As today's SDKs ask for messages.
    if scope["type"] != "http" or (b"x-amz-target", b"AmazonSQS.ReceiveMessage") not in scope["headers"]:
        return await serve(scope, receive, send)
    request = [await receive()]
    while request[-1].get("more_body"):
        request.append(await receive())

    async def replay():
        return request.pop(0) if request else await asyncio.Event().wait()

    poll = asyncio.ensure_future(serve(scope, replay, send))
    gone = asyncio.ensure_future(receive())  # after the request comes only the end of the connection
    await asyncio.wait((poll, gone), return_when=asyncio.FIRST_COMPLETED)
    gone.cancel()
    if not poll.done():
        poll.cancel()
    await asyncio.gather(poll, gone, return_exceptions=True)
    if not poll.cancelled():
        poll.result()  # raises what it raised


ministack.app = app
ministack.main()
