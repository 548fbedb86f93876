"""The history of a repository: its branches, and their commits, each with its age by the server's own clock."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status, parse_datetime

from mat_vis_hub._hub.errors import status_of

_TIMEOUT = 10.0  # seconds until the Hub must have answered
_RESOLUTION = 1.0  # seconds; dates of HTTP and git have no fractions


@dataclass(frozen=True)
class Commit:
    """
    One commit of a history.

    Args:
        id (`str`): Its oid.
        title (`str`): The first line of its message.
        message (`str`): The rest.
        date (`float`): When it was made, in seconds since the epoch, by the server's clock.
        age (`float`): The least number of seconds between the commit and the response. It rests on the response's own
            `Date`, not on the clock of this machine.
    """

    id: str
    title: str
    message: str
    date: float
    age: float


def commits(
    api: HfApi,
    repo_id: str,
    *,
    repo_type: str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
) -> Iterator[Commit]:
    """
    The commits of a branch, newest first. Each page is requested when it is needed.

    Args:
        api (`HfApi`): Provides the endpoint, the headers and the token.
        repo_id, repo_type, revision, token (*optional*): As in `HfApi.list_repo_commits`.

    Raises:
        [`HfHubHTTPError`](https://huggingface.co/docs/huggingface_hub/package_reference/utilities#huggingface_hub.errors.HfHubHTTPError):
            With status 404 if there is no such repository or branch.
        Whatever the transport raises if the Hub cannot be reached.
    """
    branch = quote(revision or constants.DEFAULT_REVISION, safe="")
    url: str | None = f"{_url(api, repo_id, repo_type)}/commits/{branch}"
    while url is not None:
        # Not huggingface_hub's `paginate`, which sleeps after a failure without using our clock.
        response = _get(api, url, token)
        yield from _page(response)
        url = response.links.get("next", {}).get("url")


def heads(api: HfApi, repo_id: str, *, repo_type: str | None = None, token: str | bool | None = None) -> dict[str, str]:
    """
    The oid of the newest commit of each branch and each pull request, in one request. No repository has none.

    Args:
        api (`HfApi`), repo_id, repo_type, token (*optional*): As in [`commits`].

    Returns:
        `dict`: By the name of the branch, or `refs/pr/N`. Those that are the likeliest to have been committed to lately
        come first: main, then branches and pull requests by turns, each from the last one on.
    """
    try:
        refs = _get(api, f"{_url(api, repo_id, repo_type)}/refs?include_prs=1", token).json()
    except HfHubHTTPError as error:
        if status_of(error) != 404:
            raise
        return {}
    branches = {ref["name"]: ref["targetCommit"] for ref in refs["branches"]}
    requests = {ref["ref"]: ref["targetCommit"] for ref in refs.get("pullRequests") or ()}
    main = [name for name in branches if name == constants.DEFAULT_REVISION]
    by_turns = itertools.zip_longest(
        sorted(branches.keys() - main, reverse=True), sorted(requests, key=_number, reverse=True)
    )
    names = [*main, *filter(None, itertools.chain.from_iterable(by_turns))]
    return {name: branches.get(name) or requests[name] for name in names}


def recent_commits(
    api: HfApi,
    repo_id: str,
    window: float,
    *,
    repo_type: str | None = None,
    revisions: Iterable[str],
    known: Container[str] = (),
    token: str | bool | None = None,
) -> Iterator[Commit]:
    """
    The commits of the last `window` seconds on these branches, each once, without the first commit of a repository.

    Args:
        api (`HfApi`), repo_id, repo_type, token (*optional*): As in [`commits`].
        window (`float`): Seconds.
        revisions (`Iterable` of `str`): The branches. A missing one has no commits.
        known (`Container` of `str`, *optional*): Oids at which to stop: the commits before them are known.
    """
    found: set[str] = set()
    for revision in revisions:
        history = commits(api, repo_id, repo_type=repo_type, revision=revision, token=token)
        try:
            for commit, _older in itertools.pairwise(history):
                if commit.age >= window or commit.id in known or commit.id in found:
                    break
                found.add(commit.id)
                yield commit
        except HfHubHTTPError as error:
            if status_of(error) != 404:
                raise


def _url(api: HfApi, repo_id: str, repo_type: str | None) -> str:
    return f"{api.endpoint}/api/{repo_type or constants.REPO_TYPE_MODEL}s/{repo_id}"


def _get(api: HfApi, url: str, token: str | bool | None) -> Any:
    headers = build_hf_headers(token=api.token if token is None else token, headers=api.headers)
    response = get_session().get(url, headers=headers, timeout=_TIMEOUT)
    hf_raise_for_status(response)
    return response


def _number(pull_request: str) -> int:
    number = pull_request.rpartition("/")[2]
    return int(number) if number.isdecimal() else 0


def _page(response: Any) -> list[Commit]:
    items = response.json()
    dates = [parse_datetime(item["date"]).timestamp() for item in items]
    now = _sent_at(response) or max(dates, default=0.0)  # the newest commit is older than the response
    return [
        Commit(item["id"], item.get("title", ""), item.get("message", ""), date, max(0.0, now - date - _RESOLUTION))
        for item, date in zip(items, dates, strict=True)
    ]


def _sent_at(response: Any) -> float | None:
    """When the response was sent, in seconds since the epoch by the server's clock. `None` if it has no date."""
    try:
        return parsedate_to_datetime(response.headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return None
