"""CommitBatch: many files, few commits.

Files gather until a commit is due; large ones are uploaded meanwhile, so that memory stays bounded. No thread runs
behind it: whichever `add` makes an upload or a commit due does it before it returns.

Three locks, always taken in this order: `_committing` (one commit at a time), `_uploading` (one upload at a time) and
`_lock` (what has gathered; held for moments only). While a commit waits for the Hub, other threads go on adding and
uploading until the next batch is full as well; then they wait, too.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, utils
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.hf_api import RepoFile, RepoFolder

from mat_vis_hub._internal import clock, progress
from mat_vis_hub._internal.sanitize import one_line
from mat_vis_hub.commits.staging import Changes, FolderLimit, checked_path, is_uploaded, operation_for

if TYPE_CHECKING:
    from typing_extensions import Self

_MB = 1_000_000
# The Hub takes 25,000 files and 1 GB of regular content in one commit. One that failed goes again together with what
# has gathered meanwhile, which may be as much again: each stays below half of that.
_MOST_FILES, _MOST_BYTES = 12_500, 400 * _MB
# Gathered for one upload: 256 is what one request asks about, and Xet needs some nine times the bytes while it uploads.
_UPLOAD_FILES, _UPLOAD_BYTES = 256, 16 * _MB
_EAGEREST = 0.1  # the share of its maxima at which a batch is due while nothing is spent
_PATHS_PER_REQUEST = 500
_logger = logging.getLogger("mat_vis_hub")


def due_share(spent: int, limit: int) -> float:
    """
    The share of its maxima at which a batch is due, when `spent` of `limit` commits have been made in this window.

    A tenth at first, so that files are committed promptly; growing exponentially; all of it from half the limit on.
    A long run at any steady pace therefore soon makes few and large commits, and reaches the limit only if even full
    batches come faster than the limit allows.

    Example:
    ```python
    >>> [round(due_share(spent, limit=128), 2) for spent in (0, 16, 32, 48, 64, 128)]
    [0.1, 0.18, 0.32, 0.56, 1.0, 1.0]

    ```
    """
    return math.pow(_EAGEREST, max(0.0, 1.0 - spent / (limit / 2)))


class CommitBatch:
    """
    Gathers changes to one branch of a repository, and commits them in as few commits as the quota demands.

    A batch is due at a share of one of its maxima: a tenth while nothing has been committed lately, all of it from half
    the quota on (see [`due_share`]). Leaving the `with` block commits the rest.

    Every method may be called from any thread. An `add` or `delete` that makes a commit due waits for it; if that
    fails, what `HfApi` raised is raised, and the changes stay `pending`: the next commit takes them along, and uploads
    nothing twice. A full batch whose commit keeps failing takes no more files, and each `add` raises why.

    Leaving the block by an exception commits what is due, unless that has just failed, and reports the rest: in a note
    on the exception (Python 3.11+) and as a warning of the logger `mat_vis_hub`. Ctrl-C commits nothing, and reports.

    Args:
        api (`HfApi`):
            Who commits. A [`ThrottledHfApi`] waits where the Hub refuses.
        repo_id (`str`):
            The repository, for example `"you/textures"`. It must exist.
        commit_message (`str`), commit_description (`str`, *optional*):
            Of every commit.
        repo_type, revision, token (*optional*):
            As in `HfApi.create_commit`. Pull requests are not opened; a revision `refs/pr/1` is fine.
        source (`str`, *optional*):
            Who is writing, as in `ThrottledHfApi.create_commit`.
        max_files (`int`, *optional*, defaults to `1000`):
            Changes in one commit. At most 12,500, half of what the Hub takes.
        max_bytes (`int`, *optional*, defaults to 100 MB):
            Bytes of regular files in one commit; large files do not count, they are uploaded as they come. At most
            400 MB.
        max_age (`float`, *optional*, defaults to `300.0`):
            Seconds that a change waits for its commit. Checked by each `add` and `delete`, not by a thread.
        limit (`int`, *optional*, defaults to `128`), window (`float`, *optional*, defaults to `3600.0`):
            The commits that the Hub accepts per so many seconds.

    Raises:
        [`TypeError`](https://docs.python.org/3/library/exceptions.html#TypeError),
        [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
            If an argument makes no sense; the message names it.

    Example:
    ```python
    >>> from mat_vis_hub import ThrottledHfApi
    >>> from mat_vis_hub.commits.batch import CommitBatch
    >>> api = ThrottledHfApi()
    >>> with CommitBatch(api, "you/textures", repo_type="dataset", commit_message="Bake") as batch:  # doctest: +SKIP
    ...     batch.add("brick/color.png", "brick.png")
    ...     batch.add("brick/license.txt", b"CC0")
    ...     batch.delete("drafts/")

    ```
    """

    def __init__(
        self,
        api: HfApi,
        repo_id: str,
        *,
        commit_message: str,
        commit_description: str | None = None,
        repo_type: str | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        source: str | None = None,
        max_files: int = 1000,
        max_bytes: int = 100 * _MB,
        max_age: float = 300.0,
        limit: int = 128,
        window: float = 3600.0,
    ) -> None:
        utils.validate_repo_id(repo_id)
        if not isinstance(commit_message, str) or not commit_message:
            raise ValueError(f"commit_message={commit_message!r}: every commit needs a message.")
        _check_number(max_files=max_files, max_bytes=max_bytes, limit=limit, at_least=1)
        _check_number(max_age=max_age, window=window, at_least=0)
        self._api = api
        self._where: dict[str, Any] = {"repo_id": repo_id, "repo_type": repo_type, "revision": revision, "token": token}
        self._commit_arguments = {"commit_message": commit_message, "commit_description": commit_description}
        if source is not None:
            self._commit_arguments["source"] = source
        self._max_files, self._max_bytes = min(max_files, _MOST_FILES), min(max_bytes, _MOST_BYTES)
        self._max_age, self._limit, self._window = max_age, limit, window
        self._committing, self._uploading, self._lock = threading.Lock(), threading.Lock(), threading.Lock()
        self._pending, self._in_flight = Changes(), Changes()
        self._fresh: dict[str, CommitOperationAdd] = {}  # of the pending ones, those that go with the next upload
        self._held = 0  # bytes of the other pending ones that wait for the commit: regular content
        self._commits: list[CommitInfo] = []
        self._landed_at: list[float] = []
        self._failed = False  # the last commit did
        self._folders = FolderLimit(self._files_of)
        self._bar: Any = None

    # ---- what callers do -------------------------------------------------------------------------------

    def add(self, path_in_repo: str, content: str | os.PathLike[str] | bytes | BinaryIO) -> None:
        """
        Put a file at `path_in_repo`: a local path, bytes, or a binary stream, which is taken from its beginning.

        A local file must stay as it is until it is committed; a stream may be closed at once. Of two files for one path
        the later wins. The 10,001st file of a folder raises `ValueError`.
        """
        operation = operation_for(checked_path(path_in_repo), content)
        self._folders.admit(path_in_repo)
        if not isinstance(operation.path_or_fileobj, (str, bytes)):
            self._upload_stream(operation)

        def gather() -> None:
            self._pending.add(operation)
            # An upload compares a file with the Hub's; that is about to change where a commit under way touches it.
            if not is_uploaded(operation) and not self._in_flight.touches(path_in_repo):
                self._fresh[path_in_repo] = operation

        self._change(path_in_repo, gather)

    def delete(self, path_in_repo: str) -> None:
        """
        Delete a file, or a folder if the path ends in `/`, together with what this batch has added there so far.

        What is not there when the batch is committed is left out, with a warning of the logger `mat_vis_hub`.
        """
        checked_path(path_in_repo.removesuffix("/") if isinstance(path_in_repo, str) else path_in_repo)
        self._folders.forget(path_in_repo)
        self._change(path_in_repo, lambda: self._pending.delete(path_in_repo))

    def flush(self) -> CommitInfo | None:
        """Commit all that is pending now. `None` if that changes nothing."""
        with self._committing:
            return self._commit()

    @property
    def commits(self) -> list[CommitInfo]:
        """What landed, in order."""
        with self._lock:
            return list(self._commits)

    @property
    def pending(self) -> list[str]:
        """The paths whose addition or deletion has not landed yet; those of a commit under way among them."""
        with self._lock:
            return list(dict.fromkeys([*self._in_flight.paths(), *self._pending.paths()]))

    def __enter__(self) -> Self:
        self._bar = utils.tqdm(  # type: ignore[no-untyped-call]  # huggingface_hub's has no types
            desc=one_line(self._where["repo_id"]), unit=" files", disable=not progress.someone_watches()
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None or (isinstance(error, Exception) and not self._failed and self._is_due()):
                self.flush()
        except BaseException as failure:
            if error is None or not isinstance(failure, Exception):
                error = failure
                raise
            _logger.warning("A commit of this batch failed: %s", one_line(str(failure)))
        finally:
            self._bar.close()
            self._bar = None
            self._report(error)

    # ---- when --------------------------------------------------------------------------------------------

    def _change(self, path: str, change: Callable[[], None]) -> None:
        """Apply `change` to what is pending, once there is room; then do what has become due."""
        while not self._apply(path, change):
            self._do_what_is_due()
        self._do_what_is_due()

    def _apply(self, path: str, change: Callable[[], None]) -> bool:
        with self._lock:
            if path not in self._pending.additions and (self._is_full() or self._is_crowded()):
                return False
            self._pending.since = self._pending.since if self._pending else clock.monotonic()
            change()
            self._show()
            return True

    def _do_what_is_due(self) -> None:
        if self._is_crowded():
            self._upload_fresh()
        # Whoever finds a commit under way leaves it at that, unless there is no room for more.
        if (self._is_due() or self._is_full()) and self._committing.acquire(blocking=self._is_full()):
            try:
                if self._is_due():
                    self._commit()
            finally:
                self._committing.release()

    def _is_due(self) -> bool:
        share = due_share(self._spent(), self._limit)
        changes = self._pending
        aged = bool(changes) and clock.monotonic() - changes.since >= share * self._max_age
        return aged or self._has_reached(share)

    def _is_full(self) -> bool:
        # A failed commit takes along what has gathered meanwhile: while it is tried again, nothing more may gather.
        return self._has_reached(1.0) or (self._failed and bool(self._in_flight))

    def _has_reached(self, share: float) -> bool:
        return len(self._pending) >= max(1.0, share * self._max_files) or self._held >= share * self._max_bytes

    def _is_crowded(self) -> bool:
        sizes = [operation.upload_info.size for operation in list(self._fresh.values())]
        room = max(1, min(_UPLOAD_BYTES, self._max_bytes - self._held))  # it may be regular content, all of it
        return len(sizes) >= _UPLOAD_FILES or sum(sizes) >= room

    def _spent(self) -> int:
        """The commits of this window as far as this batch knows: its own. A shared count would be asked here."""
        began = clock.monotonic() - self._window
        return sum(landed_at > began for landed_at in list(self._landed_at))

    # ---- uploads -----------------------------------------------------------------------------------------

    def _upload_fresh(self) -> None:
        with self._uploading:
            with self._lock:
                if not self._is_crowded():
                    return  # another thread has just done it
                fresh, self._fresh = self._fresh, {}
                current = [add for path, add in fresh.items() if self._pending.additions.get(path) is add]
            try:
                self._upload(current)
            finally:
                with self._lock:
                    self._count_held()

    def _upload_stream(self, operation: CommitOperationAdd) -> None:
        """A stream too large for memory goes up at once: its caller may close it."""
        is_about_to_change = self._in_flight.touches(operation.path_in_repo)
        with self._committing if is_about_to_change else contextlib.nullcontext(), self._uploading:
            stream: Any = operation.path_or_fileobj
            self._upload([operation])
            if not is_uploaded(operation):  # the repository's .gitignore names it
                operation.path_or_fileobj = stream.read()

    def _upload(self, additions: Iterable[CommitOperationAdd]) -> None:
        """Store what is large, and find out what is not. Costs nothing for what has been here before."""
        self._api.preupload_lfs_files(additions=additions, free_memory=True, **self._where)

    def _count_held(self) -> None:
        waiting = (add for path, add in self._pending.additions.items() if path not in self._fresh)
        self._held = sum(add.upload_info.size for add in waiting if not is_uploaded(add))

    # ---- commits -----------------------------------------------------------------------------------------

    def _commit(self) -> CommitInfo | None:
        try:
            with self._lock:
                self._in_flight, self._pending = self._pending, Changes()
                self._fresh, self._held = {}, 0
            info = self._send(self._in_flight) if self._in_flight else None
        except BaseException:
            self._failed = True
            with self._lock:
                self._pending, self._in_flight = self._in_flight.then(self._pending), Changes()
                self._count_held()
            raise
        self._failed = False
        with self._lock:
            landed, self._in_flight = len(self._in_flight), Changes()
            if info is not None:
                self._commits.append(info)
                self._landed_at.append(clock.monotonic())
            self._show(landed)
        return info

    def _send(self, changes: Changes) -> CommitInfo | None:
        with self._uploading:
            self._upload(list(changes.additions.values()))
        deletions = list(self._without_missing(changes.deletions))
        additions = list(changes.additions.values())
        for operation in additions:
            if changes.deletes(operation.path_in_repo):  # some versions leave it out if it equals what is deleted here
                operation._remote_oid = None
        operations = [*deletions, *additions]
        if not operations:
            return None
        create_commit: Callable[..., CommitInfo] = self._api.create_commit
        info = create_commit(operations=operations, **self._where, **self._commit_arguments)
        # Where no file differs from the Hub's, huggingface_hub commits nothing and returns the last commit there is.
        landed = deletions or any(operation._is_committed for operation in additions)
        return info if landed else None

    def _without_missing(self, paths: Iterable[str]) -> Iterator[CommitOperationDelete]:
        """The deletions that the Hub would not refuse: one path that is not there would hold up all the others."""
        for chunk in utils.chunk_iterable(paths, _PATHS_PER_REQUEST):
            wanted = list(chunk)
            infos = self._api.get_paths_info(paths=[path.rstrip("/") for path in wanted], **self._where)
            present = {info.path + "/" if isinstance(info, RepoFolder) else info.path for info in infos}
            for path in wanted:
                if path in present:
                    yield CommitOperationDelete(path)
                else:
                    kind = "folder" if path.endswith("/") else "file"
                    _logger.warning("%s has no %s %s to delete.", self._where["repo_id"], kind, one_line(path))

    def _files_of(self, folder: str) -> set[str]:
        """The names of the files that `folder` will have once all that is pending is committed."""
        with self._lock:
            changes = Changes().then(self._in_flight).then(self._pending)
        try:
            tree = self._api.list_repo_tree(path_in_repo=folder or None, **self._where)
            there = [entry.path for entry in tree if isinstance(entry, RepoFile) and not changes.deletes(entry.path)]
        except EntryNotFoundError:
            there = []
        return {path.rpartition("/")[2] for path in (*there, *changes.additions) if path.rpartition("/")[0] == folder}

    # ---- what people see ---------------------------------------------------------------------------------

    def _show(self, landed: int = 0) -> None:
        if self._bar is not None:
            self._bar.set_postfix(commits=len(self._commits), pending=len(self._pending), refresh=False)
            self._bar.update(landed)

    def _report(self, error: BaseException | None) -> None:
        """Say what has not been committed."""
        left = self.pending
        if not left:
            return
        first = ", ".join(one_line(path) for path in left[:5]) + (f" and {len(left) - 5} more" if left[5:] else "")
        what = "1 change" if len(left) == 1 else f"{len(left)} changes"
        report = f"{what} of this batch for {self._where['repo_id']} not committed: {first}. Put them into a new batch."
        _logger.warning("%s", report)
        if error is not None and hasattr(error, "add_note"):  # Python 3.11+
            error.add_note(report)


def _check_number(*, at_least: int, **numbers: Any) -> None:
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= at_least:
            raise ValueError(f"CommitBatch({name}={value!r}): {name} must be a number, {at_least} or more.")
