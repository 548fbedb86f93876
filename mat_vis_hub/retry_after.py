"""Read a refusal: an HTTP 429 in, what the server asked for out.

Three places may name the wait, and each is trusted only for what it speaks about:

* the `Retry-After` header ([RFC 9110, section 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3));
* the `RateLimit` header of
  [draft-ietf-httpapi-ratelimit-headers](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/),
  which the Hub sends on every response: it is the cause of a refusal only where nothing remains (`r=0`);
* the sentence in the body ("You can retry this action in about 1 hour"), the only one that knows about commits.

Nothing here waits, logs, or asks the network.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from mat_vis_hub._internal import clock

_MINUTE, _HOUR, _DAY, _MONTH = 60.0, 3600.0, 86400.0, 30 * 86400.0
_LONGEST_BODY = 65_536  # characters; a refusal is a sentence, whatever a proxy wraps around it


@dataclass(frozen=True)
class RetryAfter:
    """
    What a server asked us to wait, as an interval: "about 1 hour" is said from 44.5 minutes up to 89.5.

    Args:
        at_least (`float`):
            Seconds; the earliest moment the server may let us in.
        at_most (`float`):
            Seconds; the latest moment that fits what it said.
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
    What a refusal asks of everyone who commits to the repository.

    Args:
        wait (`float`): Seconds during which no commit should be sent.
        limit (`int`, *optional*): Commits per window, if the refusal named them.
        window (`float`, *optional*): Seconds in that window, if the refusal named it.
    """

    wait: float
    limit: int | None = None
    window: float | None = None


class Refusal(NamedTuple):
    """All that a refusal says. `floor` is a hint about another quota: no answer, but no call before it helps."""

    retry_after: RetryAfter | None
    floor: float = 0.0
    limit: int | None = None
    window: float | None = None
    limiter: str = "unknown"


def parse_retry_after(response: Any, *, now: float | None = None) -> RetryAfter | None:
    """
    Read how long an HTTP 429 asks us to wait.

    Where more than one place names a wait, the longest wins. A hint about another quota (a `RateLimit` with `r > 0`,
    or "Retry after 271 seconds (949/1000 requests remaining ...)") is no answer.

    Args:
        response (`requests.Response`, `httpx.Response` or alike):
            Anything with `.headers` and `.text`.
        now (`float`, *optional*):
            Seconds since the epoch, against which a date in `Retry-After` is read where the response carries no
            `Date` of its own. Defaults to the current time.

    Returns:
        [`RetryAfter`] or `None`: `None` where nothing usable was said.

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
    """Read everything a refusal says. Same arguments as [`parse_retry_after`]."""
    headers = {str(name).lower(): str(value) for name, value in dict(getattr(response, "headers", {})).items()}
    sentences = list(_sentences(response, headers))
    limit, window = _commit_quota(sentences)
    hints: list[RetryAfter] = []
    floor = 0.0
    for source, at_least, at_most, is_cause in (
        *_from_retry_after(headers, now),
        *_from_ratelimit(headers),
        *_from_sentences(sentences),
    ):
        if is_cause:
            hints.append(RetryAfter(at_least, at_most, source, limit, window))
        else:
            floor = max(floor, at_least)
    longest = max(hints, key=lambda hint: (hint.at_least, hint.at_most), default=None)
    return Refusal(longest, floor, limit, window)


# A hint on its way: where it was said, at least, at most, and whether it speaks about what refused us.
_Hint = tuple[str, float, float, bool]


def _from_retry_after(headers: Mapping[str, str], now: float | None) -> Iterator[_Hint]:
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", value):
        seconds = float(value)
    else:
        then = _http_date(value)
        if then is None:
            return
        sent = _http_date(headers.get("date", ""))
        reference = sent if sent is not None else now if now is not None else clock.wall()
        seconds = then - reference
    if seconds > 0:  # "at once" and "in the past" are what a broken clock says: the policy knows better
        yield "retry-after", seconds, seconds, True


def _http_date(value: str) -> float | None:
    """Seconds since the epoch, from any of RFC 9110's three date forms."""
    try:
        parsed = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    # RFC 9110 writes GMT always, so a date without a zone is one of its asctime form.
    offset = parsed.utcoffset()
    seconds = (parsed.replace(tzinfo=None) - _EPOCH).total_seconds()
    return seconds - (offset.total_seconds() if offset is not None else 0.0)


_EPOCH = parsedate_to_datetime("Thu, 01 Jan 1970 00:00:00 -0000")


def _from_ratelimit(headers: Mapping[str, str]) -> Iterator[_Hint]:
    for item in headers.get("ratelimit", "").split(","):
        parameters = dict(re.findall(r";\s*([a-z*][a-z0-9_.*-]*)\s*=\s*([0-9]{1,12})(?![0-9])", item.lower()))
        if "r" in parameters and "t" in parameters:
            seconds = float(parameters["t"])
            if seconds > 0:
                yield "ratelimit", seconds, seconds, int(parameters["r"]) == 0


def _sentences(response: Any, headers: Mapping[str, str]) -> Iterator[str]:
    """What the server says in words: the strings of a JSON body, or the body; and the Hub's own error header."""
    if message := headers.get("x-error-message"):
        yield message
    try:
        text = response.text
    except Exception:  # a streamed or half-read body has no text: that is a refusal without a sentence
        return
    if not isinstance(text, str):
        return
    text = text[:_LONGEST_BODY]
    try:
        yield from _strings(json.loads(text))
    except (ValueError, RecursionError):
        yield text


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _strings(member)
    elif isinstance(value, list):
        for member in value:
            yield from _strings(member)


# Patterns are compiled by the first refusal that they read, and then kept by `re`.
_WAIT = r"""(?ix)
        \b(?:retry|try)\b (?:\s+(?:again|this|the|your|action|request))* \s+ (?:in|after)\s+
        (?P<fuzz>less\s+than\s+|about\s+|over\s+|almost\s+)?
        (?P<number>[0-9]{1,12}(?:\.[0-9]{1,9})?|an?|half\s+a)\s*
        (?P<unit>seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|months?|years?)\b
        (?P<remaining>\s*\(\s*(?P<left>[0-9]+)\s*/\s*[0-9]+\s+requests\s+remaining)?"""


def _from_sentences(sentences: list[str]) -> Iterator[_Hint]:
    for sentence in sentences:
        for match in re.finditer(_WAIT, sentence):
            at_least, at_most = _interval(match)
            left = match["left"]
            if at_most > 0:
                yield "body", at_least, at_most, left is None or int(left) == 0


def _interval(match: re.Match[str]) -> tuple[float, float]:
    """
    The seconds for which date-fns' `formatDistance` would have said these words.

    It rounds to whole minutes (halves up), says "about N hours" from 45 minutes on, "1 day" up to 42 hours, days up to
    30, and then months. Seconds are exact: `formatDistance` never says them without "less than".
    """
    fuzz = (match["fuzz"] or "").split(" ")[0].lower()
    number = match["number"].lower()
    n = 0.5 if number.startswith("half") else 1.0 if number in ("a", "an") else float(number)
    unit = match["unit"].lower()
    if unit.startswith(("mo", "y")):
        length = _MONTH if unit.startswith("mo") else 365 * _DAY
        return (n - 0.5) * length, (n + 1.0) * length
    if unit.startswith("s"):
        return (0.0 if fuzz == "less" else n), n
    if unit.startswith("m"):
        return (0.0, 30.0) if fuzz == "less" else ((n - 0.5) * _MINUTE, (n + 0.5) * _MINUTE)
    if unit.startswith("h"):
        earliest = 44.5 * _MINUTE if n == 1 else (n - 0.5) * _HOUR - 30.0
        return earliest, (n + 0.5) * _HOUR - 30.0
    earliest = _DAY - 30.0 if n == 1 else (n - 0.5) * _DAY - 30.0
    return earliest, (1.75 if n == 1 else n + 0.5) * _DAY - 30.0


_QUOTA = (
    r"(?i)rate limit for repository commits\s*\(\s*(?P<limit>[0-9][0-9,]{0,11})\s+per\s+"
    r"(?P<count>[0-9]{1,9}(?:\.[0-9]{1,9})?)?\s*(?P<unit>second|minute|hour|day)s?\b"
)
_UNITS = {"second": 1.0, "minute": _MINUTE, "hour": _HOUR, "day": _DAY}
_OLD_QUOTA = r"(?i)\bhourly quotas? for action:? commit"


def _commit_quota(sentences: list[str]) -> tuple[int | None, float | None]:
    """The quota of commits that the refusal named: how many, and per how many seconds."""
    for sentence in sentences:
        if match := re.search(_QUOTA, sentence):
            window = float(match["count"] or 1) * _UNITS[match["unit"].lower()]
            limit = int(match["limit"].replace(",", ""))
            return (limit or None), (window if window > 0 and math.isfinite(window) else None)
        if re.search(_OLD_QUOTA, sentence):
            return None, _HOUR
    return None, None
