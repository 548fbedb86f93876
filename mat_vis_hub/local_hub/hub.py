"""`LocalHub`: the application on uvicorn, in a thread of this process."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from mat_vis_hub._internal import clock as package_clock
from mat_vis_hub.local_hub.faults import Rule, encoded
from mat_vis_hub.local_hub.limiter import MODELS, Limiter
from mat_vis_hub.local_hub.model.archive import Archive
from mat_vis_hub.local_hub.model.lfs import LfsStore
from mat_vis_hub.local_hub.model.repos import REPO_TYPES, Registry
from mat_vis_hub.local_hub.web.app import build_app
from mat_vis_hub.local_hub.web.context import Access, HubState
from mat_vis_hub.local_hub.web.middleware import Front

if TYPE_CHECKING:
    from typing_extensions import Self

    from mat_vis_hub.local_hub.limiter import Clock
    from mat_vis_hub.local_hub.recorder import Recorder, SeenCommit, SeenRefusal, SeenRequest

GIGABYTE = 10**9


class LocalHub:
    """A Hub for one process, as a context manager or with `start()` and `stop()`.

    `HfApi(endpoint=hub.url)` is all that huggingface_hub needs from 1.0 on. Before, `HfApi.create_commit` makes its
    commit but then stumbles over the answer, unless `HF_ENDPOINT` was this Hub's URL when huggingface_hub was
    imported: choose a `port` and set it. (The pytest fixture `local_hub` takes care of that.)

    Args:
        limit: Commits a repository takes per window, over all its branches and pull requests; None for no limit.
            A refused or failed commit does not count, and neither does a new repository's first one.
        window: The commit limit's window in seconds; fractions are fine.
        model: "fixed": a window opens with the first commit counted in it, and `window` seconds later all of it
            is forgotten at once. "sliding": each commit is forgotten `window` seconds after it was made.
        api_limit: Requests to `/api/` and the LFS batch per caller (its token, or its address if it has none) and
            fixed window of `api_window` seconds; None for no limit, and no `RateLimit` headers either.
            Downloads (`/resolve/`) and uploaded bytes do not count.
        api_window: The API limit's window in seconds.
        path: A folder in which repositories survive a restart, also one after a killed process (the limits start
            afresh). None keeps them in memory, and large files in a temporary folder that `stop()` deletes.
        clock: What tells the time, in seconds: for the limits and for the dates of commits. If None, the package's
            own clock, so that inside `mat_vis_hub.testing.virtual_time()` this Hub's windows pass as fast.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        token: If given, only this token may write, and a wrong one is refused (401). If None, any token and none
            may write. Either way a private repository is hidden from a caller without a token.
        owners: The namespaces the caller may write to; commits to another one's repositories are refused (403).
            The first one is the user's name, "local" if None, which means all of them.
        multipart_threshold: Large files above this size, in bytes, are uploaded in parts of this size.

    Example:
        >>> from huggingface_hub import HfApi
        >>> from mat_vis_hub.local_hub import LocalHub
        >>> with LocalHub(limit=8, window=6) as hub:
        ...     api = HfApi(endpoint=hub.url, token="hf_anything")
        ...     repo = api.create_repo("you/scratch").repo_id
        ...     hub.spend(repo, 8)  # the next commit is refused
    """

    def __init__(
        self,
        limit: int | None = 128,
        window: float = 3600,
        model: str = "fixed",
        api_limit: int | None = 1000,
        api_window: float = 300,
        *,
        path: str | os.PathLike[str] | None = None,
        clock: Clock | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        owners: tuple[str, ...] | None = None,
        multipart_threshold: int = 5 * GIGABYTE,
    ) -> None:
        if model not in MODELS:
            raise ValueError(f"model is {model!r}; it is one of {', '.join(map(repr, MODELS))}.")
        _check_limit("limit", limit, "window", window)
        _check_limit("api_limit", api_limit, "api_window", api_window)
        if multipart_threshold < 1:
            raise ValueError(f"multipart_threshold is {multipart_threshold}; a part has at least one byte.")
        if isinstance(owners, str) or (owners is not None and not owners):
            raise ValueError(f"owners is {owners!r}; it is a tuple of at least one namespace, or None for all.")
        self._path = None if path is None else Path(path)
        self._clock = clock or package_clock.wall
        self._commit_limit = (limit, window, model, self._clock)
        self._api_limit = (api_limit, api_window, "fixed", self._clock)
        self._access = Access(token, owners and tuple(owners))
        self._multipart_threshold = multipart_threshold
        self._address = (host, port)
        self._running: _Running | None = None
        self._last_recorder: Recorder | None = None

    # ---- running ---------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Returns once the Hub answers."""
        if self._running:
            raise RuntimeError(f"This local Hub runs already, at {self.url}.")
        store = LfsStore(self._path / "lfs" if self._path else None)
        state = HubState(
            repos=Registry(Archive(self._path / "repos") if self._path else None),
            store=store,
            commit_limit=Limiter(*self._commit_limit),
            api_limit=Limiter(*self._api_limit),
            access=self._access,
            clock=self._clock,
            multipart_threshold=self._multipart_threshold,
        )
        try:
            self._running = _Running(state, *self._address)
            self._last_recorder = None
        except BaseException:
            store.close()
            raise
        return self

    def stop(self) -> None:
        """Returns once the Hub is gone, with every connection to it. What it recorded stays readable."""
        if self._running:
            running, self._running = self._running, None
            self._last_recorder = running.state.recorder
            running.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return self._live.url

    @property
    def _live(self) -> _Running:
        if not self._running:
            raise RuntimeError("This local Hub does not run: start it, or use it as a context manager.")
        return self._running

    @property
    def _recorder(self) -> Recorder:
        return self._last_recorder or self._live.state.recorder

    # ---- what it saw -----------------------------------------------------------------------------------

    @property
    def requests(self) -> list[SeenRequest]:
        return self._recorder.requests

    @property
    def commits(self) -> list[SeenCommit]:
        return self._recorder.commits

    @property
    def refusals(self) -> list[SeenRefusal]:
        return self._recorder.refusals

    @property
    def bytes_received(self) -> int:
        return sum(request.bytes_received for request in self.requests)

    # ---- what it is told to do -------------------------------------------------------------------------

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The names that `on=` understands."""
        return self._live.endpoints

    def answer(
        self,
        status: int,
        *,
        headers: dict[str, str] | None = None,
        body: str | bytes | dict[str, Any] = "",
        on: str | None = None,
        times: int = 1,
        after: int = 0,
    ) -> None:
        """The next `times` requests to the endpoint `on` (None: to any) get this answer instead of the real one.

        The first `after` of them are still served as usual. Nothing is done for a request answered so. The headers
        that every answer carries are added unless `headers` has its own.
        """
        content, media_type = encoded(body)
        named = {name.lower() for name in headers or {}}
        typed = {} if "content-type" in named else {"content-type": media_type}
        self._add(Rule(on, times, after, status=status, headers={**typed, **(headers or {})}, body=content))

    def drop(self, *, on: str | None = None, applied: bool = False, times: int = 1, after: int = 0) -> None:
        """Close the connection without an answer: before doing the work, or (`applied`) once it is done."""
        self._add(Rule(on, times, after, drop=True, applied=applied))

    def delay(self, seconds: float, *, on: str | None = None, times: int = 1, after: int = 0) -> None:
        """Let so many real seconds pass before the work begins."""
        self._add(Rule(on, times, after, delay=seconds))

    def clear(self) -> None:
        """Forget what `answer`, `drop` and `delay` have not used up."""
        self._live.state.script.clear()

    def _add(self, rule: Rule) -> None:
        if rule.on is not None and rule.on not in self.endpoints:
            raise ValueError(f"There is no endpoint {rule.on!r}; there are {', '.join(self.endpoints)}.")
        self._live.state.script.add(rule)

    def spend(self, repo_id: str, count: int = 1, *, repo_type: str = "model") -> None:
        """Use up `count` of a repository's commits, as a stranger's commits would; it need not exist yet."""
        if repo_type not in REPO_TYPES:
            raise ValueError(f"repo_type is {repo_type!r}; it is one of {', '.join(map(repr, REPO_TYPES))}.")
        self._live.state.commit_limit.spend((repo_type, repo_id), count)


def _check_limit(name: str, limit: int | None, window_name: str, window: float) -> None:
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise ValueError(f"{name} is {limit!r}; it is a whole number from 0 up, or None for no limit.")
    if not window > 0:
        raise ValueError(f"{window_name} is {window!r}; it is a number of seconds above 0.")


class _Server(uvicorn.Server):
    """uvicorn, saying when it is ready, and stopping at once instead of at the next tick and in peace."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop, self._leaving = asyncio.get_running_loop(), asyncio.Event()
        self.ready.set()

    def leave(self) -> None:
        """Called from another thread."""
        self._loop.call_soon_threadsafe(self._leaving.set)

    async def main_loop(self) -> None:
        ticks = 0
        while not (self._leaving.is_set() or await self.on_tick(ticks)):
            ticks += 10  # uvicorn counts tenths of a second: every ten of them it renews the `Date`
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # asyncio takes it ill when a server is closed while it accepts a connection. So first it looks for no more,
        for server in self.servers:
            for listener in server.sockets:
                with suppress(NotImplementedError):  # not every loop can
                    self._loop.remove_reader(listener.fileno())
        for _ in range(10):  # then those that it has just accepted take a few turns of the loop to be known,
            for connection in list(self.server_state.connections):
                if connection.transport:
                    connection.transport.abort()  # idle or busy: nobody waits for a client
            await asyncio.sleep(0)
        for server in self.servers:  # and those that it had not got to are reset by the system.
            server.close()
        if self.server_state.tasks:  # they hear of it and end; what does not is cancelled with the loop
            await asyncio.wait(self.server_state.tasks, timeout=0.2)


class _Running:
    """One start of a Hub: a socket, a server, a thread."""

    def __init__(self, state: HubState, host: str, port: int) -> None:
        self.state = state
        listener = _listen(host, port)
        literal = f"[{host}]" if ":" in host else host
        self.url = f"http://{literal}:{listener.getsockname()[1]}"
        app = build_app(state, lambda: self.url)
        self.endpoints = tuple(dict.fromkeys(getattr(route, "name", "") for route in app.routes))
        config = uvicorn.Config(
            Front(app, state),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,  # the Hub's own clock tells it
            timeout_keep_alive=60,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name=f"local-hub {self.url}", daemon=True
        )
        self._thread.start()
        self._server.ready.wait()

    def stop(self) -> None:
        self._server.leave()
        self._thread.join()
        self.state.store.close()


def _listen(host: str, port: int) -> socket.socket:
    listener = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # asyncio turns Nagle's algorithm off only where it is told that this is TCP: 40 ms per answer.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if os.name == "posix":  # elsewhere it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        if listener:
            listener.close()
        message = f"The local Hub cannot listen on {host}:{port} ({error}): try another port, or port 0."
        raise OSError(error.errno, message) from None
    return listener
