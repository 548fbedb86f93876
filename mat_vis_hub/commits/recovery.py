"""A lost response is not a lost commit, and not two: find out whether a commit landed before it is sent again.

Each commit that may be recovered carries a mark of its own in its description. If its response is lost, the branch's
history says whether the mark is there. If it is not, the commit is sent again on top of exactly the history that was
looked at (`parent_commit`), so a first attempt that lands late makes the second one fail (412) and not double.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from huggingface_hub import CommitInfo, HfApi, constants

from mat_vis_hub._hub.errors import may_have_landed, status_of
from mat_vis_hub._hub.history import commits
from mat_vis_hub._internal import clock
from mat_vis_hub.policy import RetryPolicy

_HISTORY = 500  # commits; at 128 an hour, a commit of ours is not further down
_PULL_REQUESTS = 50  # the same for pull requests
_CONFLICTS = 100  # a branch that moves this often between a look and a commit is beyond us


class Recovery:
    """
    One commit, as often as it takes to know that it landed once.

    Args:
        api (`HfApi`): Whom to ask.
        repo_id (`str`): The repository.
        arguments (`dict`): The keyword arguments of `create_commit`, operations aside.
        policy (`RetryPolicy`): How often to try again.
        found (`Callable`): Told the oid of a commit that turned out to have landed.
    """

    def __init__(
        self, api: HfApi, repo_id: str, arguments: dict[str, Any], policy: RetryPolicy, found: Callable[[str], object]
    ) -> None:
        self._api = api
        self._repo_id = repo_id
        self._policy = policy
        self._found = found
        self._mark = f"Mat-Vis-Hub-Commit: {uuid.uuid4().hex}"
        description = arguments.get("commit_description") or ""
        self._arguments = {**arguments, "commit_description": f"{description}\n\n{self._mark}".strip()}
        self._parent_is_the_caller_s = arguments.get("parent_commit") is not None
        self._lost = 0
        self._conflicts = 0
        self._in_doubt: Exception | None = None  # what left open whether the commit landed

    def commit(self, send: Callable[..., CommitInfo], *, before_retry: Callable[[], None]) -> CommitInfo:
        """
        Send the commit; after a lost response look for it, and send it again only if it is not there.

        May be called again after it raised: it goes on where it was.

        Args:
            send (`Callable`): `create_commit`, operations given, other arguments by keyword.
            before_retry (`Callable`): Undoes what a failed call left behind.

        Raises:
            The lost response's own error, if it cannot be found out or is lost more often than the policy retries. Any
            other exception at once, as it is.
        """
        while True:
            if self._in_doubt is not None:
                landed = self._settle(self._in_doubt)
                if landed is not None:
                    self._found(landed.oid)
                    return landed
                self._in_doubt = None
            try:
                return send(**self._arguments)
            except Exception as error:
                if may_have_landed(error):
                    self._lost += 1
                elif self._lost and status_of(error) == 412:
                    self._conflicts += 1
                else:
                    raise
                self._in_doubt = error
            before_retry()

    def _settle(self, error: Exception) -> CommitInfo | None:
        """Our commit, if it has landed; if not, make sure that it can be sent again without doubling."""
        landed, head = self._look(error)
        if landed is not None:
            return landed
        if self._lost > self._policy.max_retries or self._conflicts > _CONFLICTS:
            raise error
        if self._parent_is_the_caller_s:
            if status_of(error) == 412:
                raise error
        elif not self._arguments.get("create_pr"):
            self._arguments["parent_commit"] = head
        return None

    def _look(self, error: Exception) -> tuple[CommitInfo | None, str | None]:
        """Our commit if it has landed, and the branch's head if it has not. A look that fails is tried again."""
        attempt = 0
        while True:
            try:
                if self._arguments.get("create_pr"):
                    return self._in_pull_requests(), None
                return self._in_history(self._arguments.get("revision") or constants.DEFAULT_REVISION)
            except Exception as failure:
                if status_of(failure) == 429:
                    raise  # waited out like every refusal, and then we look again
                if attempt >= self._policy.max_retries or status_of(failure) in (401, 403, 404):
                    raise error from failure
            clock.wait(min(2.0**attempt, 30.0))
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
        kind = self._arguments.get("repo_type") or constants.REPO_TYPE_MODEL
        prefix = "" if kind == constants.REPO_TYPE_MODEL else f"{kind}s/"
        values: dict[str, Any] = {
            "commit_url": f"{self._api.endpoint}/{prefix}{self._repo_id}/commit/{oid}",
            "commit_message": self._arguments["commit_message"],
            "commit_description": self._arguments["commit_description"],
            "oid": oid,
            "pr_url": pr_url,
        }
        if any(field.name == "_endpoint" for field in fields(CommitInfo)):  # from 1.x on, to read its own address
            values["_endpoint"] = self._api.endpoint
        return CommitInfo(**values)
