"""Exactly once: after a lost response, find out whether the commit landed before sending it again.

Each commit that may be recovered has a unique mark in its description. After a lost response, we look for the mark in
the branch's history. If it is not there, the commit is sent again with the newest commit of that history as its
`parent_commit`. Should the first attempt land late, the Hub refuses the second one (412), and nothing lands twice. This
does not cover a first attempt that lands after the second one: it named no parent that the Hub could check.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from typing import Any

from huggingface_hub import CommitInfo, HfApi, constants

from mat_vis_hub._hub.errors import may_have_landed, status_of
from mat_vis_hub._hub.history import commits
from mat_vis_hub._hub.operations import commit_info
from mat_vis_hub._internal import clock
from mat_vis_hub.policy import RetryPolicy

_HISTORY = 500  # commits to search; at 128 per hour, a commit made during one call is not further down
_PULL_REQUESTS = 50  # pull requests to search
_CONFLICTS = 100  # 412s after which to give up: the branch moves each time between the search and the commit
_LONGEST_PAUSE = 30.0  # seconds between two attempts to read the history


class Recovery:
    """
    One commit that is sent as often as it takes to know that it landed once.

    Args:
        api (`HfApi`):
            Reads the history.
        repo_id (`str`):
            The repository.
        arguments (`dict`):
            The keyword arguments of `create_commit`, without the operations.
        policy (`RetryPolicy`):
            How often to try again.
        on_recovered (`Callable`):
            Called with the oid of a commit that has landed although its response was lost.
    """

    def __init__(
        self,
        api: HfApi,
        repo_id: str,
        arguments: dict[str, Any],
        policy: RetryPolicy,
        on_recovered: Callable[[str], object],
    ) -> None:
        self._api = api
        self._repo_id = repo_id
        self._policy = policy
        self._on_recovered = on_recovered
        self._mark = f"Mat-Vis-Hub-Commit: {uuid.uuid4().hex}"
        description = arguments.get("commit_description") or ""
        self._arguments = {**arguments, "commit_description": f"{description}\n\n{self._mark}".strip()}
        self._caller_set_parent = arguments.get("parent_commit") is not None
        self._losses = 0
        self._conflicts = 0
        self._unresolved: Exception | None = None  # the error after which it is unknown whether the commit landed

    def commit(self, send: Callable[..., CommitInfo], *, before_retry: Callable[[], None]) -> CommitInfo:
        """
        Send the commit. After a lost response, search for it and send it again only if it is not there.

        If this raises, it may be called again: it continues where it stopped.

        Args:
            send (`Callable`):
                `create_commit` with its operations. Called with the other arguments by keyword.
            before_retry (`Callable`):
                Called before each attempt but the first, to undo what a failed one left behind.

        Raises:
            The error of the lost response, if the history cannot be read or if more responses are lost than the policy
            retries. Any other exception at once and unchanged.
        """
        while True:
            if self._unresolved is not None:
                landed = self._resolve(self._unresolved)
                if landed is not None:
                    self._on_recovered(landed.oid)
                    return landed
                self._unresolved = None
            try:
                return send(**self._arguments)
            except Exception as error:
                if may_have_landed(error):
                    self._losses += 1
                elif self._losses and status_of(error) == 412:
                    self._conflicts += 1
                else:
                    raise
                self._unresolved = error
            before_retry()

    def _resolve(self, error: Exception) -> CommitInfo | None:
        """Return our commit if it has landed. Otherwise prepare the arguments so that it cannot land twice."""
        landed, head = self._search(error)
        if landed is not None:
            return landed
        if self._losses > self._policy.max_retries or self._conflicts > _CONFLICTS:
            raise error
        if self._caller_set_parent:
            if status_of(error) == 412:
                raise error
        elif not self._arguments.get("create_pr"):
            self._arguments["parent_commit"] = head
        return None

    def _search(self, error: Exception) -> tuple[CommitInfo | None, str | None]:
        """Our commit if it has landed, and the branch's head. A search that fails is repeated."""
        attempt = 0
        while True:
            try:
                if self._arguments.get("create_pr"):
                    return self._in_pull_requests(), None
                return self._in_history(self._arguments.get("revision") or constants.DEFAULT_REVISION)
            except Exception as failure:
                if status_of(failure) == 429:
                    raise  # the caller waits as after any refusal, and calls `commit` again
                if attempt >= self._policy.max_retries or status_of(failure) in (401, 403, 404):
                    raise error from failure
            clock.wait(min(2.0**attempt, _LONGEST_PAUSE))
            attempt += 1

    def _in_history(self, revision: str) -> tuple[CommitInfo | None, str | None]:
        head = None
        newest = commits(
            self._api,
            self._repo_id,
            repo_type=self._arguments.get("repo_type"),
            revision=revision,
            token=self._arguments.get("token"),
        )
        for commit in itertools.islice(newest, _HISTORY):
            head = head or commit.id
            if self._mark in commit.message:
                return self._info(commit.id), head
        return None, head

    def _in_pull_requests(self) -> CommitInfo | None:
        discussions = self._api.get_repo_discussions(
            self._repo_id, repo_type=self._arguments.get("repo_type"), token=self._arguments.get("token")
        )
        for discussion in itertools.islice(discussions, _PULL_REQUESTS):
            if discussion.is_pull_request:
                landed, _ = self._in_history(f"refs/pr/{discussion.num}")
                if landed is not None:
                    return self._info(landed.oid, pr_url=discussion.url)
        return None

    def _info(self, oid: str, pr_url: str | None = None) -> CommitInfo:
        return commit_info(
            self._api.endpoint,
            repo_type=self._arguments.get("repo_type"),
            repo_id=self._repo_id,
            oid=oid,
            commit_message=self._arguments["commit_message"],
            commit_description=self._arguments["commit_description"],
            pr_url=pr_url,
        )
