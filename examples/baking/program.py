"""The command-line part of bake.py and derive.py: arguments, the `HfApi` object, and error messages."""

from __future__ import annotations

import argparse
import os
import re
import sys
import textwrap
from collections.abc import Callable
from typing import NoReturn

from huggingface_hub import HfApi, constants, file_download
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import validate_repo_id

from baking.layout import NAME, TIERS
from mat_vis_hub import RetryPolicy, ThrottledHfApi
from mat_vis_hub.budget import BudgetError

SCRATCH = "-tst"
BATCH_SIZE = 50

# The base classes of the errors of huggingface_hub's HTTP library (requests, httpx or httpx2) and of the system.
NETWORK_ERRORS = (OSError, *HfHubHTTPError.__bases__)

WHAT_TO_DO = {
    401: "set HF_TOKEN to a valid token that may write to the repository",
    403: "set HF_TOKEN to a token that may write to the repository",
    404: "check the names, and that the token in HF_TOKEN may read the repository",
    412: "other programs kept committing at the same time; run the same command again, it resumes",
    429: "the Hub accepts no more commits for now; run the same command again later, it resumes",
}
RUN_AGAIN = "run the same command again, it resumes"


class Failure(Exception):
    """A run that cannot continue. The message says why and what to do, in one sentence."""


class Parser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def make_parser(doc: str) -> Parser:
    """Return a parser with the arguments that both programs share."""
    parser = Parser(
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The token comes from HF_TOKEN or `hf auth login`. Exit code 2: bad arguments; 1: the run failed.",
    )
    parser.add_argument("--repo", required=True, type=repo_id, metavar="OWNER/NAME", help="dataset repository")
    parser.add_argument(
        "--release",
        required=True,
        type=name,
        metavar="BRANCH",
        help="the release, which is a branch, for example v2026.04.2",
    )
    parser.add_argument("--source", required=True, type=name, help="the origin of the textures, for example ambientcg")
    parser.add_argument("--limit", type=positive, metavar="N", help="publish only the first N materials")
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=BATCH_SIZE,
        metavar="N",
        help="materials per commit (default: %(default)s)",
    )
    parser.add_argument(
        "--endpoint",
        default=os.environ.get("HF_ENDPOINT"),
        metavar="URL",
        help="the Hub (default: HF_ENDPOINT, or https://huggingface.co)",
    )
    parser.add_argument(
        "--allow-prod",
        action="store_true",
        help=f"publish to a repository that is not named like a scratch one (*{SCRATCH})",
    )
    return parser


def parse(parser: Parser, argv: list[str] | None) -> argparse.Namespace:
    args = parser.parse_args(argv)
    if not args.repo.endswith(SCRATCH) and not args.allow_prod:
        parser.error(
            f"{args.repo} is not named like a scratch repository (*{SCRATCH}): pass --allow-prod to publish to it"
        )
    return args


def repo_id(value: str) -> str:
    try:
        validate_repo_id(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if "/" not in value:
        raise argparse.ArgumentTypeError(f"{value!r} has no owner; expected OWNER/NAME")
    return value


def name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise argparse.ArgumentTypeError(f"{value!r} may contain letters, digits, '.', '_' and '-' only")
    return value


def tier(value: str) -> str:
    if value not in TIERS:
        raise argparse.ArgumentTypeError(f"no tier {value!r}; the tiers are {', '.join(TIERS)}")
    return value


def positive(value: str) -> int:
    if not re.fullmatch(r"0*[1-9]\d*", value):
        raise argparse.ArgumentTypeError(f"{value!r} is not a positive number")
    return int(value)


def open_hub(args: argparse.Namespace) -> HfApi:
    """Return the API object that makes every commit. This is the only place that knows about throttling."""
    if args.endpoint:
        make_default(args.endpoint)
    if os.environ.get("MAT_VIS_PLAIN_HFAPI"):  # set by `demo.py --plain`, for comparison
        return HfApi(endpoint=args.endpoint)
    try:
        return ThrottledHfApi(endpoint=args.endpoint, source=args.source, retry=RetryPolicy(recover=True))
    except (BudgetError, ImportError, ValueError) as error:
        raise Failure(f"MAT_VIS_HUB_BUDGET: {error}") from error


def make_default(endpoint: str) -> None:
    """Make `endpoint` huggingface_hub's default: 0.x parses the URLs of commits with the default endpoint only."""
    constants.ENDPOINT = endpoint
    for module in (constants, file_download):  # 0.x reads the one, 1.x the other
        module.HUGGINGFACE_CO_URL_TEMPLATE = endpoint + "/{repo_id}/resolve/{revision}/{filename}"


def run(args: argparse.Namespace, work: Callable[[argparse.Namespace], None], *, prog: str) -> int:
    """Run `work` and return the exit code. Expected errors become one line on standard error."""
    try:
        work(args)
    except Failure as error:
        message = str(error)
    except KeyboardInterrupt:
        print(f"{prog}: interrupted; {RUN_AGAIN}", file=sys.stderr)
        return 130
    except (RuntimeError, *NETWORK_ERRORS) as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) else error
        if not isinstance(cause, NETWORK_ERRORS):
            raise
        message = describe(cause)
    else:
        return 0
    print(f"{prog}: {args.repo} at {args.endpoint or 'https://huggingface.co'}: {message}", file=sys.stderr)
    return 1


def describe(error: BaseException) -> str:
    """Describe an error from the Hub or the network in one line."""
    while not (answered := isinstance(error, HfHubHTTPError) and error.response is not None):
        inner = error.__cause__ or error.__context__
        if not inner:
            break
        error = inner  # the root cause: a response of the Hub, or "Connection refused"
    if answered:
        status = error.response.status_code
        said = f"{status} {error.server_message or error}"
        what_to_do = WHAT_TO_DO.get(status, RUN_AGAIN)
    else:
        said, what_to_do = str(error) or type(error).__name__, RUN_AGAIN
    return f"{textwrap.shorten(said, 160, placeholder=' ...')}; {what_to_do}"
