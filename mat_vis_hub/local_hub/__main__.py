"""`python -m mat_vis_hub.local_hub`: a local Hub in the foreground, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

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
    parser.add_argument("--limit", type=_limit, default=128, help='commits per window, or "none" (default: 128)')
    parser.add_argument("--window", type=_number, default=3600, help="the window in seconds (default: 3600)")
    parser.add_argument("--model", choices=("fixed", "sliding"), default="fixed", help="of the window (default: fixed)")
    parser.add_argument("--api-limit", type=_limit, default=1000, help='API requests, or "none" (default: 1000)')
    parser.add_argument("--api-window", type=_number, default=300, help="their window in seconds (default: 300)")
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
