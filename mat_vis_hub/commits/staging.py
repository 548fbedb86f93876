"""What goes into a commit: files and deletions, checked one by one, and merged as a file system would."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from huggingface_hub import CommitOperationAdd

STREAM_IN_MEMORY = 16_000_000  # bytes; a shorter stream is read into memory
_FOLDER_LIMIT = 10_000  # files in one folder of the Hub
_FOLDER_IN_QUESTION = 5_000  # from so many on it is worth requests to know how many there are


class Changes:
    """What a commit does to a repository, as a file system would: deletions first, then additions."""

    def __init__(self) -> None:
        self.additions: dict[str, CommitOperationAdd] = {}
        self.deletions: dict[str, None] = {}  # in order; a folder ends in "/"
        self.since = 0.0  # when the first change was made

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
        """Whether what the repository has at `path` goes, by itself or with a folder."""
        return path in self.deletions or any(folder in self.deletions for folder in _folders_above(path))

    def touches(self, path: str) -> bool:
        return path in self.additions or self.deletes(path)

    def then(self, later: Changes) -> Changes:
        """Make `later` part of these changes."""
        for path in later.deletions:
            self.delete(path)
        for operation in later.additions.values():
            self.add(operation)
        return self


class FolderLimit:
    """Refuses the file that would be one too many for its folder."""

    def __init__(self, files_of: Callable[[str], set[str]]) -> None:
        self._files_of = files_of  # costs requests, so it is asked once per folder, and only where it matters
        self._lock = threading.Lock()
        self._added: Counter[str] = Counter()
        self._names: dict[str, set[str]] = {}

    def admit(self, path: str) -> None:
        """Count a file that is about to be added; `ValueError` if its folder is full."""
        folder, _, name = path.rpartition("/")
        with self._lock:
            self._added[folder] += 1
            if self._added[folder] < _FOLDER_IN_QUESTION:
                return
            if folder not in self._names:
                self._names[folder] = self._files_of(folder)
            names = self._names[folder]
            if name not in names and len(names) >= _FOLDER_LIMIT:
                raise ValueError(
                    f"{path!r}: the folder {folder or '/'!r} has {_FOLDER_LIMIT:,} files already, and the Hub takes no"
                    " more. Spread them over more folders."
                )
            names.add(name)

    def forget(self, path: str) -> None:
        """Make room for what is deleted: a file, or a folder if the path ends in `/`."""
        folder, _, name = path.rpartition("/")
        with self._lock:
            if name:
                self._names.get(folder, set()).discard(name)
                return
            for other, names in self._names.items():
                if f"{other}/".startswith(path):
                    names.clear()


def operation_for(path: str, content: Any) -> CommitOperationAdd:
    """A file with its content: a local path, bytes, or a binary stream. Only a long stream is left as it is."""
    if isinstance(content, (str, os.PathLike)):
        return CommitOperationAdd(path, os.path.expanduser(os.fspath(content)))
    if isinstance(content, (bytes, bytearray, memoryview)):
        return CommitOperationAdd(path, bytes(content))
    if not hasattr(content, "read"):
        raise TypeError(f"The content of {path!r} is {type(content).__name__}; give a path, bytes or a binary stream.")
    can_rewind = content.seekable()
    if can_rewind:
        content.seek(0)
    start = content.read(STREAM_IN_MEMORY)
    if not isinstance(start, bytes):
        raise TypeError(f"The content of {path!r} is a text stream; open it in binary mode.")
    if len(start) < STREAM_IN_MEMORY:
        return CommitOperationAdd(path, start)
    if not can_rewind:
        raise ValueError(
            f"The content of {path!r} is a stream of {STREAM_IN_MEMORY:,} bytes or more that cannot be rewound."
            " Save it to a file and add that file's path."
        )
    content.seek(0)
    return CommitOperationAdd(path, content)


def is_uploaded(operation: CommitOperationAdd) -> bool:
    """Whether its content is stored already. An empty file counts: there is nothing to store."""
    return operation.path_or_fileobj == b""  # what `HfApi.preupload_lfs_files(free_memory=True)` leaves


def _folders_above(path: str) -> Iterator[str]:
    end = path.rfind("/", 0, len(path) - 1)
    while end >= 0:
        yield path[: end + 1]
        end = path.rfind("/", 0, end)


def checked_path(path: object) -> str:
    """`path`; `TypeError` or `ValueError` unless it can be a file's in a repository."""
    if not isinstance(path, str):
        raise TypeError(f"path_in_repo={path!r}: a path in a repository is a string.")
    if any(name in ("", ".", "..") for name in path.split("/")):
        raise ValueError(f"path_in_repo={path!r}: a path in a repository is names with '/' between, as in 'a/b.png'.")
    return path
