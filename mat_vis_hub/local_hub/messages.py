"""What the Hub says when it refuses, word for word, and how it words a wait. Pure functions."""

from __future__ import annotations

import math

CONFLICT = "A commit has happened since. Please refresh and try again."
COMMIT_IN_PROGRESS = "Another commit operation is in progress for this repository. Please try again later."
READ_ONLY = "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request"
MISSING_LFS_FILE = (
    "Your push was rejected because an LFS pointer pointed to a file that does not exist. For instance, this can "
    "happen if you used git push --no-verify to push your changes. Offending file: - "
)

_MINUTES_PER_DAY = 24 * 60
_MINUTES_PER_MONTH = 30 * _MINUTES_PER_DAY


def commit_refusal(limit: int, window: float, wait: float) -> str:
    """The refusal of a commit beyond `limit` per `window` seconds, `wait` seconds before the next one is accepted."""
    return (
        f"You have exceeded the rate limit for repository commits ({limit} per {window_name(window)}). "
        f"You can retry this action in {distance(wait)}. To reduce the number of commits, you can upload entire "
        "folders at once using the Hub Python library: "
        "https://huggingface.co/docs/huggingface_hub/guides/upload#upload-a-folder."
    )


def api_refusal(limit: int, window: float, bucket: str = "api") -> str:
    """The refusal of a request beyond the `limit` of a bucket per `window` seconds."""
    period = _counted(int(window // 60), "minute") if window >= 60 and window % 60 == 0 else f"{window:g} seconds"
    return (
        f"We had to rate limit you, you hit the quota of {limit} {bucket} requests per {period} period. Upgrade to a "
        "PRO user or Team/Enterprise organization account (https://hf.co/pricing) to get higher limits. "
        "See https://huggingface.co/docs/hub/rate-limits"
    )


def window_name(seconds: float) -> str:
    """The window of a commit quota, as in "128 per hour"."""
    names: dict[float, str] = {60: "minute", 3600: "hour", 86400: "day"}
    return names.get(seconds, f"{seconds:g} seconds")


def distance(seconds: float) -> str:
    """Word a wait as date-fns' `formatDistance` does, which the Hub uses."""
    minutes = _rounded(math.trunc(seconds) / 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 45:
        return _counted(minutes, "minute")
    if minutes < _MINUTES_PER_DAY:
        return "about " + _counted(_rounded(minutes / 60), "hour")
    if minutes < _MINUTES_PER_MONTH:
        return _counted(1 if minutes < 42 * 60 else _rounded(minutes / _MINUTES_PER_DAY), "day")
    months = _rounded(minutes / _MINUTES_PER_MONTH)
    about = "about " if minutes < 2 * _MINUTES_PER_MONTH else ""
    return about + _counted(months, "month")


def _rounded(value: float) -> int:
    """Round halves up, as JavaScript's `Math.round` does. Python's `round` rounds them to even."""
    return math.floor(value + 0.5)


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
