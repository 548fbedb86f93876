"""The history of a branch: its commits, newest first, each with its age by the server's own clock."""

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
    headers = build_hf_headers(token=api.token if token is None else token, headers=api.headers)
    kind = repo_type or constants.REPO_TYPE_MODEL
    branch = quote(revision or constants.DEFAULT_REVISION, safe="")
    url: str | None = f"{api.endpoint}/api/{kind}s/{repo_id}/commits/{branch}"
    while url is not None:
        # Not huggingface_hub's `paginate`, which sleeps after a failure without using our clock.
        response: Any = get_session().get(url, headers=headers, timeout=_TIMEOUT)
        hf_raise_for_status(response)
        yield from _page(response)
        url = response.links.get("next", {}).get("url")


def recent_commits(
    api: HfApi,
    repo_id: str,
    window: float,
    *,
    repo_type: str | None = None,
    revisions: Iterable[str] = (constants.DEFAULT_REVISION,),
    known: Container[str] = (),
) -> Iterator[Commit]:
    """
    The commits of the last `window` seconds on these branches, each once, without the first commit of a repository.

    Args:
        api (`HfApi`), repo_id, repo_type (*optional*): As in [`commits`].
        window (`float`): Seconds.
        revisions (`Iterable` of `str`, *optional*): The branches. A missing one has no commits.
        known (`Container` of `str`, *optional*): Oids at which to stop: the commits before them are known.
    """
    found: set[str] = set()
    for revision in revisions:
        try:
            for commit, _older in itertools.pairwise(commits(api, repo_id, repo_type=repo_type, revision=revision)):
                if commit.age >= window or commit.id in known or commit.id in found:
                    break
                found.add(commit.id)
                yield commit
        except HfHubHTTPError as error:
            if status_of(error) != 404:
                raise


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
