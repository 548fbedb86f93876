"""CommitBatch: many files in few commits.

Files are staged until a commit is due. Large files are uploaded meanwhile, so memory stays bounded. There is no
background thread: the `add` or `delete` that makes an upload or a commit due carries it out before it returns.

There are three locks, always taken in this order: `_commit_lock` (one commit at a time), `_upload_lock` (one upload at
a time) and `_lock` (the staged operations; held briefly). While a commit waits for the Hub, other threads go on adding
and uploading until the next batch is full. Then they wait for the commit.
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

from mat_vis_hub._hub.operations import forget_remote, is_stored, is_unchanged
from mat_vis_hub._hub.repository import check_repo_type
from mat_vis_hub._internal import clock, progress
from mat_vis_hub._internal.sanitize import one_line
from mat_vis_hub.commits.staging import FolderLimit, StagingArea, addition_of, checked_path

if TYPE_CHECKING:
    from typing_extensions import Self

_MB = 1_000_000
# The Hub takes 25,000 files and 1 GB of regular content in one commit. After a failed commit, the next one also
# contains what was staged meanwhile, which may be as much again. So each stays below half of that.
_MOST_FILES, _MOST_BYTES = 12_500, 400 * _MB
# One preupload request asks about up to 256 files. Xet needs about nine times the bytes while it uploads them.
_UPLOAD_FILES, _UPLOAD_BYTES = 256, 16 * _MB
_SMALLEST_SHARE = 0.1  # of its maxima, at which a batch is due while no commits are used
_PATHS_PER_REQUEST = 500
_logger = logging.getLogger("mat_vis_hub")


def due_share(used: int, limit: int) -> float:
    """
    The share of its maxima at which a batch is due.

    It is a tenth at first, so that files are committed promptly. It grows exponentially and reaches 1 at half the
    limit. A long run at a steady pace therefore soon makes few large commits, and is refused only if even full batches
    come faster than the limit allows.

    Args:
        used (`int`): Commits made in the current window.
        limit (`int`): Commits that the Hub accepts per window.

    Example:
    ```python
    >>> [round(due_share(used, limit=128), 2) for used in (0, 16, 32, 48, 64, 128)]
    [0.1, 0.18, 0.32, 0.56, 1.0, 1.0]

    ```
    """
    return math.pow(_SMALLEST_SHARE, max(0.0, 1.0 - used / (limit / 2)))


class CommitBatch:
    """
    Stages changes to one branch of a repository and commits them in as few commits as the quota requires.

    A batch is due at a share of one of its maxima: a tenth while no commits were made recently, all of it from half the
    quota on (see [`due_share`]). Leaving the `with` block commits the rest.

    Every method may be called from any thread. An `add` or `delete` that makes a commit due waits for it. If the commit
    fails, the exception of `HfApi` is raised and its changes stay `pending`. The next commit includes them and uploads
    nothing twice. A full batch whose commit keeps failing takes no more files: each `add` raises the reason.

    If the block is left by an exception, what is due is committed, unless the last commit failed. What remains is
    reported in a note on the exception (Python 3.11+) and in a warning of the logger `mat_vis_hub`. After Ctrl-C
    nothing is committed, and everything is reported.

    Args:
        api (`HfApi`):
            Sends the commits. A [`ThrottledHfApi`] waits when the Hub refuses one.
        repo_id (`str`):
            The repository, for example `"you/textures"`. It must exist.
        commit_message (`str`), commit_description (`str`, *optional*):
            Used for every commit.
        repo_type, revision, token (*optional*):
            As in `HfApi.create_commit`. A batch opens no pull request; a revision `refs/pr/1` works.
        source (`str`, *optional*):
            Who is writing, as in `ThrottledHfApi.create_commit`.
        max_files (`int`, *optional*, defaults to `1000`):
            Changes in one commit. At most 12,500, half of what the Hub takes.
        max_bytes (`int`, *optional*, defaults to 100 MB):
            Bytes of regular files in one commit. Large files do not count: they are uploaded when they are added. At
            most 400 MB.
        max_age (`float`, *optional*, defaults to `300.0`):
            Seconds that a change waits for its commit. Checked by each `add` and `delete`, not by a thread.
        limit (`int`, *optional*, defaults to `128`), window (`float`, *optional*, defaults to `3600.0`):
            Commits that the Hub accepts per window, and the window in seconds.

    Raises:
        [`TypeError`](https://docs.python.org/3/library/exceptions.html#TypeError),
        [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
            If an argument is invalid; the message names it.

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
        check_repo_type(repo_type)
        if not isinstance(commit_message, str) or not commit_message:
            raise ValueError(f"commit_message={commit_message!r}: every commit needs a message.")
        if source is not None and not isinstance(source, str):
            raise TypeError(f"source={source!r}: source must be a string.")
        _check_number(max_files=max_files, max_bytes=max_bytes, limit=limit, at_least=1)
        _check_number(max_age=max_age, window=window, at_least=0)
        self._api = api
        self._where: dict[str, Any] = {"repo_id": repo_id, "repo_type": repo_type, "revision": revision, "token": token}
        self._commit_arguments = {"commit_message": commit_message, "commit_description": commit_description}
        if source is not None:
            self._commit_arguments["source"] = source
        self._max_files, self._max_bytes = min(max_files, _MOST_FILES), min(max_bytes, _MOST_BYTES)
        self._max_age, self._limit, self._window = max_age, limit, window
        self._commit_lock, self._upload_lock, self._lock = threading.Lock(), threading.Lock(), threading.Lock()
        self._staged, self._in_flight = StagingArea(), StagingArea()
        self._not_uploaded: dict[str, CommitOperationAdd] = {}  # staged files that the next upload includes
        self._regular_bytes = 0  # of the other staged files: content that travels inside the commit
        self._commits: list[CommitInfo] = []
        self._committed_at: list[float] = []
        self._last_commit_failed = False
        self._folder_limit = FolderLimit(self._files_of)
        self._bar: Any = None

    # ---- public ------------------------------------------------------------------------------------------

    def add(self, path_in_repo: str, content: str | os.PathLike[str] | bytes | BinaryIO) -> None:
        """
        Add a file.

        A local file must not change until it is committed. A stream may be closed at once. If a path is added twice,
        the later content counts.

        Args:
            path_in_repo (`str`):
                The file's path in the repository.
            content (`str`, `Path`, `bytes` or binary stream):
                A local path, the content itself, or a stream, which is read from its beginning.

        Raises:
            [`TypeError`](https://docs.python.org/3/library/exceptions.html#TypeError),
            [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
                If an argument is invalid, or if the folder already has 10,000 files. The batch is unchanged.
            Whatever `HfApi` raises if an upload or a commit was due and failed. The file has been added.
        """
        addition = addition_of(checked_path(path_in_repo), content)
        self._folder_limit.admit(path_in_repo)
        if not isinstance(addition.path_or_fileobj, (str, bytes)):
            self._upload_stream(addition)

        def stage() -> None:
            self._staged.add(addition)
            # An upload compares a file with the branch, which a commit in flight may be about to change.
            if not is_stored(addition) and not self._in_flight.touches(path_in_repo):
                self._not_uploaded[path_in_repo] = addition

        self._stage(path_in_repo, stage)

    def delete(self, path_in_repo: str) -> None:
        """
        Delete a file or a folder, including what this batch has added there.

        What does not exist when the batch is committed is left out, with a warning of the logger `mat_vis_hub`.

        Args:
            path_in_repo (`str`):
                The path in the repository. A folder's ends in `/`.

        Raises:
            [`TypeError`](https://docs.python.org/3/library/exceptions.html#TypeError),
            [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
                If the path is invalid.
            Whatever `HfApi` raises if a commit was due and failed. The deletion stays pending.
        """
        checked_path(path_in_repo.removesuffix("/") if isinstance(path_in_repo, str) else path_in_repo)
        self._folder_limit.forget(path_in_repo)
        self._stage(path_in_repo, lambda: self._staged.delete(path_in_repo))

    def flush(self) -> CommitInfo | None:
        """
        Commit everything that is pending.

        Returns:
            `CommitInfo`, or `None` if that changes nothing.
        """
        with self._commit_lock:
            return self._commit()

    @property
    def commits(self) -> list[CommitInfo]:
        """The commits of this batch, in order."""
        with self._lock:
            return list(self._commits)

    @property
    def pending(self) -> list[str]:
        """The paths whose addition or deletion is not committed yet, including those of a commit in flight."""
        with self._lock:
            return list(dict.fromkeys([*self._in_flight.paths(), *self._staged.paths()]))

    def __enter__(self) -> Self:
        self._bar = utils.tqdm(  # type: ignore[no-untyped-call]  # huggingface_hub's has no types
            desc=one_line(self._where["repo_id"]), unit=" files", disable=not progress.someone_watches()
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None or (isinstance(error, Exception) and not self._last_commit_failed and self._is_due()):
                self.flush()
        except BaseException as failure:
            if error is None or not isinstance(failure, Exception):
                error = failure
                raise
            _logger.warning("A commit of this batch failed: %s", one_line(str(failure)))
        finally:
            self._bar.close()
            self._bar = None
            self._report_pending(error)

    # ---- when to upload and commit -----------------------------------------------------------------------

    def _stage(self, path: str, stage: Callable[[], None]) -> None:
        """Call `stage` once there is room, then upload and commit what has become due."""
        while not self._stage_if_room(path, stage):
            self._do_what_is_due()
        self._do_what_is_due()

    def _stage_if_room(self, path: str, stage: Callable[[], None]) -> bool:
        with self._lock:
            if path not in self._staged.additions and (self._is_full() or self._needs_upload()):
                return False
            if not self._staged:
                self._staged.since = clock.monotonic()
            stage()
            self._show()
            return True

    def _do_what_is_due(self) -> None:
        if self._needs_upload():
            self._upload_staged()
        # Another thread may be committing. Wait for it only if there is no room for more.
        if (self._is_due() or self._is_full()) and self._commit_lock.acquire(blocking=self._is_full()):
            try:
                if self._is_due():
                    self._commit()
            finally:
                self._commit_lock.release()

    def _is_due(self) -> bool:
        share = due_share(self._commits_used(), self._limit)
        staged = self._staged
        is_old = bool(staged) and clock.monotonic() - staged.since >= share * self._max_age
        return is_old or self._has_reached(share)

    def _is_full(self) -> bool:
        # A failed commit is retried together with what was staged meanwhile, so nothing is added during the retry.
        return self._has_reached(1.0) or (self._last_commit_failed and bool(self._in_flight))

    def _has_reached(self, share: float) -> bool:
        enough_files = len(self._staged) >= max(1.0, share * self._max_files)
        return enough_files or self._regular_bytes >= share * self._max_bytes

    def _needs_upload(self) -> bool:
        sizes = [addition.upload_info.size for addition in list(self._not_uploaded.values())]
        room = max(1, min(_UPLOAD_BYTES, self._max_bytes - self._regular_bytes))  # all of it may be regular content
        return len(sizes) >= _UPLOAD_FILES or sum(sizes) >= room

    def _commits_used(self) -> int:
        """The commits in the current window, as far as this batch knows: its own."""
        window_began = clock.monotonic() - self._window
        return sum(moment > window_began for moment in list(self._committed_at))

    # ---- uploads -----------------------------------------------------------------------------------------

    def _upload_staged(self) -> None:
        with self._upload_lock:
            with self._lock:
                if not self._needs_upload():
                    return  # another thread has just uploaded
                taken, self._not_uploaded = self._not_uploaded, {}
                current = [add for path, add in taken.items() if self._staged.additions.get(path) is add]
            try:
                self._upload(current)
            finally:
                with self._lock:
                    self._count_regular_bytes()

    def _upload_stream(self, addition: CommitOperationAdd) -> None:
        """Upload a stream that is too long for memory now, because its caller may close it."""
        branch_will_change = self._in_flight.touches(addition.path_in_repo)
        with self._commit_lock if branch_will_change else contextlib.nullcontext(), self._upload_lock:
            stream: Any = addition.path_or_fileobj
            self._upload([addition])
            if not is_stored(addition):  # excluded by the repository's .gitignore
                addition.path_or_fileobj = stream.read()

    def _upload(self, additions: Iterable[CommitOperationAdd]) -> None:
        """Store the large files, and find out which ones are regular. Repeating it sends no request."""
        self._api.preupload_lfs_files(additions=additions, free_memory=True, **self._where)

    def _count_regular_bytes(self) -> None:
        additions = self._staged.additions.items()
        waiting = (add for path, add in additions if path not in self._not_uploaded)
        self._regular_bytes = sum(add.upload_info.size for add in waiting if not is_stored(add))

    # ---- commits -----------------------------------------------------------------------------------------

    def _commit(self) -> CommitInfo | None:
        try:
            with self._lock:
                self._in_flight, self._staged = self._staged, StagingArea()
                self._not_uploaded, self._regular_bytes = {}, 0
            info = self._send(self._in_flight) if self._in_flight else None
        except BaseException:
            self._last_commit_failed = True
            with self._lock:
                self._staged, self._in_flight = self._in_flight.merge(self._staged), StagingArea()
                self._count_regular_bytes()
            raise
        self._last_commit_failed = False
        with self._lock:
            done, self._in_flight = len(self._in_flight), StagingArea()
            if info is not None:
                self._commits.append(info)
                self._committed_at.append(clock.monotonic())
            self._show(done)
        return info

    def _send(self, staged: StagingArea) -> CommitInfo | None:
        additions = list(staged.additions.values())
        with self._upload_lock:
            self._upload(additions)
        for addition in additions:
            if staged.deletes(addition.path_in_repo):  # some versions leave out a file that equals the deleted one
                forget_remote(addition)
        operations = [*self._existing(staged.deletions), *additions]
        if not operations:
            return None
        create_commit: Callable[..., CommitInfo] = self._api.create_commit
        info = create_commit(operations=operations, **self._where, **self._commit_arguments)
        # If nothing changes, huggingface_hub sends no commit and returns the newest one of the branch.
        return None if all(map(is_unchanged, operations)) else info

    def _existing(self, paths: Iterable[str]) -> Iterator[CommitOperationDelete]:
        """The deletions of what exists. The Hub would refuse the whole commit because of one missing path."""
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
        """The names of the files that `folder` will have once everything pending is committed."""
        with self._lock:
            pending = StagingArea().merge(self._in_flight).merge(self._staged)
        try:
            tree = self._api.list_repo_tree(path_in_repo=folder or None, **self._where)
            there = [entry.path for entry in tree if isinstance(entry, RepoFile) and not pending.deletes(entry.path)]
        except EntryNotFoundError:
            there = []
        return {path.rpartition("/")[2] for path in (*there, *pending.additions) if path.rpartition("/")[0] == folder}

    # ---- progress and reports ----------------------------------------------------------------------------

    def _show(self, done: int = 0) -> None:
        if self._bar is not None:
            self._bar.set_postfix(commits=len(self._commits), pending=len(self._staged), refresh=False)
            self._bar.update(done)

    def _report_pending(self, error: BaseException | None) -> None:
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
