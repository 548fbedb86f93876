"""What an exception or a response means: a refusal, a commit that may have landed, or a plain error."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple, NoReturn

from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import hf_raise_for_status

_REFUSED, _CONFLICT = 429, 409
# Of the conflicts, only this one is over when the other commit is. Nothing has been applied.
_COMMIT_LOCK = "another commit operation is in progress"
# A gateway or an overloaded server sends these although the Hub may still carry out the request.
_MAY_HAVE_LANDED = (500, 502, 503, 504)
# The exceptions of requests, httpx and httpx2, and Python's own, by name: no HTTP library is imported.
_LOST = frozenset(
    {"TransportError", "DecodingError", "ConnectionError", "Timeout", "TimeoutError"}
    | {"ChunkedEncodingError", "ContentDecodingError", "JSONDecodeError"}
)
_NOT_LOST = frozenset({"UnsupportedProtocol", "LocalProtocolError", "SSLCertVerificationError", "OfflineModeIsEnabled"})
_TOO_LARGE = (413, 504)
_TIMEOUTS = ("ReadTimeout", "WriteTimeout")
_COMMIT_PATH = "/commit/"
_LONGEST_MESSAGE = 1000  # characters
# hf_xet sends requests of its own, and says in these words what became of one: `ConnectionError("Rate limited: Request
# error: HTTP status client error (429 Too Many Requests), domain: https://huggingface.co/api/.../xet-write-token/main")`.
_REFUSED_XET = r"HTTP status client error \(429 Too Many Requests\)"
_URL = r"https?://[^\s()]+"
# The tokens of Xet count as requests of the API. Nobody kept the header that names the wait.
_XET_TOKEN, _API_BUCKET = r"/api/.*/xet-\w+-token", {"RateLimit": '"api";r=0;t=0'}
# `requests.RetryError`: urllib3 retried inside the session and discarded the last response.
_RETRIES_EXHAUSTED = r"too many (\d{3}) error responses"


class DiscardedResponse(NamedTuple):
    """
    Stands in for a response of which only the status is known.

    Args:
        status_code (`int`): The status.
        url (`str`, *optional*): The address that was requested, if the exception names it.
        headers (`dict`, *optional*): Which bucket refused it, if that is known without them: nobody kept them.
        text (`str`, *optional*): Empty: nobody kept it.
    """

    status_code: int
    url: str = ""
    headers: Mapping[str, str] = {}
    text: str = ""


def status_of(error: BaseException | None) -> int | None:
    """
    The HTTP status that caused `error`.

    Args:
        error (`BaseException`, *optional*): Any exception. Its chain of `__cause__` is searched as well.

    Returns:
        The status of the first exception that carries a response, or `None` if none of them does.

    Example:
    ```python
    >>> from types import SimpleNamespace
    >>> error = OSError("Forbidden")
    >>> error.response = SimpleNamespace(status_code=403)
    >>> status_of(error), status_of(OSError("disk full"))
    (403, None)

    ```
    """
    response = _response_of(error)
    return None if response is None else int(response.status_code)


def refused_response(error: BaseException | None) -> Any | None:
    """
    The response of the refusal that `error` is, or was raised from.

    Args:
        error (`BaseException`, *optional*):
            Any exception. A failed upload of a large file arrives as `RuntimeError`, raised from the 429. A session
            whose urllib3 retries used up their attempts raises `requests.RetryError`, which has no response. Neither
            has the `ConnectionError` of hf_xet.

    Returns:
        The response, a [`DiscardedResponse`] if the session discarded it, or `None` if `error` is not a refusal.
    """
    response = _response_of(error)
    return response if response is not None and is_refusal(response) else None


def is_refusal(response: Any) -> bool:
    """
    Whether a response refuses a request that can be sent again: 429, or 409 while another commit is carried out.

    Args:
        response (`requests.Response`, `httpx.Response` or `httpx2.Response`): The response, with its body read.
    """
    if response.status_code == _CONFLICT:
        return _COMMIT_LOCK in _text_of(response).lower()
    return bool(response.status_code == _REFUSED)


def may_have_landed(error: BaseException) -> bool:
    """
    Whether a commit may have landed although sending it raised `error`.

    Args:
        error (`BaseException`): What `create_commit` raised.

    Returns:
        `True` if the commit's request was answered with 500, 502, 503 or 504, or its connection broke. `False` for
        every other answer, and for what failed before the commit's request.
    """
    response = getattr(error, "response", None)
    if response is None:
        response = _discarded(error)
    if response is not None:
        status = getattr(response, "status_code", None)
        return status in _MAY_HAVE_LANDED and _COMMIT_PATH in str(getattr(response, "url", ""))
    try:
        request = error.request  # type: ignore[attr-defined]  # of the transports' exceptions
    except AttributeError:
        return False  # not an exception of a transport
    except RuntimeError:
        return True  # httpx does not know which request failed, so it may have been the commit's
    return request is None or _COMMIT_PATH in str(request.url)


def is_of_no_commit(error: BaseException) -> bool:
    """Whether it was certainly no commit's request that raised `error`."""
    sent: Any = getattr(error, "response", None)
    try:
        sent = error.request if sent is None else sent  # type: ignore[attr-defined]  # of the transports' exceptions
    except (AttributeError, RuntimeError):  # httpx does not know which request failed
        return False
    url = str(getattr(sent, "url", "") or "")
    return bool(url) and _COMMIT_PATH not in url


def is_lost(error: BaseException) -> bool:
    """
    Whether `error` leaves open what the server has done: its answer was lost, or there was none.

    Args:
        error (`BaseException`): What a request raised.

    Returns:
        `True` for 500, 502, 503 and 504, for a connection that could not be made, broke or timed out, and for an answer
        that arrived damaged. `False` for every other answer, and for what no server has to do with: an invalid
        address or certificate, the offline mode.
    """
    response = getattr(error, "response", None)
    if getattr(response, "status_code", None) is None:
        response = _discarded(error)
    if response is not None:
        return response.status_code in _MAY_HAVE_LANDED
    return not _LOST.isdisjoint(_names_of(error)) and all(_NOT_LOST.isdisjoint(_names_of(e)) for e in _contexts(error))


def was_cut_off(error: BaseException) -> bool:
    """
    Whether a commit was too large or took too long (413, 504, or a timeout), so that a smaller one may succeed.

    Args:
        error (`BaseException`): What `create_commit` raised.
    """
    response = getattr(error, "response", None)
    if response is not None:
        status = getattr(response, "status_code", None)
        return status in _TOO_LARGE and _COMMIT_PATH in str(getattr(response, "url", ""))
    names = [cls.__name__ for cls in type(error).__mro__]  # `requests`, `httpx` and `httpx2` call them alike
    return any(name in _TIMEOUTS for name in names) and may_have_landed(error)


def refusal_error(response: Any) -> HfHubHTTPError:
    """
    The exception that huggingface_hub raises for a response with an error status.

    huggingface_hub's own formatter fails on some bodies: JSON that is no object, text that is not UTF-8, content that
    is badly compressed or cut off. Then this is an `HfHubHTTPError` of ours, with the same attributes.

    Args:
        response (`requests.Response`, `httpx.Response` or `httpx2.Response`):
            The response. Its body may be unread.

    Raises:
        [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
            If the status is not an error's.
    """
    try:
        hf_raise_for_status(response)
    except HfHubHTTPError as error:
        return error
    except Exception as failure:
        body = _text_of(response)
        message = [f"{_status_line(response)} for url: {response.url}.", body or f"(No readable body: {failure!r})"]
        return HfHubHTTPError("\n\n".join(message), response=response, server_message=body or None)
    raise ValueError(f"{_status_line(response)} is not an error.")


def raise_refusal(response: Any) -> NoReturn:
    """Raise [`refusal_error`] of this response."""
    raise refusal_error(response)


def _response_of(error: BaseException | None) -> Any | None:
    for link in causes(error):
        response = getattr(link, "response", None)
        if getattr(response, "status_code", None) is not None:
            return response
        if (discarded := _discarded(link)) is not None:
            return discarded
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """`error` and the exceptions it was raised from, each once. A chain may be circular."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__


def _contexts(error: BaseException | None) -> Iterator[BaseException]:
    """`error` and the exceptions during which it was raised, each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _names_of(error: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}


def _discarded(error: BaseException) -> DiscardedResponse | None:
    return _discarded_by_xet(error) or _discarded_by_urllib3(error)


def _discarded_by_xet(error: BaseException) -> DiscardedResponse | None:
    if not isinstance(error, (ConnectionError, RuntimeError)):
        return None
    message = str(error)
    if not re.search(_REFUSED_XET, message):
        return None
    url = match[0] if (match := re.search(_URL, message)) else ""
    return DiscardedResponse(_REFUSED, url, _API_BUCKET if re.search(_XET_TOKEN, url) else {})


def _discarded_by_urllib3(error: BaseException) -> DiscardedResponse | None:
    names = _names_of(error)
    if names.isdisjoint({"RetryError", "MaxRetryError"}):
        return None
    match = re.search(_RETRIES_EXHAUSTED, str(error))
    if match is None:
        return None
    return DiscardedResponse(int(match[1]), url=str(getattr(getattr(error, "request", None), "url", "")))


def _status_line(response: Any) -> str:
    try:
        return f"{response.status_code} {HTTPStatus(response.status_code).phrase}"
    except ValueError:
        return str(response.status_code)


def _text_of(response: Any) -> str:
    try:
        text = str(response.text).strip()
    except Exception:  # never read, badly compressed, cut off
        return ""
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + "..."
