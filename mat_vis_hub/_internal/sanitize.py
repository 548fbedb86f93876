"""Words that may be said aloud: one line, no secrets, minutes and seconds."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LONGEST_FIELD = 200


def elapsed(seconds: float) -> str:
    """Minutes and whole seconds, as the log lines have it: `75m0s`."""
    whole = max(0, int(seconds))
    return f"{whole // 60}m{whole % 60}s"


_TOKEN = re.compile(r"hf_[A-Za-z0-9]{20,}")


def without_secrets(text: str, secrets: Iterable[object] = ()) -> str:
    """`text` without the given secrets, and without whatever looks like a token of the Hub."""
    for secret in secrets:
        if isinstance(secret, str) and secret:
            text = text.replace(secret, "***")
    return _TOKEN.sub("***", text)


def one_line(text: str) -> str:
    """`text` without anything that could begin another line, or hide in one."""
    return "".join(char if char.isprintable() else " " for char in text)


def one_word(value: str) -> str:
    """`value` as one word: no white space, nothing that could begin another line or another field."""
    word = "".join(char if char.isprintable() and not char.isspace() else "_" for char in value[:_LONGEST_FIELD])
    return without_secrets(word) or "unknown"
