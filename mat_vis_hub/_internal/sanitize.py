"""Prepares text for logs and terminals: one line or one word, without secrets."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable

_LONGEST_WORD = 200  # characters
_SHORTEST_SECRET = 8  # characters; a shorter one would blank parts of ordinary words
_MOST_SECRETS = 1000

_INVISIBLE_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # printable for Python, but they look like a space

# Compiled by the first line that is shown, and then kept by `re`.
_LOOKS_SECRET = (
    r"hf_[A-Za-z0-9]{20,}",
    r"(?:hf|api)_(?:oauth|jwt|org|app)_[A-Za-z0-9_.~+/=-]{12,}",
    r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?",  # a JSON Web Token
    r"(?i:(?<=\bbearer )[^\s\"',;]+)",
    r"(?<=://)[^\s/?#@]{1,500}(?=@)",  # the user and password of a URL
)

_secrets: dict[str, None] = {}  # in the order of registration


def register_secret(value: object) -> None:
    """
    Blank `value` in all that is shown from now on.

    Args:
        value (`object`): A token. What is no string, or shorter than 8 characters, is ignored.
    """
    if isinstance(value, str) and len(value) >= _SHORTEST_SECRET and value not in _secrets:
        _secrets[value] = None
        if len(_secrets) > _MOST_SECRETS:
            with contextlib.suppress(KeyError, StopIteration, RuntimeError):  # another thread was faster
                del _secrets[next(iter(_secrets))]


def without_secrets(text: str, secrets: Iterable[object] = ()) -> str:
    """
    `text` with `***` for each secret: the registered ones, this machine's Hub tokens, and what looks like a token.

    Args:
        text (`str`): The text.
        secrets (`Iterable`, *optional*): More strings to blank. What is no string or empty is ignored.
    """
    given = [secret for secret in secrets if isinstance(secret, str) and secret]
    for secret in sorted({*given, *list(_secrets), *_tokens_of_this_machine()}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return re.sub("|".join(_LOOKS_SECRET), "***", text)


def _tokens_of_this_machine() -> list[str]:
    """The tokens that huggingface_hub would use by itself."""
    tokens: list[object] = [os.environ.get("HF_TOKEN"), os.environ.get("HUGGING_FACE_HUB_TOKEN")]
    with contextlib.suppress(Exception):  # a home directory that cannot be read
        from huggingface_hub import get_token

        tokens.append(get_token())
    stripped = [token.strip() for token in tokens if isinstance(token, str)]
    return [token for token in stripped if len(token) >= _SHORTEST_SECRET]


def one_line(text: str) -> str:
    """`text` without secrets, and without characters that begin a line, move the cursor or change the direction."""
    return "".join(char if char.isprintable() else " " for char in without_secrets(text))


def one_word(value: object) -> str:
    """`value` as one word of a log line: as [`one_line`], without white space, and no longer than 200 characters."""
    line = one_line(str(value))[:_LONGEST_WORD]
    return "".join("_" if char.isspace() or char in _INVISIBLE_LETTERS else char for char in line) or "unknown"


def elapsed(seconds: float) -> str:
    """Minutes and whole seconds, as the log lines have it: `75m0s`."""
    whole = max(0, int(seconds))
    return f"{whole // 60}m{whole % 60}s"
