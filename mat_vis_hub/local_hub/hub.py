"""`LocalHub`: starts and stops a Hub, shows what it has seen, and makes it fail."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from mat_vis_hub._internal import clock as package_clock
from mat_vis_hub.local_hub.faults import Fault, encoded
from mat_vis_hub.local_hub.limiter import Clock
from mat_vis_hub.local_hub.model.repository import REPO_TYPES
from mat_vis_hub.local_hub.recorder import Recorder, SeenCommit, SeenRefusal, SeenRequest
from mat_vis_hub.local_hub.server import Server
from mat_vis_hub.local_hub.settings import GIGABYTE, Settings
from mat_vis_hub.local_hub.web.app import build_app, endpoints
from mat_vis_hub.local_hub.web.context import HubContext
from mat_vis_hub.local_hub.web.middleware import HubMiddleware


@dataclass(frozen=True)
class _Run:
    """One start of a Hub."""

    context: HubContext
    server: Server
    endpoints: tuple[str, ...]


class LocalHub:
    """
    A Hub on this machine that refuses commits like the real one.

    Use it as a context manager, or with `start()` and `stop()`, and pass its `url` as the endpoint:
    `HfApi(endpoint=hub.url)`. Before huggingface_hub 1.0, `HfApi.create_commit` fails on the answer, after the commit
    was made, unless `HF_ENDPOINT` was this Hub's URL when huggingface_hub was imported: choose a `port` and set it.
    The pytest fixture `local_hub` takes care of that.

    Args:
        limit (`int`, *optional*, defaults to `128`):
            Commits that a repository accepts per window, over all its branches and pull requests. `None` for no
            limit. Refused and failed commits do not count, and neither does a new repository's first one.
        window (`float`, *optional*, defaults to `3600`):
            Seconds. The window of `limit`.
        model (`str`, *optional*, defaults to `"fixed"`):
            `"fixed"`: the window opens with its first commit, and `window` seconds later all its commits are forgotten
            at once. `"sliding"`: each commit is forgotten `window` seconds after it was made.
        api_limit (`int`, *optional*, defaults to `1000`):
            Requests to `/api/` and about LFS files that a caller (a token, or an address without one) may make per
            fixed window. `None` for no limit and no `RateLimit` headers. Downloads and uploads of content do not
            count.
        api_window (`float`, *optional*, defaults to `300`):
            Seconds. The window of `api_limit`, `resolvers_limit`, `pages_limit` and `whoami_limit`.
        quota_scope (`str`, *optional*, defaults to `"repo"`):
            Whose commits `limit` counts: a `"repo"`'s, its `"owner"`'s, or a `"token"`'s.
        retry_after (`bool`, *optional*, defaults to `False`):
            Whether the refusals of quotas (of commits, repositories, pull requests, discussions) carry `Retry-After`.
        wording (`str`, *optional*, defaults to `"distance"`):
            How these refusals word the wait: `"distance"` and `"strict"` as date-fns' `formatDistance` and
            `formatDistanceStrict` do, `"window"` not at all, and `"hourly"` with the older sentence, which does not
            name the limit either.
        include_seconds (`bool`, *optional*, defaults to `False`):
            date-fns' option for `"distance"`: waits below a minute are more precise.
        commit_time (`float`, *optional*, defaults to `1.0`):
            Seconds of the Hub's time that a commit, a merge or a squash takes. The repository accepts no other one
            meanwhile: it is refused with 409, "Another commit operation is in progress for this repository". `0`
            switches this off, and `commit_timeout` with it: commits take no time and never meet.
        operation_time (`float`, *optional*, defaults to `0.05`):
            Seconds more for each operation of a commit.
        speed (`float`, *optional*, defaults to `50.0`):
            How many of the Hub's seconds pass in a real one, for `commit_time`, `operation_time`, `commit_timeout`,
            `queue_time` and `lands_in`. In virtual time, a commit takes what it takes, and the Hub moves the clock on.
        commit_timeout (`float`, *optional*, defaults to `60.0`):
            Seconds of the Hub's time after which a gateway gives up on a commit and answers 504 with an HTML page. The
            Hub goes on with it, and holds the repository until its time is over. `None` for no timeout.
        late (`str` or `float`, *optional*, defaults to `"lands"`):
            What becomes of a commit after its 504: it `"lands"`, it `"never"` does, or with this probability.
        conflict (`str`, *optional*, defaults to `"new"`):
            The sentence of a 412: the `"new"` one, since March 2026, or the `"old"` one.
        queue_limit (`int`, *optional*):
            Commits that may wait for a repository, instead of being refused with 409. One more is refused with 429,
            "maximum queue size reached". Defaults to no queue.
        queue_time (`float`, *optional*, defaults to `30.0`):
            Seconds of the Hub's time after which a commit that still waits is refused with 429, "maximum time in
            concurrency queue reached".
        resolvers_limit (`int`, *optional*, defaults to `5000`):
            Downloads (requests to `/resolve/`) that a caller may make per fixed window. `None` for no limit.
        pages_limit (`int`, *optional*, defaults to `200`):
            Requests for web pages: all that are neither downloads nor to `/api/`. `None` for no limit.
        whoami_limit (`int`, *optional*, defaults to `20`):
            Calls of `whoami` that an address may make per fixed window, with whatever token. `None` for no limit.
        creation_limit (`int`, *optional*, defaults to `300`):
            Calls of `create_repo` that a caller may make per `creation_window`, whether the repository exists or not.
            `None` for no limit.
        creation_window (`float`, *optional*, defaults to `86400`):
            Seconds. The window of `creation_limit`.
        pull_request_limit (`int`, *optional*, defaults to `10`):
            Pull requests that a caller may open per `window`, with or without a commit. `None` for no limit.
        discussion_limit (`int`, *optional*, defaults to `10`):
            Discussions that a caller may open per `window`. `None` for no limit.
        path (`str` or `os.PathLike`, *optional*):
            A folder where repositories survive a restart, also of a process that was killed. The limits start anew.
            Defaults to memory, and a temporary folder for large files that `stop()` deletes.
        clock (`Callable`, *optional*):
            Returns the time in seconds since the epoch, for limits, dates of commits and records. Defaults to the
            package's clock, so `mat_vis_hub.testing.virtual_time()` moves it. With another one, commits take real
            time. A `delay` always does, and so does the expiry of Xet tokens, which clients compare with their own
            clock.
        host (`str`, *optional*, defaults to `"127.0.0.1"`):
            The address to listen on.
        port (`int`, *optional*, defaults to `0`):
            The port to listen on. `0` takes a free one.
        token (`str`, *optional*):
            The only token that may write; other tokens are refused with 401. Defaults to any token, or none.
            In either case callers without a token do not see private repositories.
        owners (`tuple` of `str`, *optional*):
            The namespaces that may be written to; commits to others are refused with 403. The first one is the user's
            name. Defaults to all, and the name `"local"`.
        multipart_threshold (`int`, *optional*, defaults to 5 GB):
            Bytes. Larger files are uploaded in parts of this size.

    Raises:
        [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
            If an argument makes no sense; the message names it.

    Example:
    ```python
    >>> from huggingface_hub import HfApi
    >>> from mat_vis_hub.local_hub import LocalHub
    >>> with LocalHub(limit=8, window=6) as hub:
    ...     api = HfApi(endpoint=hub.url, token="hf_anything")
    ...     repo = api.create_repo("you/scratch").repo_id
    ...     hub.spend(repo, 8)  # the next commit is refused

    ```
    """

    def __init__(
        self,
        limit: int | None = 128,
        window: float = 3600,
        model: str = "fixed",
        api_limit: int | None = 1000,
        api_window: float = 300,
        *,
        quota_scope: str = "repo",
        retry_after: bool = False,
        wording: str = "distance",
        include_seconds: bool = False,
        commit_time: float = 1.0,
        operation_time: float = 0.05,
        speed: float = 50.0,
        commit_timeout: float | None = 60.0,
        late: str | float = "lands",
        conflict: str = "new",
        queue_limit: int | None = None,
        queue_time: float = 30.0,
        resolvers_limit: int | None = 5000,
        pages_limit: int | None = 200,
        whoami_limit: int | None = 20,
        creation_limit: int | None = 300,
        creation_window: float = 86400,
        pull_request_limit: int | None = 10,
        discussion_limit: int | None = 10,
        path: str | os.PathLike[str] | None = None,
        clock: Clock | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        owners: tuple[str, ...] | None = None,
        multipart_threshold: int = 5 * GIGABYTE,
    ) -> None:
        self._settings = Settings(
            limit=limit,
            window=window,
            model=model,
            api_limit=api_limit,
            api_window=api_window,
            quota_scope=quota_scope,
            retry_after=retry_after,
            wording=wording,
            include_seconds=include_seconds,
            commit_time=commit_time,
            operation_time=operation_time,
            speed=speed,
            commit_timeout=commit_timeout,
            late=late,
            conflict=conflict,
            queue_limit=queue_limit,
            queue_time=queue_time,
            resolvers_limit=resolvers_limit,
            pages_limit=pages_limit,
            whoami_limit=whoami_limit,
            creation_limit=creation_limit,
            creation_window=creation_window,
            pull_request_limit=pull_request_limit,
            discussion_limit=discussion_limit,
            path=path,
            clock=clock or package_clock.wall,
            host=host,
            port=port,
            token=token,
            owners=owners,
            multipart_threshold=multipart_threshold,
        )
        self._run: _Run | None = None
        self._last_recorder: Recorder | None = None

    # ---- running ---------------------------------------------------------------------------------------

    def start(self) -> LocalHub:
        """
        Start the Hub, and return once it answers.

        Returns:
            `LocalHub`: This object.

        Raises:
            [`RuntimeError`](https://docs.python.org/3/library/exceptions.html#RuntimeError)
                If it is running already.
            [`OSError`](https://docs.python.org/3/library/exceptions.html#OSError)
                If it cannot listen on its port, or not write to `path`.
            [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
                If a repository in `path` is damaged.
        """
        if self._run:
            raise RuntimeError(f"This local Hub is already running, at {self.url}.")
        context = HubContext.create(self._settings)
        try:
            app = build_app(context)
            server = Server(HubMiddleware(app, context), self._settings.host, self._settings.port)
        except BaseException:
            context.store.close()
            raise
        self._run = _Run(context, server, endpoints(app))
        self._last_recorder = None
        return self

    def stop(self) -> None:
        """Stop the Hub, and return once every connection is closed. What it recorded stays readable."""
        if self._run:
            self._settle()
            run, self._run = self._run, None
            self._last_recorder = run.context.recorder
            run.server.stop()
            run.context.store.close()

    def __enter__(self) -> LocalHub:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The endpoint, for example `"http://127.0.0.1:8080"`."""
        return self._running.server.url

    @property
    def _running(self) -> _Run:
        if not self._run:
            raise RuntimeError("This local Hub is not running: start it, or use it as a context manager.")
        return self._run

    # ---- what it has seen ------------------------------------------------------------------------------

    @property
    def requests(self) -> list[SeenRequest]:
        """The requests so far, in the order of their answers."""
        return self._recorder.requests

    @property
    def commits(self) -> list[SeenCommit]:
        """The commits that have landed so far, merges included. A new repository's first one is not."""
        if self._run:
            self._settle()
        return self._recorder.commits

    @property
    def refusals(self) -> list[SeenRefusal]:
        """The answers with status 429 so far, and those with 409 of a repository that is carrying out a commit."""
        return self._recorder.refusals

    @property
    def bytes_received(self) -> int:
        """The bytes of all request bodies so far."""
        return sum(request.bytes_received for request in self.requests)

    def _settle(self) -> None:
        """Let the commits land whose time has come. A clock that reads `commits` runs in the Hub's own thread."""
        running = self._running
        if not running.server.is_this_thread:
            running.server.run(running.context.agenda.settle())

    @property
    def _recorder(self) -> Recorder:
        return self._last_recorder or self._running.context.recorder

    # ---- what it is made to do -------------------------------------------------------------------------

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The names that `on` takes."""
        return self._running.endpoints

    def answer(
        self,
        status: int,
        *,
        headers: dict[str, str] | None = None,
        body: str | bytes | dict[str, Any] = "",
        on: str | None = None,
        times: int = 1,
        after: int = 0,
        lands_in: float | None = None,
        holds: bool = True,
    ) -> None:
        """
        Answer the next requests with this instead of processing them.

        Args:
            status (`int`):
                The HTTP status.
            headers (`dict`, *optional*):
                Headers. Those that the Hub puts on every answer are added, except where `headers` has its own.
            body (`str`, `bytes` or `dict`, *optional*):
                The body. A `dict` is sent as JSON.
            on (`str`, *optional*):
                One of `endpoints`. Defaults to all.
            times (`int`, *optional*, defaults to `1`):
                How many requests are answered so.
            after (`int`, *optional*, defaults to `0`):
                How many requests are processed as usual first.
            lands_in (`float`, *optional*):
                Carry out the request after all, this many seconds of the Hub's time later. Defaults to never.
            holds (`bool`, *optional*, defaults to `True`):
                Whether the Hub has taken up the commit: its repository answers 409 until it lands. It does not land if
                the repository is busy already. With `False`, the request is still on its way, and holds nothing.

        Raises:
            [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
                If there is no such endpoint, or a number makes no sense.

        Example:
        ```python
        >>> from mat_vis_hub.local_hub import LocalHub
        >>> with LocalHub() as hub:
        ...     hub.answer(429, headers={"Retry-After": "30"}, body={"error": "slow down"}, on="commit", times=2)

        ```
        """
        content, media_type = encoded(body)
        has_type = any(name.lower() == "content-type" for name in headers or {})
        headers = {**({} if has_type else {"content-type": media_type}), **(headers or {})}
        self._add(Fault(on, times, after, status=status, headers=headers, body=content, lands_in=lands_in, holds=holds))

    def drop(
        self,
        *,
        on: str | None = None,
        applied: bool = False,
        times: int = 1,
        after: int = 0,
        lands_in: float | None = None,
        holds: bool = True,
    ) -> None:
        """
        Close the connection of the next requests without an answer.

        Args:
            on (`str`, *optional*):
                One of `endpoints`. Defaults to all.
            applied (`bool`, *optional*, defaults to `False`):
                Process the request first, so that only the answer is lost.
            times (`int`, *optional*, defaults to `1`):
                How many requests are dropped.
            after (`int`, *optional*, defaults to `0`):
                How many requests are processed as usual first.
            lands_in (`float`, *optional*):
                Carry out the request after all, this many seconds of the Hub's time later. Defaults to never.
            holds (`bool`, *optional*, defaults to `True`):
                Whether the Hub has taken up the commit: its repository answers 409 until it lands. It does not land if
                the repository is busy already. With `False`, the request is still on its way, and holds nothing.
        """
        self._add(Fault(on, times, after, drop=True, applied=applied, lands_in=lands_in, holds=holds))

    def delay(
        self, seconds: float, *, on: str | None = None, answer: bool = False, times: int = 1, after: int = 0
    ) -> None:
        """
        Wait before the next requests are processed, or before they are answered.

        Args:
            seconds (`float`):
                Real seconds, whatever `clock` says.
            on (`str`, *optional*):
                One of `endpoints`. Defaults to all.
            answer (`bool`, *optional*, defaults to `False`):
                Process the request first, and then wait with the answer.
            times (`int`, *optional*, defaults to `1`):
                How many requests are delayed.
            after (`int`, *optional*, defaults to `0`):
                How many requests are processed as usual first.
        """
        self._add(Fault(on, times, after, delay=seconds, delay_answer=answer))

    def truncate(self, *, on: str | None = None, applied: bool = True, times: int = 1, after: int = 0) -> None:
        """
        Close the connection of the next requests half way through the body of the answer.

        Args:
            on (`str`, *optional*):
                One of `endpoints`. Defaults to all.
            applied (`bool`, *optional*, defaults to `True`):
                Process the request. With `False`, the answer has status 200 all the same.
            times (`int`, *optional*, defaults to `1`):
                How many answers are cut off.
            after (`int`, *optional*, defaults to `0`):
                How many requests are processed as usual first.
        """
        self._add(Fault(on, times, after, truncate=True, applied=applied))

    def race(self, times: int = 1) -> None:
        """
        Let the next commits without `parent_commit` lose a race against another one: 412, and nothing is applied.

        Args:
            times (`int`, *optional*, defaults to `1`):
                How many commits.
        """
        self._running.context.faults.add_races(times)

    def clear(self) -> None:
        """Cancel what is left of `answer`, `drop`, `delay`, `truncate` and `race`. What is still to land does land."""
        self._running.context.faults.clear()

    def spend(self, repo_id: str, count: int = 1, *, repo_type: str = "model", token: str | None = None) -> None:
        """
        Use up commits of the limit that counts a repository's, as other writers would.

        Args:
            repo_id (`str`):
                The repository. It need not exist yet.
            count (`int`, *optional*, defaults to `1`):
                How many commits.
            repo_type (`str`, *optional*, defaults to `"model"`):
                `"model"`, `"dataset"` or `"space"`.
            token (`str`, *optional*):
                Whose commits they are, with `quota_scope="token"`.

        Raises:
            [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
                If there is no such `repo_type`, or no token where it matters.
        """
        if repo_type not in REPO_TYPES:
            raise ValueError(f"repo_type is {repo_type!r}; it is one of {', '.join(map(repr, REPO_TYPES))}.")
        context = self._running.context
        if context.quota_scope == "token" and token is None:
            raise ValueError('With quota_scope="token", spend() needs the token that spends.')
        context.commit_limit.spend(context.commit_key(repo_type, repo_id, f"Bearer {token}"), count)

    def _add(self, fault: Fault) -> None:
        if fault.on is not None and fault.on not in self.endpoints:
            raise ValueError(f"There is no endpoint {fault.on!r}; there are {', '.join(self.endpoints)}.")
        self._running.context.faults.add(fault)
