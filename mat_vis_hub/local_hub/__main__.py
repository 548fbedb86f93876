"""`python -m mat_vis_hub.local_hub`: a local Hub in the foreground, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from mat_vis_hub.local_hub.limiter import MODELS
from mat_vis_hub.local_hub.messages import WORDINGS
from mat_vis_hub.local_hub.settings import QUOTA_SCOPES

WRONG_USAGE = 2  # the exit code, also of argparse


def main(arguments: Sequence[str] | None = None) -> int:
    options = vars(_parser().parse_args(arguments))
    try:
        from mat_vis_hub.local_hub import LocalHub
    except ModuleNotFoundError as error:
        sys.exit(str(error))
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        hub = LocalHub(**options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return WRONG_USAGE
    try:
        hub.start()
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    print(hub.url, flush=True)
    stopped.wait()
    hub.stop()
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exit with one line instead of the usage and a line."""
        self.exit(WRONG_USAGE, f"{message}; see --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m mat_vis_hub.local_hub",
        description="A Hub on this machine that refuses commits like the real one. It prints its URL first.",
    )
    for name, kind, default, text in (
        ("limit", _limit, 128, 'commits per window, or "none"'),
        ("window", _number, 3600, "the window in seconds"),
        ("api-limit", _limit, 1000, 'API requests, or "none"'),
        ("resolvers-limit", _limit, 5000, 'downloads, or "none"'),
        ("pages-limit", _limit, 200, 'web pages, or "none"'),
        ("whoami-limit", _limit, 20, 'calls of whoami, or "none"'),
        ("api-window", _number, 300, "the window of these four in seconds"),
        ("creation-limit", _limit, 300, 'new repositories per day, or "none"'),
        ("pull-request-limit", _limit, 10, 'pull requests per window, or "none"'),
        ("discussion-limit", _limit, 10, 'discussions per window, or "none"'),
        ("commit-time", _number, 1.0, "seconds that a commit takes; 0: none, and commits never meet"),
        ("operation-time", _number, 0.05, "seconds more for each operation"),
        ("commit-timeout", _timeout, 60.0, 'seconds until a commit is cut off with 504, or "none"'),
        ("speed", _number, 50.0, "how many times faster than that commits are in real time"),
        ("late", _late, "lands", 'what becomes of a commit that was cut off: "lands", "never" or a probability'),
    ):
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"{text} (default: {default})")
    for name, choices, text in (
        ("model", tuple(MODELS), "of the window of commits"),
        ("quota-scope", QUOTA_SCOPES, "whose commits the limit counts"),
        ("wording", WORDINGS, "how refusals word the wait"),
    ):
        parser.add_argument(f"--{name}", choices=choices, default=choices[0], help=f"{text} (default: {choices[0]})")
    parser.add_argument("--retry-after", action="store_true", help="refusals of quotas carry Retry-After")
    parser.add_argument("--path", help="keep repositories in this folder (default: in memory)")
    parser.add_argument("--token", help="the only token that may write (default: any, or none)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=_whole_number, default=0, help="port to listen on (default: a free one)")
    return parser


def _limit(text: str) -> int | None:
    if text.lower() == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is neither a whole number nor "none"') from None


def _timeout(text: str) -> float | None:
    return None if text.lower() == "none" else _number(text)


def _late(text: str) -> str | float:
    return text if text in ("lands", "never") else _number(text)


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


if __name__ == "__main__":
    sys.exit(main())
