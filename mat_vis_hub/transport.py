"""The wrapped client: which requests are ours, what kind they are, and how they are sent again.

Every request of huggingface_hub leaves through the `send` method of the client that `get_session()` returns, whatever
the HTTP library. That method is wrapped once, on the client's class, so that it stays wrapped when huggingface_hub or
the user makes another client. A request is ours if it belongs to a call of a `ThrottledHfApi` in this thread, carries
the private header of one, or is sent by huggingface_hub inside `everywhere()`. Every other request passes unchanged.

The wrapper sees the finished request. What is retried was built once: nothing is read, hashed or uploaded again.

hf_xet sends requests of its own, past that client. Those of a download carry the private header, a random number.
"""

from __future__ import annotations

import copy
import functools
import inspect
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import get_session

from mat_vis_hub import buckets, errors, throttle, turn
from mat_vis_hub._hub.errors import is_refusal, raise_refusal
from mat_vis_hub._hub.routes import Route, route_of
from mat_vis_hub._hub.tokens import sent_in
from mat_vis_hub._internal import clock, sanitize
from mat_vis_hub._internal.per_process import PerProcess
from mat_vis_hub.throttle import Target, Throttle

if TYPE_CHECKING:
    from mat_vis_hub.throttle import Caller

MARK = "x-mat-vis-hub-call"  # the header by which a request names its `ThrottledHfApi`; removed before sending
_MAY_BE_REFUSALS = (409, 429)

_marks: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
_marked: WeakValueDictionary[str, Any] = WeakValueDictionary()
_lock = PerProcess(threading.Lock)
_everywhere: list[Caller] = []  # the latest one applies


class _Thread(threading.local):
    """What this thread is doing."""

    job: Caller | None = None  # whose job it runs: one that began inside `everywhere()`, or a method without headers
    sending = False  # whether it is inside a wrapped `send` already


_thread = _Thread()


def mark_of(caller: Caller) -> str:
    """The value of the header that names `caller`, for as long as it exists."""
    mark = _marks.get(caller)
    if mark is None:
        mark = _marks[caller] = uuid.uuid4().hex
        _marked[mark] = caller
    return mark


def install() -> bool:
    """
    Wrap the `send` method of huggingface_hub's client, unless that is done already.

    Returns:
        Whether requests pass through the wrapper. A client of the user's own may have no such method.
    """
    client = get_session()
    if "send" in getattr(client, "__dict__", ()):  # replaced on this one client
        return False
    send = getattr(type(client), "send", None)
    if not inspect.isfunction(send):
        return False
    if not hasattr(send, "_mat_vis_hub_wrapped"):
        with _lock.value:
            _wrap(next(cls for cls in type(client).__mro__ if "send" in vars(cls)))
    return True


def _wrap(cls: Any) -> None:
    send: Any = vars(cls)["send"]
    if hasattr(send, "_mat_vis_hub_wrapped"):
        return

    @functools.wraps(send)
    def wrapped(client: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        caller = _caller_of(client, request) or _caller_of_block(client, request)
        if caller is None or _thread.sending:  # redirects, and a subclass that calls super().send
            return send(client, request, *args, **kwargs)
        route = route_of(request.method, str(request.url))
        if route is None:
            return send(client, request, *args, **kwargs)
        send_once = functools.partial(_attempt, send, client, args, kwargs)
        return _Request(send_once, request, caller, route).send()

    wrapped._mat_vis_hub_wrapped = send  # type: ignore[attr-defined]  # how it is recognised
    cls.send = wrapped


def _caller_of(client: Any, request: Any) -> Caller | None:
    """Whose request it is; `None` if it is not ours. Takes the mark off."""
    mark = request.headers.pop(MARK) if MARK in request.headers else None
    current = throttle.current()
    if current is not None:
        caller: Caller | None = current.caller
    elif mark is not None:
        return _marked.get(mark)
    else:
        caller = _thread.job or (_everywhere[-1] if _everywhere else None)
    # Another client in this thread, such as a hook's, does not talk to the Hub.
    return caller if caller is not None and client is get_session() else None


def _caller_of_block(client: Any, request: Any) -> Caller | None:
    """Who holds the turn for a commit that this thread sends inside of a block of `turn`."""
    if not turn.is_in_block() or client is not get_session():
        return None
    route = route_of(request.method, str(request.url))
    if route is None or route.kind != "commit":
        return None
    repository, _ = route.about()
    held = turn.of_block(repository) if repository is not None else None
    caller: Caller | None = held.caller if held is not None else None
    return caller


class _Request:
    """
    One request of ours, sent when it is its turn, as often as it takes.

    Args:
        attempt (`Callable`): Sends a request once.
        request (`requests.PreparedRequest`, `httpx.Request` or `httpx2.Request`): What is sent.
        caller (`Caller`): Whose it is.
        route (`Route`): What it asks for.
    """

    def __init__(self, attempt: Callable[[Any], Any], request: Any, caller: Caller, route: Route) -> None:
        self._attempt = attempt
        self._request = request
        self._caller = caller
        self._route = route
        self._own_call: Throttle | None = None

    def send(self) -> Any:
        if self._route.kind == "commit":
            return self._send_commit()
        try:
            return self._send_when_possible()
        except Exception as error:
            if not _can_replay(self._request):
                raise
            return self._call.retry(error, self._send_when_possible)

    @property
    def _call(self) -> Throttle:
        """The call of ours that this request belongs to."""
        call = throttle.current() or self._own_call
        if call is None:
            repository, revision = self._route.about()
            call = self._own_call = Throttle(self._caller, Target(repository, revision, self._caller.source))
        return call

    def _send_commit(self) -> Any:
        # A loop that sends a commit again in smaller parts is handling the refusal of the larger one right now.
        handled = sys.exc_info()[1] if throttle.current() is None else None
        if handled is not None:
            repository, _ = self._route.about()
            if repository is not None and errors.is_pointless(handled, repository, clock.monotonic()):
                raise handled

        attempt: Callable[[], Any] = self._send_once
        if self._caller.retry.recover:
            from mat_vis_hub.commits.recovery import Recovery

            attempt = Recovery.of(self._call, self._request, self._route, self._send_once) or attempt

        def send() -> Any:
            response = attempt()
            if response.status_code >= 400:
                raise _Failed(response)  # the budget looks at it
            return response

        call = self._call
        if self._caller.budget is not None:  # inside `everywhere`, requests have tokens of their own
            call.token = sent_in(self._request.headers) or False
        try:
            return call.commit(send, can_retry=_can_replay(self._request), before_sending=self._wait_for_buckets)
        except _Failed as answer:
            return answer.response

    def _send_when_possible(self) -> Any:
        self._wait_for_buckets()
        try:
            return self._send_once()
        except HfHubHTTPError as error:
            existing = self._existing(error) if self._route.kind == "creation" else None
            if existing is None:
                raise
            return existing

    def _existing(self, error: HfHubHTTPError) -> Any | None:
        """The answer to the creation of a repository that exists, if only the quota of creations is in the way."""
        from mat_vis_hub._hub import creation
        from mat_vis_hub.retry_after import read_refusal

        if not creation.accepts_existing() or read_refusal(error.response).limiter != "creation":
            return None
        return creation.existing(error.response, self._request, self._api())

    def _send_once(self, request: Any = None) -> Any:
        """Send the request, or another one in its place, and remember what the response says about its buckets."""
        known = buckets.current.value
        words = known.words
        try:
            response = self._attempt(self._request if request is None else request)
        except HfHubHTTPError as refusal:
            self._read_buckets(refusal.response, known, words, "whoami" if self._route.kind == "whoami" else None)
            raise
        for redirect in response.history:  # a download is redirected to where the content is
            self._read_buckets(redirect, known, words)
        self._read_buckets(response, known, words)
        return response

    def _read_buckets(self, response: Any, known: buckets.Buckets, words: int, name: str | None = None) -> None:
        header = response.headers.get("RateLimit")
        if header is None or not (known or "r=0" in header):
            return
        if route_of(self._request.method, str(response.url)):
            known.read(header, self._account, words, name)

    def _wait_for_buckets(self) -> None:
        known = buckets.current.value
        while known and (spent := known.spent(self._account, self._route.buckets)) is not None:
            if not self._call.wait_for_bucket(spent):
                return

    @property
    def _account(self) -> buckets.Account:
        return buckets.Account(self._route.endpoint, hash(self._request.headers.get("Authorization")))

    def _api(self) -> HfApi:
        """Who sends another request for the same caller."""
        token = sent_in(self._request.headers) or False
        return HfApi(endpoint=self._route.endpoint, token=token, headers={MARK: mark_of(self._caller)})


def _attempt(send: Callable[..., Any], client: Any, args: Any, options: dict[str, Any], request: Any) -> Any:
    """Send the request once. A refusal is raised as huggingface_hub's exception, whatever its body is."""
    wants_stream = options.get("stream", False)
    _thread.sending = True
    try:
        # The body is read here, and not in `send`, which would lose a refusal whose body is broken.
        response = send(client, request, *args, **{**options, "stream": True})
    finally:
        _thread.sending = False
    if response.status_code in _MAY_BE_REFUSALS:
        broken: Exception | None = None
        try:
            _read(response)
        except Exception as error:
            broken = error
        if is_refusal(response):
            response.close()
            sanitize.register_secret(request.headers.get("authorization", "").removeprefix("Bearer "))
            raise_refusal(response)
        if broken is not None:  # it cannot be read twice
            response.close()
            raise broken
    if not wants_stream:
        try:
            _read(response)
        except BaseException:
            response.close()
            raise
    return response


class _Failed(Exception):
    """A commit was answered with an error that is no refusal."""

    def __init__(self, response: Any) -> None:
        super().__init__(response.status_code)
        self.response = response


def _can_replay(request: Any) -> bool:
    """Whether sending `request` twice sends the same bytes twice."""
    if hasattr(request, "body"):  # a request of `requests`
        return request.body is None or isinstance(request.body, (bytes, str))
    try:
        request.content  # noqa: B018  # httpx raises if the body is a stream
    except Exception:
        return False
    return True


def _read(response: Any) -> None:
    """Read the body of a streamed response."""
    if hasattr(response, "read"):
        response.read()
    else:
        response.content  # noqa: B018  # `requests` reads it on first use


@contextmanager
def job_of(caller: Caller) -> Iterator[None]:
    """Within this context, the requests of this thread that no other object sends are those of `caller`."""
    install()
    before, _thread.job = _thread.job, caller
    try:
        yield
    finally:
        _thread.job = before


# ---- everywhere ------------------------------------------------------------------------------------------------


@contextmanager
def everywhere(caller: Caller) -> Iterator[None]:
    """Within this context, `caller` applies to every request of huggingface_hub in this process."""
    install()
    with _lock.value:
        _everywhere.append(caller)
        _set_run_as_future(_run_as_future)  # until the last context ends
    try:
        yield
    finally:
        with _lock.value:
            index = max(index for index, each in enumerate(_everywhere) if each is caller)
            del _everywhere[index]
            if not _everywhere:
                _set_run_as_future(_plain_run_as_future)


_plain_run_as_future: Any = HfApi.run_as_future


def _set_run_as_future(function: Any) -> None:
    api_class: Any = HfApi
    api_class.run_as_future = function


@functools.wraps(_plain_run_as_future)
def _run_as_future(api: HfApi, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A job that begins inside `everywhere()` stays throttled when it ends later, also in threads of its own."""
    caller = _everywhere[-1] if _everywhere else None
    if caller is None:
        return _plain_run_as_future(api, fn, *args, **kwargs)
    args = tuple(_with_mark(arg, caller) if isinstance(arg, HfApi) else arg for arg in args)

    def job() -> Any:
        with job_of(caller):
            return fn(*args, **kwargs)

    return _plain_run_as_future(api, job)


def _with_mark(api: HfApi, caller: Caller) -> HfApi:
    marked = copy.copy(api)
    marked.headers = {**(api.headers or {}), MARK: mark_of(caller)}
    return marked
