"""What the Hub says when it refuses, word for word, and how it words a wait. Pure functions."""

from __future__ import annotations

import math
from typing import NamedTuple

CONFLICTS = {
    "new": "The branch was updated since you opened this page. Please refresh and try again.",
    "old": "A commit has happened since. Please refresh and try again.",
}
"""What the Hub says since March 2026, and what it said before."""
COMMIT_IN_PROGRESS = "Another commit operation is in progress for this repository. Please try again later."
QUEUE_IS_FULL = "maximum queue size reached"
QUEUE_TOOK_TOO_LONG = "maximum time in concurrency queue reached"
READ_ONLY = "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request"
MISSING_LFS_FILE = (
    "Your push was rejected because an LFS pointer pointed to a file that does not exist. For instance, this can "
    "happen if you used git push --no-verify to push your changes. Offending file: - "
)
GATEWAY_TIMEOUT = (
    "<html>\r\n<head><title>504 Gateway Time-out</title></head>\r\n<body>\r\n"
    "<center><h1>504 Gateway Time-out</h1></center>\r\n</body>\r\n</html>\r\n"
)

WORDINGS = ("distance", "strict", "window", "hourly")
_ADVICE = (
    " To reduce the number of commits, you can upload entire folders at once using the Hub Python library: "
    "https://huggingface.co/docs/huggingface_hub/guides/upload#upload-a-folder."
)
_SECONDS_PER_MINUTE, _MINUTES_PER_DAY = 60, 24 * 60
_MINUTES_PER_MONTH = 30 * _MINUTES_PER_DAY
_MINUTES_PER_YEAR = 365 * _MINUTES_PER_DAY


class Action(NamedTuple):
    """Something that has a quota, in the words of both generations of refusals."""

    name: str
    older_name: str
    advice: str = ""


COMMIT = Action("repository commits", "commit", _ADVICE)
CREATION = Action("repository creation", "repo creation")
PULL_REQUEST = Action("pull requests", "pull request")
DISCUSSION = Action("discussions", "discussion")


class Wording(NamedTuple):
    """
    How refusals are worded.

    Args:
        style (`str`): `"distance"` or `"strict"` with the wait as date-fns words it, `"window"` without a wait,
            `"hourly"` with neither.
        include_seconds (`bool`): date-fns' option for `"distance"`: waits below a minute are more precise.
    """

    style: str = "distance"
    include_seconds: bool = False

    def wait(self, seconds: float) -> str:
        if self.style == "strict":
            return strict_distance(seconds)
        return distance(seconds, include_seconds=self.include_seconds)


def quota_refusal(action: Action, limit: int, window: float, wait: float, wording: Wording = Wording()) -> str:  # noqa: B008  # immutable
    """The refusal of an action beyond `limit` per `window` seconds, `wait` seconds before the next one is accepted."""
    if wording.style == "hourly":
        return f"You have exceeded our hourly quotas for action: {action.older_name}. We invite you to retry later."
    refusal = f"You have exceeded the rate limit for {action.name} ({limit} per {window_name(window)})."
    if wording.style == "window":
        return refusal
    return f"{refusal} You can retry this action in {wording.wait(wait)}.{action.advice}"


def bucket_refusal(limit: int, window: float, bucket: str) -> str:
    """The refusal of a request beyond the `limit` of a bucket per `window` seconds."""
    period = _counted(int(window // 60), "minute") if window >= 60 and window % 60 == 0 else f"{window:g} seconds"
    return (
        f"We had to rate limit you, you hit the quota of {limit} {bucket} requests per {period} period. Upgrade to a "
        "PRO user or Team/Enterprise organization account (https://hf.co/pricing) to get higher limits. "
        "See https://huggingface.co/docs/hub/rate-limits"
    )


def window_name(seconds: float) -> str:
    """The window of a quota, as in "128 per hour"."""
    names: dict[float, str] = {60: "minute", 3600: "hour", 86400: "day"}
    return names.get(seconds, f"{seconds:g} seconds")


# ---- how date-fns words a wait --------------------------------------------------------------------------


def distance(seconds: float, *, include_seconds: bool = False) -> str:
    """Word a wait as date-fns' `formatDistance` does, which the Hub uses."""
    seconds = math.trunc(seconds)
    minutes = _rounded(seconds / _SECONDS_PER_MINUTE)
    if include_seconds and minutes < 2:
        return _below_two_minutes(seconds)
    if minutes < 1:
        return "less than a minute"
    if minutes < 45:
        return _counted(minutes, "minute")
    if minutes < _MINUTES_PER_DAY:
        return "about " + _counted(_rounded(minutes / 60), "hour")
    if minutes < _MINUTES_PER_MONTH:
        return _counted(1 if minutes < 42 * 60 else _rounded(minutes / _MINUTES_PER_DAY), "day")
    months = _rounded(minutes / _MINUTES_PER_MONTH)
    if minutes < 2 * _MINUTES_PER_MONTH:
        return "about " + _counted(months, "month")
    if minutes < _MINUTES_PER_YEAR:
        return _counted(min(months, 11), "month")
    return _years(minutes)


def _below_two_minutes(seconds: int) -> str:
    for bound in (5, 10, 20):
        if seconds < bound:
            return f"less than {bound} seconds"
    if seconds < 40:
        return "half a minute"
    return "less than a minute" if seconds < 60 else "1 minute"


def _years(minutes: int) -> str:
    """date-fns counts calendar months here. This counts years of 365 days, and twelfths of them."""
    years, rest = divmod(minutes, _MINUTES_PER_YEAR)
    months = rest * 12 // _MINUTES_PER_YEAR
    if months < 3:
        return "about " + _counted(years, "year")
    return "over " + _counted(years, "year") if months < 9 else "almost " + _counted(years + 1, "year")


def strict_distance(seconds: float) -> str:
    """Word a wait as date-fns' `formatDistanceStrict` does."""
    minutes = seconds / _SECONDS_PER_MINUTE
    if minutes < 1:
        return _counted(_rounded(seconds), "second")
    if minutes < 60:
        return _counted(_rounded(minutes), "minute")
    if minutes < _MINUTES_PER_DAY:
        return _counted(_rounded(minutes / 60), "hour")
    if minutes < _MINUTES_PER_MONTH:
        return _counted(_rounded(minutes / _MINUTES_PER_DAY), "day")
    months = _rounded(minutes / _MINUTES_PER_MONTH)
    if minutes < _MINUTES_PER_YEAR and months < 12:
        return _counted(months, "month")
    return _counted(max(1, _rounded(minutes / _MINUTES_PER_YEAR)), "year")


def _rounded(value: float) -> int:
    """Round halves up, as JavaScript's `Math.round` does. Python's `round` rounds them to even."""
    return math.floor(value + 0.5)


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
