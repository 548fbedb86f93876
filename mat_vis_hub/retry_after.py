"""Reads a refusal: takes a response, returns how long to wait and what refused it.

Three places may name the wait, and each is trusted only for what it is about:

* the `Retry-After` header ([RFC 9110, section 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3));
* the `RateLimit` header of
  [draft-ietf-httpapi-ratelimit-headers](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/),
  which the Hub sends with every response: it is the cause of a refusal only if nothing remains (`r=0`);
* the sentence in the body ("You can retry this action in about 1 hour"), the only one that is about commits.

Nothing here waits, logs or sends a request. The body is what a server or a proxy happened to send: reading it never
raises, and takes time in proportion to its length.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from mat_vis_hub._internal import clock

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_LONGEST_WAIT = 30 * _DAY  # a server that names more is wrong, or means "never"
_LARGEST_LIMIT = 1_000_000  # commits per window; a larger number is no quota of the Hub
_LONGEST_BODY = 65_536  # bytes; a refusal is a sentence, whatever a proxy wraps around it
_LONGEST_HEADER = 4096  # characters


@dataclass(frozen=True)
class RetryAfter:
    """
    How long a server asked us to wait, as an interval: it says "about 1 hour" from 44.5 minutes up to 89.5.

    No wait is longer than 30 days, whatever the server says.

    Args:
        at_least (`float`):
            Seconds. The server does not accept a request earlier.
        at_most (`float`):
            Seconds. The server accepts a request from then on.
        source (`str`):
            Where it was said: `"retry-after"`, `"ratelimit"` or `"body"`.
        limit (`int`, *optional*):
            The commits allowed per window, if the refusal named them.
        window (`float`, *optional*):
            Seconds in that window, if the refusal named it.
    """

    at_least: float
    at_most: float
    source: str
    limit: int | None = None
    window: float | None = None


class Cooldown(NamedTuple):
    """
    What a refusal asks of all who commit to the repository.

    Args:
        wait (`float`): Seconds during which no commit should be sent.
        limit (`int`, *optional*): Commits per window, if the refusal named them.
        window (`float`, *optional*): Seconds in that window, if the refusal named it.
    """

    wait: float
    limit: int | None = None
    window: float | None = None


class Refusal(NamedTuple):
    """
    Everything that a refusal says.

    Args:
        retry_after (`RetryAfter`, *optional*): The wait, if it named one that applies.
        floor (`float`): Seconds of a wait that it named for another quota. No answer, but a lower bound of the backoff.
        limit (`int`, *optional*): Commits per window, if it named them.
        window (`float`, *optional*): Seconds in that window, if it named it.
        limiter (`str`):
            What refused the request: `"commits"` (the quota of commits), `"lock"` (another commit is under way),
            `"queue"` (the git backend is busy), `"api"` or `"resolvers"` (a bucket of requests), `"creation"` (the
            quota of new repositories) or `"unknown"`.
        other_action (`bool`):
            Whether it named the quota of an action that is no commit: pull requests, discussions, new repositories.
            Other commits are not affected by it.
        lost (`bool`):
            Whether it is no refusal but a lost answer: the request may have been carried out.
    """

    retry_after: RetryAfter | None
    floor: float = 0.0
    limit: int | None = None
    window: float | None = None
    limiter: str = "unknown"
    other_action: bool = False
    lost: bool = False

    @property
    def concerns_commits(self) -> bool:
        """Whether other commits would be refused as well: not so for contention, other quotas, and spent buckets."""
        is_bucket = self.limiter in ("api", "resolvers")
        return not (self.is_contention or self.other_action or self.lost or is_bucket)

    @property
    def is_contention(self) -> bool:
        """Whether another commit or the git backend was in the way, which clears within seconds."""
        return self.limiter in ("lock", "queue")


def parse_retry_after(response: Any, *, now: float | None = None) -> RetryAfter | None:
    """
    Read how long a refusal (HTTP 429) asks us to wait.

    If more than one place names a wait, the longest wins. A hint about another quota (a `RateLimit` with `r > 0`, or
    "Retry after 271 seconds (949/1000 requests remaining ...)") is no answer.

    Args:
        response (`requests.Response`, `httpx.Response` or alike):
            Anything with `.headers` and `.content` or `.text`.
        now (`float`, *optional*):
            Seconds since the epoch, against which a date in `Retry-After` is read if the response carries no `Date` of
            its own. Defaults to the current time.

    Returns:
        [`RetryAfter`] or `None`: `None` if the response says nothing usable.

    Example:
    ```python
    >>> from types import SimpleNamespace
    >>> from mat_vis_hub import parse_retry_after
    >>> refusal = SimpleNamespace(
    ...     headers={"RateLimit": '"api";r=949;t=271'},
    ...     text='{"error": "You have exceeded the rate limit for repository commits (128 per hour). '
    ...     'You can retry this action in 43 minutes."}',
    ... )
    >>> parse_retry_after(refusal)
    RetryAfter(at_least=2550.0, at_most=2610.0, source='body', limit=128, window=3600.0)

    ```
    """
    return read_refusal(response, now=now).retry_after


def read_refusal(response: Any, *, now: float | None = None) -> Refusal:
    """Read everything that a refusal says. Same arguments as [`parse_retry_after`]. Never raises."""
    headers = _headers(response)
    text = _text(response, headers)
    # Any other status has nothing to do with the buckets of requests, and neither has contention.
    status = getattr(response, "status_code", None)
    buckets = [] if isinstance(status, int) and status != 429 else buckets_of(headers.get("ratelimit", ""))
    limiter = _limiter(text, buckets)
    if limiter in ("lock", "queue"):
        buckets = []
    limit, window = _commit_quota(text)
    hints: list[RetryAfter] = []
    floor = 0.0
    for source, at_least, at_most, is_cause in (
        *_from_retry_after(headers, now),
        *(("ratelimit", bucket.reset, bucket.reset, bucket.is_spent) for bucket in buckets),
        *_from_sentences(text),
    ):
        at_least, at_most = min(at_least, _LONGEST_WAIT), min(at_most, _LONGEST_WAIT)
        if at_most <= 0:
            continue
        if is_cause:
            hints.append(RetryAfter(at_least, at_most, source, limit, window))
        else:
            floor = max(floor, at_least)
    longest = max(hints, key=lambda hint: (hint.at_least, hint.at_most), default=None)
    other_action = limiter in ("creation", _OTHER_ACTION)
    return Refusal(longest, floor, limit, window, "unknown" if limiter == _OTHER_ACTION else limiter, other_action)


# A wait on its way: where it was said, at least, at most, and whether it is about what refused the request.
_Hint = tuple[str, float, float, bool]


_READ = frozenset({"retry-after", "date", "ratelimit", "x-error-message"})


def _headers(response: Any) -> dict[str, str]:
    """The headers that matter, by lower-case name. A repeated header is joined by commas, as HTTP allows."""
    joined: dict[str, str] = {}
    with contextlib.suppress(Exception):  # a stand-in for a response may hold anything
        headers = response.headers
        for name, value in headers.items() if hasattr(headers, "items") else headers:
            key = (name if isinstance(name, str) else _decoded(name)).lower()
            if key not in _READ:
                continue
            for single in value if isinstance(value, (list, tuple)) else (value,):
                before = f"{joined[key]}, " if key in joined else ""
                joined[key] = (before + _decoded(single))[:_LONGEST_BODY]
    return joined


def _decoded(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _from_retry_after(headers: Mapping[str, str], now: float | None) -> Iterator[_Hint]:
    for value in _retry_after_values(headers.get("retry-after", "")[:_LONGEST_HEADER]):
        if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", value):
            seconds = float(value)
        elif (then := _http_date(value)) is not None:
            sent = _http_date(headers.get("date", ""))
            seconds = then - (sent if sent is not None else now if now is not None else clock.wall())
        else:
            continue
        # "At once" and "in the past" come from servers whose clock is wrong: the policy knows better.
        seconds = max(0.0, seconds)
        yield "retry-after", seconds, seconds, True


def _retry_after_values(header: str) -> Iterator[str]:
    """The values of a header that may have been sent more than once. Two of the three date forms hold a comma."""
    parts = [part.strip() for part in header.split(",")]
    for part, following in zip(parts, [*parts[1:], ""], strict=True):
        yield f"{part}, {following}" if part.isalpha() else part


def _http_date(value: str) -> float | None:
    """Seconds since the epoch, from any of RFC 9110's three date forms."""
    try:
        parsed = parsedate_to_datetime(value[:_LONGEST_HEADER])
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    # RFC 9110 always writes GMT, so a date without a zone is in its asctime form.
    offset = parsed.utcoffset()
    seconds = (parsed.replace(tzinfo=None) - _EPOCH).total_seconds()
    return seconds - (offset.total_seconds() if offset is not None else 0.0)


_EPOCH = parsedate_to_datetime("Thu, 01 Jan 1970 00:00:00 -0000")


class Bucket(NamedTuple):
    """One item of a `RateLimit` header: a bucket of requests, whether it is spent, and when it is refilled."""

    name: str
    is_spent: bool
    reset: float  # seconds


def buckets_of(header: str) -> list[Bucket]:
    """The items of a `RateLimit` header. What is no such item is left out."""
    buckets = []
    for item in header[:_LONGEST_HEADER].lower().split(","):
        name, *pairs = (part.strip() for part in item.split(";"))
        values = {key.strip(): value.strip() for key, _, value in (pair.partition("=") for pair in pairs)}
        if all(re.fullmatch("[0-9]{1,12}", values.get(key, "")) for key in "rt"):
            buckets.append(Bucket(name.strip('"'), int(values["r"]) == 0, float(values["t"])))
    return buckets


_BETWEEN_SENTENCES = "\0"  # matches neither a space nor a word


def _text(response: Any, headers: Mapping[str, str]) -> str:
    """
    What the server says in words, in lower case and with single spaces.

    That is the strings of a JSON body, or else the body, and the Hub's own error header.
    """
    body = _body(response)
    try:
        # Numbers are not read: Python refuses to convert one of more than 4,300 digits.
        sentences = _strings(json.loads(body, parse_int=float))
    except (ValueError, RecursionError):
        sentences = [body]
    sentences = [headers.get("x-error-message", ""), *sentences]
    return _BETWEEN_SENTENCES.join(" ".join(sentence.split()) for sentence in sentences).lower()


def _body(response: Any) -> str:
    """The beginning of the body. Its bytes, if there are any: guessing their encoding can take a client seconds."""
    for attribute in ("content", "text"):
        try:
            value = getattr(response, attribute)
        except Exception:  # cut off, badly compressed, or streamed and not read: a refusal without a sentence
            continue
        if isinstance(value, (bytes, bytearray)):
            return bytes(value[:_LONGEST_BODY]).decode("utf-8-sig", "replace")
        if isinstance(value, str):
            return value[:_LONGEST_BODY]
    return ""


def _strings(value: Any) -> list[str]:
    """All strings in a JSON value, in order."""
    strings = []
    left = [value]
    while left:
        member = left.pop()
        if isinstance(member, str):
            strings.append(member)
        elif isinstance(member, dict):
            left.extend(reversed(member.values()))
        elif isinstance(member, list):
            left.extend(reversed(member))
    return strings


# Patterns match lower case and single spaces. They are compiled by the first refusal, and then kept by `re`. No part of
# one can match what its neighbour matches, so that none backtracks further than over one word.
_OTHER_ACTION = "other action"
_LIMITERS = (
    ("lock", r"another commit operation is in progress"),
    ("queue", r"maximum queue size reached|maximum time in concurrency queue reached"),
    ("commits", r"rate limit for repository commits|quotas? for action:? commit"),
    ("creation", r"rate limit for repository creation|quotas? for action:? (?:repo(?:sitory)?[ _-]?creat|create)"),
    (_OTHER_ACTION, r"rate limit for \w|quotas? for action"),  # pull requests, discussions, ...
    ("api", r"quota of [0-9,]{1,12} api requests"),
    ("resolvers", r"quota of [0-9,]{1,12} resolvers? requests"),
)


def _limiter(text: str, buckets: Iterable[Bucket]) -> str:
    """What refused the request. The sentence is about this request; a spent bucket may be a coincidence."""
    for limiter, pattern in _LIMITERS:
        if re.search(pattern, text):
            return limiter
    spent = [bucket.name for bucket in buckets if bucket.is_spent and bucket.name in ("api", "resolvers")]
    return spent[0] if spent else "unknown"


_WAIT = r"""(?x)
        \b(?:retry|try)(?:[ ](?:again|the|your|request|(?P<rounded>this[ ]action)|this))*[ ](?:in|after)[ ]
        (?P<fuzz>less[ ]than[ ]|about[ ]|over[ ]|almost[ ])?
        (?P<number>[0-9]{1,12}(?:\.[0-9]{1,9})?|an?|half[ ]an?)[ ]?
        (?P<unit>seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|months?|years?)\b
        (?:[ ]?\([ ]?(?P<left>[0-9]{1,12})[ ]?/[ ]?[0-9]{1,12}[ ]requests[ ]remaining)?"""


def _from_sentences(text: str) -> Iterator[_Hint]:
    for match in re.finditer(_WAIT, text):
        at_least, at_most = _interval(match["fuzz"] or "", match["number"], match["unit"], bool(match["rounded"]))
        yield "body", at_least, at_most, not int(match["left"] or 0)


def _interval(fuzz: str, number: str, unit: str, rounded: bool) -> tuple[float, float]:
    """
    The seconds for which date-fns says these words, with `formatDistance` or `formatDistanceStrict`.

    `formatDistance` rounds to whole minutes, halves up. From 44.5 minutes on it says "about 1 hour", from 23 hours 59.5
    minutes "1 day", from 42 hours "2 days", from 30 days "about 1 month". `formatDistanceStrict` rounds to whole units
    and says "1 hour" from 60 minutes. Where both say the same words, the interval covers both. Seconds are `rounded` in
    the Hub's sentence; other servers are exact. Months and years are longer than the longest wait.
    """
    n = 0.5 if number.startswith("half") else 1.0 if number in ("a", "an") else float(number)
    if unit.startswith(("mo", "y")):
        shortest = _LONGEST_WAIT - (30.0 if (fuzz, n, unit) == ("about ", 1, "month") else 0.0)
        return (shortest, _LONGEST_WAIT) if n > 0 else (0.0, 0.0)
    length, most = {"s": (1.0, 60), "m": (_MINUTE, 60), "h": (_HOUR, 24), "d": (_DAY, 30), "w": (7 * _DAY, 0)}[unit[0]]
    if fuzz.startswith("less"):
        return _less_than(n * length)
    if unit.startswith("s") and not (rounded and n.is_integer()):
        return n, n
    if n == 0.5:  # "half a minute" is said from 20 seconds up to 40
        return n * length - length / 6, n * length + length / 6
    # Minutes are rounded before "about N hours" and "N days" are.
    earlier = 30.0 if unit.startswith("d") or (fuzz and unit.startswith("h")) else 0.0
    earliest, latest = (n - 0.5) * length - earlier, (n + 0.5) * length
    if fuzz and unit.startswith("h"):
        latest -= 30.0
    if n == most:  # from then on, the next unit is said
        latest = n * length - (30.0 if fuzz else 0.0)
    if n == 1 and unit.startswith("h"):
        earliest = 44.5 * _MINUTE if fuzz else _HOUR
    if n == 1 and unit.startswith("d"):
        earliest, latest = _DAY - earlier, 1.75 * _DAY - earlier
    return max(0.0, earliest), latest


def _less_than(seconds: float) -> tuple[float, float]:
    """ "Less than 5 seconds" is followed by "less than 10 seconds" and that by "less than 20 seconds"."""
    return (seconds / 2, seconds) if seconds in (10.0, 20.0) else (0.0, seconds)


_QUOTA = (
    r"rate limit for repository commits ?\( ?(?P<limit>[0-9][0-9,]{0,11}) per "
    r"(?P<count>[0-9]{1,9}(?:\.[0-9]{1,9})?)? ?(?P<unit>second|minute|hour|day)s?\b"
)
_UNITS = {"second": 1.0, "minute": _MINUTE, "hour": _HOUR, "day": _DAY}
_OLD_QUOTA = r"\bhourly quotas? for action:? commit"


def _commit_quota(text: str) -> tuple[int | None, float | None]:
    """The quota of commits that the refusal named: how many, and per how many seconds."""
    if match := re.search(_QUOTA, text):
        limit = int(match["limit"].replace(",", ""))
        window = min(float(match["count"] or 1) * _UNITS[match["unit"]], _LONGEST_WAIT)
        return (limit if 0 < limit <= _LARGEST_LIMIT else None), (window or None)
    return None, (_HOUR if re.search(_OLD_QUOTA, text) else None)
