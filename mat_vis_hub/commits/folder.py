"""upload_folder in few commits, each of them sent by `create_commit`.

Where it can use Xet, huggingface_hub from 1.2x on uploads folders in a pipeline that sends its commits itself. When one
is refused, it sleeps through five retries within 23 seconds and then splits the batch, which takes more commits. If it
has no pipeline, the whole folder is one commit, which the Hub cuts off after a minute. Here a folder becomes commits
that fit this minute, uploaded by `preupload_lfs_files` (Xet included) and sent by `create_commit`. On an idle Hub they
are never more than huggingface_hub's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi, constants
from huggingface_hub.utils import DEFAULT_IGNORE_PATTERNS, chunk_iterable

from mat_vis_hub._hub.operations import (
    as_folder,
    as_pull_request,
    bypasses_create_commit,
    folder_additions,
    folder_deletions,
    is_ignored,
    is_unchanged,
)
from mat_vis_hub.commits.limits import check_folders
from mat_vis_hub.commits.pacer import FIRST
from mat_vis_hub.commits.sender import Sender

_PREUPLOAD_FILES = 256  # one preupload request asks about up to this many
_MOST_REGULAR_BYTES = 100 * 1024 * 1024  # of one commit, as in huggingface_hub's own pipeline


def upload_folder(
    api: HfApi,
    *,
    repo_id: str,
    folder_path: str | Path,
    path_in_repo: str | None = None,
    commit_message: str | None = None,
    commit_description: str | None = None,
    token: str | bool | None = None,
    repo_type: str | None = None,
    revision: str | None = None,
    create_pr: bool | None = None,
    parent_commit: str | None = None,
    allow_patterns: list[str] | str | None = None,
    ignore_patterns: list[str] | str | None = None,
    delete_patterns: list[str] | str | None = None,
) -> CommitInfo:
    """
    As `HfApi.upload_folder`: the same arguments, the same files, the same result.

    Args:
        api (`HfApi`):
            Uploads the files and sends the commits.
        repo_id, folder_path, path_in_repo, commit_message, commit_description, token, repo_type, revision, create_pr, \
parent_commit, allow_patterns, ignore_patterns, delete_patterns (*optional*):
            As in `HfApi.upload_folder`.

    Returns:
        `CommitInfo` of the last commit.

    Raises:
        [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
            If `folder_path` is not a folder, or if a pull request is asked for against a branch other than `main`.
        Whatever `HfApi.upload_folder` raises.
    """
    if bypasses_create_commit() and create_pr and revision not in (None, constants.DEFAULT_REVISION):
        raise ValueError(
            f"upload_folder(create_pr=True, revision={revision!r}): a pull request of a folder is opened against"
            f" {constants.DEFAULT_REVISION!r}. Leave the revision out."
        )
    if isinstance(ignore_patterns, str):
        ignore_patterns = [ignore_patterns]
    where: dict[str, Any] = {"repo_id": repo_id, "repo_type": repo_type, "token": token}
    additions = folder_additions(
        api,
        folder_path,
        path_in_repo or "",
        allow_patterns=allow_patterns,
        ignore_patterns=[*(ignore_patterns or ()), *DEFAULT_IGNORE_PATTERNS],
        repo_type=repo_type,
        token=token,
    )
    check_folders(addition.path_in_repo for addition in additions)
    deletions = folder_deletions(
        api, path_in_repo=path_in_repo or "", delete_patterns=delete_patterns, revision=revision, **where
    )
    added = {addition.path_in_repo for addition in additions}
    folder = _Folder(
        api,
        {**where, "revision": revision},
        commit_message=commit_message or "Upload folder using huggingface_hub",
        commit_description=commit_description,
        create_pr=create_pr,
        parent_commit=parent_commit,
    )
    info = folder.upload([deletion for deletion in deletions if deletion.path_in_repo not in added], additions)
    return as_folder(
        info,
        api.endpoint,
        repo_type=repo_type,
        repo_id=repo_id,
        revision=quote(info.pr_revision or "", safe="") or revision or constants.DEFAULT_REVISION,
        path=path_in_repo or "",
    )


class _Folder:
    """The commits of one folder. All go into one pull request, if one is asked for."""

    def __init__(
        self,
        api: HfApi,
        where: dict[str, Any],
        *,
        commit_message: str,
        commit_description: str | None,
        create_pr: bool | None,
        parent_commit: str | None,
    ) -> None:
        self._api = api
        self._where = where
        self._message = commit_message
        self._description = commit_description
        self._create_pr = create_pr
        self._parent_commit = parent_commit
        if bypasses_create_commit():
            self._sender = Sender(api, where, most_bytes=_MOST_REGULAR_BYTES, first=FIRST)
        else:  # huggingface_hub makes one commit of the whole folder, so this tries that first
            self._sender = Sender(api, where, first=math.inf)
        self._last: Any = None  # what `upload` returns
        self._commits = 0
        self._pull_request: CommitInfo | None = None

    def upload(self, deletions: list[Any], additions: list[CommitOperationAdd]) -> CommitInfo:
        """Upload the files, commit them, and return the last commit."""
        operations = list(deletions)
        for changed in self._changed(additions):
            operations += changed
            while (count := self._sender.fitting(operations)) < len(operations):
                operations = operations[self._commit(operations[:count]) :]
        while operations or not self._commits:
            operations = operations[self._commit(operations) :]
        pull_request = self._pull_request
        if pull_request is not None and pull_request is not self._last and pull_request.pr_url:
            self._last = as_pull_request(self._last, pull_request.pr_url)
        info: CommitInfo = self._last
        return info

    def _changed(self, additions: list[CommitOperationAdd]) -> Iterator[list[CommitOperationAdd]]:
        """Upload the files, and yield those that a commit has to contain: changed and not ignored."""
        gitignore = _gitignore(additions)
        for chunk in chunk_iterable(additions, _PREUPLOAD_FILES):
            chunk = list(chunk)
            self._api.preupload_lfs_files(
                additions=chunk,
                free_memory=False,
                gitignore_content=gitignore,
                create_pr=self._create_pr,
                **self._where,
            )
            yield [addition for addition in chunk if not (is_ignored(addition) or is_unchanged(addition))]

    def _commit(self, operations: list[Any]) -> int:
        """Commit what fits one commit, and return how many operations that were."""
        pull_request = self._pull_request
        arguments: dict[str, Any] = {
            "commit_message": self._message if not self._commits else f"{self._message} (part {self._commits + 1})",
            "commit_description": self._description,
            "create_pr": self._create_pr and pull_request is None,
            "parent_commit": self._parent_commit if not self._commits else None,
        }
        if pull_request is not None:
            arguments["revision"] = pull_request.pr_revision
        self._last, done, _ = self._sender.send(operations, **arguments)
        self._commits += 1
        if pull_request is None and self._last.pr_url:
            self._pull_request = self._last
        return done


def _gitignore(additions: list[CommitOperationAdd]) -> str | None:
    """The content of a `.gitignore` among the files. The Hub applies it although it is not committed yet."""
    for addition in additions:
        if addition.path_in_repo == ".gitignore":
            with addition.as_file() as file:
                return file.read().decode()
    return None
