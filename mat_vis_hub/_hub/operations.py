"""The private parts of huggingface_hub that commits depend on: marks on operations, and how folders are uploaded.

Every name here that begins with an underscore has a test that fails once huggingface_hub renames it.
"""

from __future__ import annotations

import os
from dataclasses import fields, replace
from importlib.util import find_spec
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, constants


def is_unchanged(operation: Any) -> bool:
    """
    Whether huggingface_hub leaves this operation out of a commit, because the branch holds the same content already.

    It knows once the operation has been preuploaded or committed. Deletions are never left out.
    """
    if isinstance(operation, CommitOperationAdd):
        return operation._remote_oid is not None and operation._remote_oid == operation._local_oid
    if isinstance(operation, CommitOperationCopy):
        return operation._dest_oid is not None and operation._dest_oid == operation._src_oid
    return False


def forget_remote(operation: Any) -> None:
    """
    Let huggingface_hub forget which content the branch holds, so that it sends the file even if it is the same.

    Has no effect on copies: huggingface_hub asks for their content each time.
    """
    if isinstance(operation, CommitOperationAdd):
        operation._remote_oid = None


def digest_of(addition: CommitOperationAdd) -> str | None:
    """The Hub's name for the content: SHA-1 as git's, or SHA-256 of a large file. `None` before it is preuploaded."""
    return addition._local_oid


def note_remote(addition: CommitOperationAdd, oid: str) -> None:
    """Tell huggingface_hub which content the branch holds. It leaves out of a commit what is the same."""
    addition._remote_oid = oid


def is_ignored(addition: CommitOperationAdd) -> bool:
    """Whether the repository's `.gitignore` excludes the file. Known once it has been preuploaded."""
    return bool(addition._should_ignore)


def is_regular(addition: CommitOperationAdd) -> bool:
    """Whether the file's content travels inside the commit, not through LFS. Known once it has been preuploaded."""
    return addition._upload_mode == "regular"


def is_large(addition: CommitOperationAdd) -> bool:
    """Whether the file goes through LFS or Xet, and the commit only names it. Known once it has been preuploaded."""
    return addition._upload_mode == "lfs"


def is_stored(addition: CommitOperationAdd) -> bool:
    """
    Whether the Hub has the content, and `HfApi.preupload_lfs_files(free_memory=True)` has therefore dropped it.

    Also `True` for an empty file, which has no content to store.
    """
    return addition.path_or_fileobj == b""


def bypasses_create_commit() -> bool:
    """
    Whether `HfApi.upload_folder` sends its commits itself instead of calling `create_commit`.

    Later versions of huggingface_hub do so where they can use Xet.
    """
    has_pipeline = find_spec("huggingface_hub._upload_pipeline") is not None
    return has_pipeline and not constants.HF_HUB_DISABLE_XET and find_spec("hf_xet") is not None


def folder_additions(
    api: HfApi,
    folder_path: str | os.PathLike[str],
    path_in_repo: str,
    *,
    allow_patterns: list[str] | str | None,
    ignore_patterns: list[str] | str | None,
    repo_type: str | None,
    token: str | bool | None,
) -> list[CommitOperationAdd]:
    """The files that `HfApi.upload_folder` would add. Arguments as there."""
    return api._prepare_upload_folder_additions(
        os.fspath(folder_path),
        path_in_repo,
        allow_patterns=allow_patterns,
        ignore_patterns=ignore_patterns,
        repo_type=repo_type,
        token=token,
    )


def folder_deletions(
    api: HfApi,
    repo_id: str,
    path_in_repo: str,
    *,
    delete_patterns: list[str] | str | None,
    repo_type: str | None,
    revision: str | None,
    token: str | bool | None,
) -> list[CommitOperationDelete]:
    """The files that `HfApi.upload_folder` would delete. Arguments as there."""
    return api._prepare_folder_deletions(
        repo_id=repo_id,
        repo_type=repo_type,
        revision=revision,
        path_in_repo=path_in_repo,
        delete_patterns=delete_patterns,
        token=token,
    )


def commit_info(
    endpoint: str,
    *,
    repo_type: str | None,
    repo_id: str,
    oid: str,
    commit_message: str,
    commit_description: str,
    pr_url: str | None = None,
) -> CommitInfo:
    """The `CommitInfo` that `HfApi.create_commit` returns for a commit. `endpoint` is the Hub's address."""
    prefix = "" if repo_type in (None, constants.REPO_TYPE_MODEL) else f"{repo_type}s/"
    values: dict[str, Any] = {
        "commit_url": f"{endpoint}/{prefix}{repo_id}/commit/{oid}",
        "commit_message": commit_message,
        "commit_description": commit_description,
        "oid": oid,
        "pr_url": pr_url,
    }
    if any(field.name == "_endpoint" for field in fields(CommitInfo)):  # not in 0.x, whose addresses are absolute
        values["_endpoint"] = endpoint
    return CommitInfo(**values)


def as_pull_request(info: CommitInfo, pr_url: str) -> CommitInfo:
    """The same commit as part of the pull request with this address."""
    info.pr_url = pr_url
    # Sets `pr_num` and `pr_revision`.
    info.__post_init__()  # type: ignore[no-untyped-call]  # huggingface_hub's has no types
    return info


def as_folder(
    info: CommitInfo, endpoint: str, *, repo_type: str | None, repo_id: str, revision: str, path: str
) -> CommitInfo:
    """The same commit as `upload_folder` returns it: before 1.0, it is also a string, the address of the folder."""
    if "_url" not in {field.name for field in fields(CommitInfo)}:
        return info
    prefix = constants.REPO_TYPES_URL_PREFIXES.get(repo_type or "", "")
    url: dict[str, Any] = {"_url": f"{endpoint}/{prefix}{repo_id}/tree/{revision}/{path}"}
    return replace(info, **url)
