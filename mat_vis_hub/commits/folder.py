"""upload_folder in few commits, each of them through `create_commit`.

From 1.2x on, with Xet, huggingface_hub uploads folders in a pipeline that posts its commits itself: on a refusal it
sleeps through five retries within 23 seconds and then splits the batch, which takes more commits. Here a folder becomes
the same batches or larger ones, uploaded by `preupload_lfs_files` (Xet included) and committed by `create_commit`.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, constants
from huggingface_hub.utils import DEFAULT_IGNORE_PATTERNS, chunk_iterable

_PREUPLOAD = 256  # files; what the Hub answers for at once
# What huggingface_hub's own pipeline puts into a commit at most. It starts at 250 files, so this never takes more.
_MAX_FILES = 1000
_MAX_REGULAR_BYTES = 100 * 1024 * 1024


def bypasses_create_commit() -> bool:
    """Whether the installed huggingface_hub uploads folders behind `create_commit`'s back."""
    has_pipeline = find_spec("huggingface_hub._upload_pipeline") is not None
    return has_pipeline and not constants.HF_HUB_DISABLE_XET and find_spec("hf_xet") is not None


def upload_folder(
    api: Any,
    *,
    repo_id: str,
    folder_path: Any,
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
    """As `HfApi.upload_folder`: the same arguments, the same files, the same result. `api` is an `HfApi`."""
    if create_pr and revision not in (None, constants.DEFAULT_REVISION):
        raise ValueError(
            f"upload_folder(create_pr=True, revision={revision!r}): a pull request of a folder is opened against"
            f" {constants.DEFAULT_REVISION!r}. Leave the revision out."
        )
    if isinstance(ignore_patterns, str):
        ignore_patterns = [ignore_patterns]
    where: dict[str, Any] = {"repo_id": repo_id, "repo_type": repo_type, "token": token}
    additions: list[CommitOperationAdd] = api._prepare_upload_folder_additions(
        folder_path,
        path_in_repo or "",
        allow_patterns=allow_patterns,
        ignore_patterns=[*(ignore_patterns or ()), *DEFAULT_IGNORE_PATTERNS],
        token=token,
        repo_type=repo_type,
    )
    deletions: list[CommitOperationDelete] = api._prepare_folder_deletions(
        **where, revision=revision, path_in_repo=path_in_repo or "", delete_patterns=delete_patterns
    )
    added = {addition.path_in_repo for addition in additions}
    first: list[Any] = [deletion for deletion in deletions if deletion.path_in_repo not in added]
    message = commit_message or "Upload folder using huggingface_hub"

    info: Any = None
    pull_request: Any = None
    commits = 0
    for batch in _batches(api, additions, {**where, "revision": revision, "create_pr": create_pr}):
        operations, first = [*first, *batch], []
        if not operations and commits:
            continue
        info = api.create_commit(
            **where,
            operations=operations,
            commit_message=message if commits == 0 else f"{message} (part {commits + 1})",
            commit_description=commit_description,
            revision=pull_request.pr_revision if pull_request else revision,
            create_pr=create_pr and pull_request is None,
            parent_commit=parent_commit if commits == 0 else None,
        )
        commits += 1
        pull_request = pull_request or (info if info.pr_url else None)
    if pull_request is not None and pull_request is not info:
        info.pr_url = pull_request.pr_url
        info.__post_init__()  # the pull request's number and reference follow from its address
    result: CommitInfo = info  # there is always a last batch, if only an empty one
    return result


def _batches(
    api: Any, additions: list[CommitOperationAdd], where: dict[str, Any]
) -> Iterator[list[CommitOperationAdd]]:
    """Upload the files, and gather those that a commit has to carry: what changed, and is not ignored."""
    gitignore = _gitignore(additions)
    batch: list[CommitOperationAdd] = []
    regular_bytes = 0
    for chunk in chunk_iterable(additions, _PREUPLOAD):
        chunk = list(chunk)
        api.preupload_lfs_files(additions=chunk, free_memory=False, gitignore_content=gitignore, **where)
        for addition in chunk:
            if addition._should_ignore or _is_unchanged(addition):
                continue
            batch.append(addition)
            regular_bytes += addition.upload_info.size if addition._upload_mode == "regular" else 0
            if len(batch) >= _MAX_FILES or regular_bytes >= _MAX_REGULAR_BYTES:
                yield batch
                batch, regular_bytes = [], 0
    yield batch


def _is_unchanged(addition: CommitOperationAdd) -> bool:
    return addition._remote_oid is not None and addition._remote_oid == addition._local_oid


def _gitignore(additions: list[CommitOperationAdd]) -> str | None:
    """The rules that ride along: the Hub applies them before they are committed."""
    for addition in additions:
        if addition.path_in_repo == ".gitignore":
            with addition.as_file() as file:
                return file.read().decode()
    return None
