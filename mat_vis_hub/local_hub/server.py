"""An ASGI application on uvicorn, in a thread of this process."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import uvicorn
from starlette.types import ASGIApp


class Server:
    """
    Serves `app` from construction until `stop`.

    Args:
        app (`ASGIApp`):
            The application.
        host (`str`):
            The address to listen on.
        port (`int`):
            The port. `0` takes a free one.

    Raises:
        [`OSError`](https://docs.python.org/3/library/exceptions.html#OSError)
            If the address cannot be listened on; the message names it.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        listener = _listen(host, port)
        literal = f"[{host}]" if ":" in host else host
        self.url = f"http://{literal}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,  # the middleware sets it, from the Hub's clock
            timeout_keep_alive=60,
        )
        self._uvicorn = _Uvicorn(config)
        self._thread = threading.Thread(
            target=self._uvicorn.run, args=([listener],), name=f"local-hub {self.url}", daemon=True
        )
        self._thread.start()
        self._uvicorn.ready.wait()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Carry `work` out in the server's thread, and return once it is done. Must not be called in that thread."""
        asyncio.run_coroutine_threadsafe(work, self._uvicorn.loop).result()

    @property
    def is_this_thread(self) -> bool:
        """Whether the server runs in the present thread."""
        return threading.current_thread() is self._thread

    def stop(self) -> None:
        """Close every connection, and return once the server has ended."""
        self._uvicorn.request_stop()
        self._thread.join()


class _Uvicorn(uvicorn.Server):
    """uvicorn that says when it is ready, stops at once instead of at its next tick, and does not wait for clients."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self.ready.set()

    def request_stop(self) -> None:
        """Stop. Other threads may call this."""
        self.loop.call_soon_threadsafe(self._stopping.set)

    async def main_loop(self) -> None:
        ticks = 0
        while not (self._stopping.is_set() or await self.on_tick(ticks)):
            ticks += 10  # uvicorn counts tenths of a second
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # asyncio logs an error if a server is closed while it accepts a connection. So stop accepting first,
        for server in self.servers:
            for listener in server.sockets:
                with suppress(NotImplementedError):  # some event loops cannot
                    self.loop.remove_reader(listener.fileno())
        for _ in range(10):  # then give just accepted connections a few turns of the loop to register,
            for connection in list(self.server_state.connections):
                if connection.transport:
                    connection.transport.abort()  # idle or busy
            await asyncio.sleep(0)
        for server in self.servers:  # then close. The system resets the connections that were not accepted yet.
            server.close()
        if self.server_state.tasks:  # they end on the disconnect; the others are cancelled with the loop
            await asyncio.wait(self.server_state.tasks, timeout=0.2)


def _listen(host: str, port: int) -> socket.socket:
    listener = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # asyncio disables Nagle's algorithm, which costs 40 ms per answer, only if the socket says that it is TCP.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if os.name == "posix":  # on Windows, two servers could share a port then
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        if listener:
            listener.close()
        message = f"The local Hub cannot listen on {host}:{port} ({error}): try another port, or port 0."
        raise OSError(error.errno, message) from None
    return listener
