"""A lock on a file, which the operating system gives back when its process dies, however it dies."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

    def _unlock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: int) -> None:
        # `flock`, and not `lockf`: two that open the file in one process exclude each other as well.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)  # also where a forked child has inherited the open file


_open: set[int] = set()  # the files of the locks that this process holds


class FileLock:
    """
    A lock among all threads and processes of this machine. Its file exists while somebody holds it.

    Args:
        path (`Path`): The file.
        like (`Path`): Who may open this file may take the lock.
    """

    def __init__(self, path: Path, like: Path) -> None:
        self._path = path
        self._like = like
        self._file: int | None = None

    @property
    def is_held(self) -> bool:
        return self._file is not None

    def acquire(self) -> bool:
        """Take the lock, unless another one holds it; returns whether it is ours. Never waits."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                _lock(file)
            except (BlockingIOError, PermissionError):  # another one holds it; the latter is Windows'
                return False
            if not self._is_at_path(file):
                return False  # the last holder has just removed this file
            if hasattr(os, "fchmod"):
                with suppress(OSError):
                    os.fchmod(file, os.stat(self._like).st_mode & 0o666)
            os.utime(self._path)
            self._file = file
        finally:
            if self._file is None:
                os.close(file)
        _open.add(file)
        return True

    def renew(self) -> None:
        """Show others that the holder is alive."""
        with suppress(OSError):
            os.utime(self._path)

    def holder(self) -> object:
        """What changes with each holder, and whenever it renews the lock. `None` if nobody holds it."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns

    def release(self) -> None:
        """Give the lock back, if it is held."""
        file, self._file = self._file, None
        if file is not None and file in _open:
            _open.discard(file)
            with suppress(OSError):
                if sys.platform != "win32" and self._is_at_path(file):
                    os.unlink(self._path)
            try:
                _unlock(file)
            finally:
                os.close(file)
            with suppress(OSError):
                if sys.platform == "win32":  # it removes no file that is open, so this one is nobody's
                    os.unlink(self._path)

    def _is_at_path(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), os.stat(self._path))
        except FileNotFoundError:
            return False


def _after_fork_in_child() -> None:
    """The locks stay with the parent. A child that kept the files open would hold them when the parent dies."""
    for file in _open:
        with suppress(OSError):
            os.close(file)
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
