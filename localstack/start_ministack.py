"""Starts MiniStack with one difference: a long poll of a queue ends when its client goes away. By itself it would wait on,
and take a message that nobody gets (ministack/services/sqs.py, 1.5.33), so that a worker's stop would delay the next job by
the time for which a message is hidden."""

import asyncio

from ministack import app as ministack

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
