"""The network of a campaign: a wire for each connection between a process and a service, which fails on demand.

A wire is a TCP proxy on a port of its own. It passes bytes on, late, or holds them back as a network does that loses
all packets: what was sent before comes through when the network works again. All wires run in one thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable

CHUNK = 65536


class Wire:
    """A proxy before one port of a service. Its faults are set from the loop's own thread."""

    def __init__(self, port: int) -> None:
        """Listen on a free port for the service on `port`, which may die and come back."""
        self._service = port
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        self.delay = 0.0
        """Seconds by which each chunk comes late."""
        self.refusing = False
        """Whether new connections are closed at once."""
        self._speaking = asyncio.Event()
        self._speaking.set()
        self._ends: set[asyncio.StreamWriter] = set()

    def silence(self, silent: bool) -> None:
        """Pass nothing on; or go on, with what was held back."""
        if silent:
            self._speaking.clear()
        else:
            self._speaking.set()

    def cut(self) -> None:
        """Reset all connections."""
        for end in list(self._ends):
            end.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect a client with the service, until either closes."""
        ends = {writer}
        self._ends.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._speaking.wait()
            if not self.refusing:
                answers, service = await asyncio.open_connection("127.0.0.1", self._service)
                ends.add(service)
                self._ends.add(service)
                pumps = [asyncio.create_task(self._pass(*way)) for way in ((reader, service), (answers, writer))]
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()
                await self._speaking.wait()  # a silent network does not pass on a closed connection either
        for end in ends:
            end.close()  # what was passed on is sent before
        self._ends -= ends

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._speaking.wait()
                writer.write(data)
                await writer.drain()


class Network:
    """All wires, by the name of the connection, as `executor-1>server-0`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._wires: dict[str, list[Wire]] = {}
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def wire(self, name: str, port: int) -> int:
        """Lay a wire to a port, and return the port of the wire. Several wires may have one name."""

        async def lay() -> Wire:
            wire = Wire(port)
            self._servers.append(await asyncio.start_server(wire.serve, sock=wire.listening))
            return wire

        made = asyncio.run_coroutine_threadsafe(lay(), self._loop).result()
        self._wires.setdefault(name, []).append(made)
        return made.port

    def each(self, name: str, change: Callable[[Wire], None]) -> None:
        """Change the wires of a name, and wait until that is done."""
        done = threading.Event()

        def carry_out() -> None:
            for wire in self._wires[name]:
                change(wire)
            done.set()

        self._loop.call_soon_threadsafe(carry_out)
        done.wait()

    def close(self) -> None:
        """Reset all connections, and end the thread."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _shut(self) -> None:
        for server in self._servers:
            server.close()
        for wire in (wire for wires in self._wires.values() for wire in wires):
            wire.silence(False)
            wire.cut()
        while links := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(links)
