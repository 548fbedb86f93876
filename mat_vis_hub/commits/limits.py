"""What the Hub does not take, said before anything is uploaded.

The limits are those of the Hub's documentation, https://huggingface.co/docs/hub/storage-limits#repository-limitations.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable

from mat_vis_hub._internal.sanitize import one_line

FOLDER_LIMIT = 10_000  # files in one folder
COMMIT_LIMIT = 25_000  # large files in one commit
REPOSITORY_LIMIT = 100_000  # files in a repository; more is possible, but discouraged


def check_folders(paths: Iterable[str]) -> None:
    """
    Check files that are about to be uploaded.

    Args:
        paths (`Iterable` of `str`): Their paths in the repository.

    Raises:
        [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
            If a folder would have more files than the Hub takes. It is named.
    """
    folders = Counter(path.rpartition("/")[0] for path in paths)
    for folder, count in folders.most_common(1):
        if count > FOLDER_LIMIT:
            raise ValueError(
                f"The folder {one_line(folder) or '/'!r} has {count:,} files, and the Hub takes no more than"
                f" {FOLDER_LIMIT:,} in one folder. Spread them over more folders. Nothing has been uploaded."
            )
    warn_of_many(sum(folders.values()))


def check_commit(count: int, repo_id: str) -> None:
    """
    Check a commit before it is built.

    Args:
        count (`int`): Its operations.
        repo_id (`str`): The repository.

    Raises:
        [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
            If the Hub does not take that many.
    """
    if count > COMMIT_LIMIT:
        raise ValueError(
            f"A commit to {repo_id} with {count:,} operations: the Hub takes no more than {COMMIT_LIMIT:,} files in one"
            " commit, and cuts one off that takes longer than a minute. Use upload_folder or batch, which make several"
            " commits. Nothing has been uploaded."
        )


def warn_of_many(count: int) -> None:
    """Warn if that many files are discouraged."""
    if count > REPOSITORY_LIMIT:
        warnings.warn(
            f"{count:,} files: the Hub recommends no more than {REPOSITORY_LIMIT:,} in one repository. Pack small files"
            " into archives or Parquet files.",
            stacklevel=3,
        )
