"""What the next commit will contain: additions and deletions, checked when they are staged."""

from __future__ import annotations

import itertools
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from huggingface_hub import CommitOperationAdd

from mat_vis_hub.commits import limits

STREAM_IN_MEMORY = 16_000_000  # bytes; a shorter stream is read into memory
# Counting the files of a folder takes requests, so it begins with this many additions to it.
_COUNT_FOLDER_FROM = 5_000


class StagingArea:
    """
    Staged additions and deletions of one commit.

    They behave as on a file system: the last operation on a path counts, and deleting a folder also removes what was
    staged inside it. A commit applies its deletions first and then its additions.
    """

    def __init__(self) -> None:
        self.additions: dict[str, CommitOperationAdd] = {}
        self.deletions: dict[str, None] = {}  # an ordered set; the path of a folder ends in "/"
        self.since = 0.0  # when the first operation was staged, on the monotonic clock

    def __len__(self) -> int:
        return len(self.additions) + len(self.deletions)

    def paths(self) -> list[str]:
        return [*self.deletions, *self.additions]

    def add(self, operation: CommitOperationAdd) -> None:
        self.additions[operation.path_in_repo] = operation
        self.deletions.pop(operation.path_in_repo, None)

    def delete(self, path: str) -> None:
        if path.endswith("/"):
            self.additions = {other: add for other, add in self.additions.items() if not other.startswith(path)}
            self.deletions = {other: None for other in self.deletions if not other.startswith(path)}
        self.additions.pop(path, None)
        if not self.deletes(path):
            self.deletions[path] = None

    def deletes(self, path: str) -> bool:
        """Whether the commit deletes what the repository has at `path`, directly or with a folder above it."""
        return path in self.deletions or any(folder in self.deletions for folder in _folders_above(path))

    def touches(self, path: str) -> bool:
        return path in self.additions or self.deletes(path)

    def take(self, most: int) -> StagingArea:
        """Take out the first `most` operations, in the order in which a commit applies them."""
        taken = StagingArea()
        taken.since = self.since
        for path in itertools.islice(list(self.deletions), most):
            del self.deletions[path]
            taken.deletions[path] = None
        for path in list(itertools.islice(self.additions, most - len(taken))):
            taken.additions[path] = self.additions.pop(path)
        return taken

    def merge(self, later: StagingArea) -> StagingArea:
        """Stage the operations of `later` on top of these. Returns this object."""
        for path in later.deletions:
            self.delete(path)
        for operation in later.additions.values():
            self.add(operation)
        return self


class FolderLimit:
    """
    Refuses additions to a folder that already has as many files as the Hub takes.

    Args:
        files_of (`Callable`):
            Returns the names of a folder's files. Called once per folder, and only if the folder may be full.
    """

    def __init__(self, files_of: Callable[[str], set[str]]) -> None:
        self._files_of = files_of
        self._lock = threading.Lock()
        self._added: Counter[str] = Counter()
        self._count = 0
        self._names: dict[str, set[str]] = {}

    def admit(self, path: str) -> None:
        """Count a file that is about to be staged. Raises `ValueError` if its folder is full."""
        folder, _, name = path.rpartition("/")
        with self._lock:
            self._added[folder] += 1
            self._count += 1
            if self._count == limits.REPOSITORY_LIMIT + 1:
                limits.warn_of_many(self._count)
            if self._added[folder] < _COUNT_FOLDER_FROM:
                return
            if folder not in self._names:
                self._names[folder] = self._files_of(folder)
            names = self._names[folder]
            if name not in names and len(names) >= limits.FOLDER_LIMIT:
                raise ValueError(
                    f"{path!r}: the folder {folder or '/'!r} already has {limits.FOLDER_LIMIT:,} files, and the Hub"
                    " takes no more. Spread the files over more folders."
                )
            names.add(name)

    def forget(self, path: str) -> None:
        """Stop counting what is deleted: a file, or a folder if the path ends in `/`."""
        folder, _, name = path.rpartition("/")
        with self._lock:
            if name:
                self._names.get(folder, set()).discard(name)
                return
            for other, names in self._names.items():
                if f"{other}/".startswith(path):
                    names.clear()


def addition_of(path: str, content: Any) -> CommitOperationAdd:
    """
    An addition of a local path, bytes, or a binary stream.

    A stream is read into memory. A long one stays a stream, rewound to its beginning.

    Raises:
        [`TypeError`](https://docs.python.org/3/library/exceptions.html#TypeError)
            If the content is something else.
        [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
            If there is no such file, or if a long stream cannot be rewound.
    """
    if isinstance(content, (str, os.PathLike)):
        return CommitOperationAdd(path, os.path.expanduser(os.fspath(content)))
    if isinstance(content, (bytes, bytearray, memoryview)):
        return CommitOperationAdd(path, bytes(content))
    if not hasattr(content, "read"):
        raise TypeError(f"The content of {path!r} is {type(content).__name__}; give a path, bytes or a binary stream.")
    return _addition_of_stream(path, content)


def _addition_of_stream(path: str, stream: Any) -> CommitOperationAdd:
    can_rewind = stream.seekable()
    if can_rewind:
        stream.seek(0)
    start = _read(path, stream)
    if len(start) < STREAM_IN_MEMORY:
        return CommitOperationAdd(path, start)
    if not can_rewind:
        raise ValueError(
            f"The content of {path!r} is a stream of {STREAM_IN_MEMORY:,} bytes or more that cannot be rewound."
            " Save it to a file and add that file's path."
        )
    stream.seek(0)
    return CommitOperationAdd(path, stream)


def _read(path: str, stream: Any) -> bytes:
    """Up to `STREAM_IN_MEMORY` bytes. One call may return fewer although more follow: pipes and sockets do that."""
    chunks: list[bytes] = []
    missing = STREAM_IN_MEMORY
    while missing > 0:
        chunk = stream.read(missing)
        if not isinstance(chunk, bytes):
            raise TypeError(f"The content of {path!r} is not a stream of bytes; open it in binary, blocking mode.")
        if not chunk:
            break
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)


def checked_path(path: object) -> str:
    """Return `path`. Raises `TypeError` or `ValueError` if no file in a repository can have it."""
    if not isinstance(path, str):
        raise TypeError(f"{path!r} is not the path of a file in a repository: a path is a string.")
    if any(name in ("", ".", "..") for name in path.split("/")):
        raise ValueError(f"{path!r} is not the path of a file in a repository, as in 'folder/file.json'.")
    return path


def _folders_above(path: str) -> Iterator[str]:
    end = path.rfind("/", 0, len(path) - 1)
    while end >= 0:
        yield path[: end + 1]
        end = path.rfind("/", 0, end)
