"""upload_folder in few commits, each of them sent by `create_commit`.

Where it can use Xet, huggingface_hub from 1.2x on uploads folders in a pipeline that sends its commits itself. When one
is refused, it sleeps through five retries within 23 seconds and then splits the batch, which takes more commits. Here a
folder becomes the same or larger batches, uploaded by `preupload_lfs_files` (Xet included) and sent by `create_commit`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi, constants
from huggingface_hub.utils import DEFAULT_IGNORE_PATTERNS, chunk_iterable

from mat_vis_hub._hub.operations import (
    as_pull_request,
    bypasses_create_commit,
    folder_additions,
    folder_deletions,
    is_ignored,
    is_regular,
    is_unchanged,
)

__all__ = ["bypasses_create_commit", "upload_folder"]

_PREUPLOAD_FILES = 256  # one preupload request asks about up to this many
# The maxima of a commit in huggingface_hub's own pipeline. It starts at 250 files, so this never takes more commits.
_MAX_FILES = 1000
_MAX_REGULAR_BYTES = 100 * 1024 * 1024


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
    if create_pr and revision not in (None, constants.DEFAULT_REVISION):
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
    deletions = folder_deletions(
        api, path_in_repo=path_in_repo or "", delete_patterns=delete_patterns, revision=revision, **where
    )
    added = {addition.path_in_repo for addition in additions}
    first = [deletion for deletion in deletions if deletion.path_in_repo not in added]
    batches = _batches(api, additions, {**where, "revision": revision, "create_pr": create_pr})
    return _commit_batches(
        api,
        first,
        batches,
        commit_message=commit_message or "Upload folder using huggingface_hub",
        arguments={**where, "commit_description": commit_description},
        revision=revision,
        create_pr=create_pr,
        parent_commit=parent_commit,
    )


def _commit_batches(
    api: HfApi,
    first: list[Any],
    batches: Iterator[list[CommitOperationAdd]],
    *,
    commit_message: str,
    arguments: dict[str, Any],
    revision: str | None,
    create_pr: bool | None,
    parent_commit: str | None,
) -> CommitInfo:
    """Commit each batch, the first one together with the operations `first`. All go into one pull request."""
    info: Any = None  # there is always at least one batch, which may be empty
    pull_request: CommitInfo | None = None
    commits = 0
    for batch in batches:
        operations = [*first, *batch] if commits == 0 else batch
        if not operations and commits:
            continue
        info = api.create_commit(
            operations=operations,
            commit_message=commit_message if commits == 0 else f"{commit_message} (part {commits + 1})",
            revision=pull_request.pr_revision if pull_request else revision,
            create_pr=create_pr and pull_request is None,
            parent_commit=parent_commit if commits == 0 else None,
            **arguments,
        )
        commits += 1
        if pull_request is None and info.pr_url:
            pull_request = info
    if pull_request is not None and pull_request is not info and pull_request.pr_url:
        info = as_pull_request(info, pull_request.pr_url)
    result: CommitInfo = info
    return result


def _batches(
    api: HfApi, additions: list[CommitOperationAdd], where: dict[str, Any]
) -> Iterator[list[CommitOperationAdd]]:
    """Upload the files, and yield batches of those that a commit has to contain: changed and not ignored."""
    gitignore = _gitignore(additions)
    batch: list[CommitOperationAdd] = []
    regular_bytes = 0
    for chunk in chunk_iterable(additions, _PREUPLOAD_FILES):
        chunk = list(chunk)
        api.preupload_lfs_files(additions=chunk, free_memory=False, gitignore_content=gitignore, **where)
        for addition in chunk:
            if is_ignored(addition) or is_unchanged(addition):
                continue
            batch.append(addition)
            regular_bytes += addition.upload_info.size if is_regular(addition) else 0
            if len(batch) >= _MAX_FILES or regular_bytes >= _MAX_REGULAR_BYTES:
                yield batch
                batch, regular_bytes = [], 0
    yield batch


def _gitignore(additions: list[CommitOperationAdd]) -> str | None:
    """The content of a `.gitignore` among the files. The Hub applies it although it is not committed yet."""
    for addition in additions:
        if addition.path_in_repo == ".gitignore":
            with addition.as_file() as file:
                return file.read().decode()
    return None
