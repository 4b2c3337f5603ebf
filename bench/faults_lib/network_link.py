"""A network link that can be cut: a local TCP proxy."""

import asyncio
import socket
import struct
import threading

# What a link does with what is sent over it.
#   pass   carries it
#   stall  carries nothing and says nothing, as a network that drops every packet; what was sent comes late
#   reset  breaks every connection, and each new one at once
#   delay  carries each piece `seconds` later
MODES = ("pass", "stall", "reset", "delay")


class NetworkLink:
    """Carries connections to 127.0.0.1:`target` from a port of its own, in a thread of its own."""

    def __init__(self, target: int):
        self.target, self.mode, self.seconds = target, "pass", 0.0
        self.writers: set[asyncio.StreamWriter] = set()
        self.loop = asyncio.new_event_loop()
        self.changed = asyncio.Event()
        ready = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self.thread.start()
        ready.wait()

    def set(self, mode: str, seconds: float = 0.0) -> None:
        """Sets what happens to transmitted data."""
        assert mode in MODES, mode
        self.loop.call_soon_threadsafe(self._set, mode, seconds)

    def close(self) -> None:
        """Breaks all connections and stops listening."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    def _set(self, mode: str, seconds: float) -> None:
        self.mode, self.seconds = mode, seconds
        if mode == "reset":
            for writer in list(self.writers):
                self._reset(writer)
        self.changed.set()
        self.changed = asyncio.Event()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self._carry, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self.loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        for writer in list(self.writers):
            writer.transport.abort()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == "reset":
            self._reset(writer)
            return
        self.writers.add(writer)
        far_writer = None
        try:
            await self._passable()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            self.writers.add(far_writer)
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except OSError:
            # The far end is down, as it sometimes is here: so is this connection.
            self._reset(writer)
        finally:
            for one in (writer, far_writer):
                if one is not None:
                    self.writers.discard(one)
                    one.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1 << 16):
            if self.mode == "delay":
                await asyncio.sleep(self.seconds)
            await self._passable()
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def _passable(self) -> None:
        while self.mode == "stall":
            await self.changed.wait()

    @staticmethod
    def _reset(writer: asyncio.StreamWriter) -> None:
        link = writer.get_extra_info("socket")
        if link is not None and link.fileno() >= 0:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
