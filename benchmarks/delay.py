"""A link with latency: a TCP proxy on loopback that holds back every byte, in both directions, for a fixed time.

It stands in for `tc netem`, which needs a kernel module that many machines lack. Bytes keep their order and
are not held back a second time when they queue, so bandwidth is not limited.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay: float) -> None:
    loop = asyncio.get_running_loop()
    line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, data = await line.get()
            await asyncio.sleep(max(due - loop.time(), 0))
            if not data:
                with contextlib.suppress(OSError):
                    sink.write_eof()
                return
            sink.write(data)
            await sink.drain()

    delivery = asyncio.create_task(deliver())
    while data := await source.read(65536):
        line.put_nowait((loop.time() + delay, data))
    line.put_nowait((loop.time() + delay, b""))
    await delivery


@contextlib.asynccontextmanager
async def delayed(host: str, port: int, *, delay: float) -> AsyncIterator[int]:
    """A local port that leads to host:port, `delay` seconds away in each direction."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, port)
        try:
            await asyncio.gather(_pump(reader, far_writer, delay), _pump(far_reader, writer, delay))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            far_writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
