"""CommitBatch: many files in few commits.

Files are staged until a commit is due. Inside a `with` block two threads do the work: one uploads large files as they
are added, and one commits. `add` returns at once until so much is pending that it has to wait. Without a `with` block,
or with `background=False`, the `add` or `delete` that makes an upload or a commit due carries it out itself.

There are three locks, always taken in this order: `_commit_lock` (one commit at a time), `_upload_lock` (one upload at
a time) and `_changed` (the staged operations; held briefly).
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, utils
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.hf_api import RepoFile, RepoFolder

from mat_vis_hub._hub.operations import digest_of, forget_remote, is_ignored, is_stored, is_unchanged
from mat_vis_hub._hub.repository import check_repo_type
from mat_vis_hub._internal import clock, progress
from mat_vis_hub._internal.sanitize import one_line
from mat_vis_hub.commits.background import Background, Job, with_own_waits
from mat_vis_hub.commits.eagerness import Eagerness
from mat_vis_hub.commits.pacer import MOST_BYTES, MOST_OPERATIONS, bytes_of
from mat_vis_hub.commits.sender import PATHS_PER_REQUEST, Sender, contents
from mat_vis_hub.commits.staging import FolderLimit, StagingArea, addition_of, checked_path

if TYPE_CHECKING:
    from typing_extensions import Self

_MB = 1_000_000
# One preupload request asks about up to 256 files. Xet needs about nine times the bytes while it uploads them.
_UPLOAD_FILES, _UPLOAD_BYTES = 256, 16 * _MB
_BYTES_OF_AN_OPERATION = 2_500  # in memory, beside its content
_logger = logging.getLogger("mat_vis_hub")


class CommitBatch:
    """
    Stages changes to one branch of a repository and commits them in as few commits as the quota requires.

    While little of the quota is used, files are committed promptly: the first 256 of them, or after half a minute, and
    smaller numbers from then on. The more is used, the more files wait for one commit. No commit is larger than what
    the Hub takes in less than 40 seconds, by what earlier ones took. One that is cut off (504, 413, a timeout) is sent
    again in halves. Leaving the `with` block commits the rest.

    Every method may be called from any thread. Inside the `with` block, `add` and `delete` return at once unless
    `max_pending_bytes` are pending. If a commit fails, the exception of `HfApi` is raised by the next call, and its
    changes stay `pending`. The next commit uploads nothing twice.

    If the block is left by an exception, what is due is committed, unless the last commit failed. What remains is
    reported in a note on the exception (Python 3.11+) and in a warning of the logger `mat_vis_hub`. After Ctrl-C
    nothing is committed, and everything is reported.

    A program that was killed can be run again: content that is on the branch already is neither uploaded nor committed
    again.

    Args:
        api (`HfApi`):
            Sends the commits. A [`ThrottledHfApi`] waits when the Hub refuses one, and its budget decides how eagerly
            files are committed. Without a budget the commits count that this process has made.
        repo_id (`str`):
            The repository, for example `"you/textures"`. It must exist.
        commit_message (`str`), commit_description (`str`, *optional*):
            Used for every commit.
        repo_type, revision, token (*optional*):
            As in `HfApi.create_commit`. A batch opens no pull request; a revision `refs/pr/1` works.
        source (`str`, *optional*):
            Who is writing, as in `ThrottledHfApi.create_commit`.
        max_files (`int`, *optional*):
            Changes in one commit. By default only the time that commits take limits them, and 12,500, half of what the
            Hub takes.
        max_bytes (`int`, *optional*, defaults to 100 MB):
            Bytes of regular files in one commit. Large files do not count: they are uploaded when they are added. At
            most 400 MB.
        max_age (`float`, *optional*, defaults to `300.0`):
            Seconds that a change waits for its commit while there is room in the quota. With `math.inf`, only a full
            batch is committed, `flush`, and the rest on leaving.
        max_pending_bytes (`int`, *optional*, defaults to 64 MB):
            Bytes of memory that pending changes may take before `add` waits: content that is not uploaded yet or is
            regular, and about 2.5 kB for each change.
        reserve (`int`, *optional*, defaults to `0`):
            Commits of each window that this batch leaves to others, for example to the manifest that follows the
            textures. It waits for the next window instead.
        background (`bool`, *optional*, defaults to `True`):
            Whether threads upload and commit inside the `with` block.

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
        max_files: int | None = None,
        max_bytes: int = 100 * _MB,
        max_age: float = 300.0,
        max_pending_bytes: int = 64 * _MB,
        reserve: int = 0,
        background: bool = True,
    ) -> None:
        utils.validate_repo_id(repo_id)
        check_repo_type(repo_type)
        if not isinstance(commit_message, str) or not commit_message:
            raise ValueError(f"commit_message={commit_message!r}: every commit needs a message.")
        if source is not None and not isinstance(source, str):
            raise TypeError(f"source={source!r}: source must be a string.")
        if max_files is not None:
            _check_number(max_files=max_files, at_least=1)
        _check_number(max_bytes=max_bytes, max_pending_bytes=max_pending_bytes, at_least=1)
        _check_number(max_age=max_age, reserve=reserve, at_least=0)
        self._api = with_own_waits(api)
        self._where: dict[str, Any] = {"repo_id": repo_id, "repo_type": repo_type, "revision": revision, "token": token}
        self._commit_arguments = {"commit_message": commit_message, "commit_description": commit_description}
        if source is not None:
            self._commit_arguments["source"] = source
        self._max_files, self._max_bytes = (
            min(max_files or MOST_OPERATIONS, MOST_OPERATIONS),
            min(max_bytes, MOST_BYTES),
        )
        self._max_pending_bytes = max_pending_bytes
        self._sender = Sender(self._api, self._where, most_operations=self._max_files, most_bytes=self._max_bytes)
        self._eagerness = Eagerness(api, repo_id, repo_type, token, max_age=max_age, reserve=reserve)
        self._commit_lock, self._upload_lock = threading.Lock(), threading.Lock()
        self._changed = threading.Condition()
        self._staged, self._in_flight = StagingArea(), StagingArea()
        self._not_uploaded: dict[str, CommitOperationAdd] = {}  # staged files that the next upload includes
        self._bytes_to_upload = 0  # of these
        self._held = 0  # bytes of memory that pending changes take
        self._regular_bytes = 0  # of the other staged files: content that travels inside the commit
        self._commits: list[CommitInfo] = []
        self._landed: dict[str, bytes | None] = {}  # the Hub's digest of each file that was committed
        self._last_commit_failed = False
        # Whether what was asked about last had to be committed. Before, this may be a program that was run again.
        self._has_news = False
        self._is_closed = False
        self._folder_limit = FolderLimit(self._files_of)
        self._uses_threads = background
        self._background: Background | None = None
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
                If an argument is invalid, if the folder already has 10,000 files, or if the `with` block has been left.
                The batch is unchanged.
            Whatever `HfApi` raised if an upload or a commit failed. In the background it was an earlier one, and this
            file has not been added. Otherwise the file has been added.
        """
        addition = addition_of(checked_path(path_in_repo), content)
        self._check_usable()
        self._folder_limit.admit(path_in_repo)
        if not isinstance(addition.path_or_fileobj, (str, bytes)):
            self._upload_stream(addition)

        def stage() -> None:
            self._held += _held_by(addition) - _held_by(self._staged.additions.get(path_in_repo))
            self._staged.add(addition)
            # An upload compares a file with the branch, which a commit in flight may be about to change.
            if not is_stored(addition) and not self._in_flight.touches(path_in_repo):
                before = self._not_uploaded.get(path_in_repo)
                self._not_uploaded[path_in_repo] = addition
                self._bytes_to_upload += addition.upload_info.size - (before.upload_info.size if before else 0)

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
                If the path is invalid, or if the `with` block has been left.
            Whatever `HfApi` raised, as in [`add`].
        """
        checked_path(path_in_repo.removesuffix("/") if isinstance(path_in_repo, str) else path_in_repo)
        self._check_usable()
        self._folder_limit.forget(path_in_repo)

        def stage() -> None:
            self._staged.delete(path_in_repo)
            self._count_held()

        self._stage(path_in_repo, stage)

    def flush(self) -> CommitInfo | None:
        """
        Commit everything that is pending, in as many commits as it takes.

        Returns:
            `CommitInfo` of the last one, or `None` if nothing changes.

        Raises:
            Whatever `HfApi` raises, also from a commit in the background that failed before.
        """
        if self._background is not None:
            self._background.raise_failure()
        with self._commit_lock:
            before = len(self._commits)
            while self.pending:
                self._leave_reserve()
                self._commit()
            made = self._commits[before:]
            return made[-1] if made else None

    def verify(self) -> list[str]:
        """
        Compare what landed with what was added, by the Hub's own hashes.

        Takes two requests per 1,000 files. Compared is the branch as it was after the last commit of this batch.

        Returns:
            The paths that differ or are missing, or exist although they were deleted. Empty if all is as it should be.

        Example:
        ```python
        >>> from mat_vis_hub import ThrottledHfApi
        >>> with ThrottledHfApi().batch("you/textures", commit_message="Bake") as batch:  # doctest: +SKIP
        ...     batch.add("brick/color.png", "brick.png")
        >>> batch.verify()  # doctest: +SKIP
        []

        ```
        """
        with self._changed:
            expected, commits = dict(self._landed), list(self._commits)
        where = {**self._where, "revision": commits[-1].oid} if commits else self._where
        differing: list[str] = []
        for paths in utils.chunk_iterable(expected, PATHS_PER_REQUEST):
            wanted = list(paths)
            found = contents(self._api, wanted, where)
            differing += [path for path in wanted if found.get(path) != _hex(expected[path])]
        return differing

    @property
    def commits(self) -> list[CommitInfo]:
        """The commits of this batch, in order."""
        with self._changed:
            return list(self._commits)

    @property
    def pending(self) -> list[str]:
        """The paths whose addition or deletion is not committed yet, including those of a commit in flight."""
        with self._changed:
            return list(dict.fromkeys([*self._in_flight.paths(), *self._staged.paths()]))

    def __enter__(self) -> Self:
        self._is_closed = False
        self._bar = utils.tqdm(  # type: ignore[no-untyped-call]  # huggingface_hub's has no types
            desc=one_line(self._where["repo_id"]), unit=" files", disable=not progress.someone_watches()
        )
        if self._uses_threads:
            upload = Job("upload", lambda: None, self._needs_upload, lambda: None, self._upload_staged)
            commit = Job("commit", self._eagerness.refresh, self._is_due, self._due_in, self._commit_if_due)
            self._background = Background(self._changed, [upload, commit])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._end_background(error)
            if error is None or (isinstance(error, Exception) and not self._last_commit_failed and self._is_due()):
                self.flush()
        except BaseException as failure:
            if error is None or not isinstance(failure, Exception):
                error = failure
                raise
            _logger.warning("A commit of this batch failed: %s", one_line(str(failure)))
        finally:
            self._is_closed = True
            self._bar.close()
            self._bar = None
            self._report_pending(error)

    def __del__(self) -> None:
        staged = getattr(self, "_staged", None)
        if staged and not self._is_closed:
            what = (
                f"A batch for {self._where['repo_id']} was dropped with {len(staged)} changes that are not committed."
            )
            warnings.warn(
                f"{what} Use it in a `with` block, or call flush().", ResourceWarning, stacklevel=2, source=self
            )

    # ---- when to upload and commit -----------------------------------------------------------------------

    def _check_usable(self) -> None:
        if self._is_closed:
            raise ValueError(
                f"The `with` block of this batch for {self._where['repo_id']} has been left. Make a new batch."
            )
        if self._background is not None:
            self._background.raise_failure()

    def _stage(self, path: str, stage: Callable[[], None]) -> None:
        """Call `stage` once there is room. Then upload and commit what has become due, unless threads do that."""
        while not self._stage_if_room(path, stage):
            if self._eagerness.keeps_reserve_for > 0:
                self._leave_reserve()
            elif self._background is not None and self._background.is_running:
                self._background.raise_failure()
            else:
                self._do_what_is_due()
        if self._background is None:
            self._do_what_is_due()

    def _stage_if_room(self, path: str, stage: Callable[[], None]) -> bool:
        with self._changed:
            if path not in self._staged.additions and self._held >= self._max_pending_bytes:
                in_background = self._background is not None and self._background.is_running
                if in_background and not self._eagerness.keeps_reserve_for:
                    self._changed.wait()
                return False
            if not self._staged:
                self._staged.since = clock.monotonic()
            stage()
            self._show()
            self._changed.notify_all()
            return True

    def _leave_reserve(self) -> None:
        """Wait while a commit would use what is reserved for others."""
        self._eagerness.refresh()
        while (seconds := self._eagerness.keeps_reserve_for) > 0:
            clock.wait(seconds, owner=getattr(getattr(self._api, "waits", None), "scope", None))
            self._eagerness.refresh()

    def _do_what_is_due(self) -> None:
        if self._needs_upload():
            self._upload_staged()
        self._eagerness.refresh()
        # Another thread may be committing. Wait for it only if there is no room for more.
        if self._is_due() and self._commit_lock.acquire(blocking=self._is_full()):
            try:
                if self._is_due():
                    self._commit()
            finally:
                self._commit_lock.release()

    def _commit_if_due(self) -> None:
        with self._commit_lock:
            if self._is_due():
                self._commit()

    def _is_due(self) -> bool:
        if self._eagerness.keeps_reserve_for > 0:
            return False
        staged = self._staged
        is_old = bool(staged) and clock.monotonic() - staged.since >= self._eagerness.age
        return is_old or self._is_full() or (self._has_news and self._has_reached(self._eagerness.share))

    def _due_in(self) -> float | None:
        """Seconds until what is staged is old, or the reserve no longer holds it up."""
        wait = self._staged.since + self._eagerness.age - clock.monotonic()
        wait = max(wait, 0.0) if self._staged else math.inf
        wait = self._eagerness.keeps_reserve_for or wait
        return wait if wait < math.inf else None

    def _is_full(self) -> bool:
        return self._has_reached(1.0) or (bool(self._staged) and self._held >= self._max_pending_bytes)

    def _has_reached(self, share: float) -> bool:
        room = min(self._max_files, self._sender.pacer.room)
        enough_files = bool(self._staged) and len(self._staged) >= share * room
        return enough_files or self._regular_bytes >= share * self._max_bytes

    def _needs_upload(self) -> bool:
        room = max(1, min(_UPLOAD_BYTES, self._max_bytes - self._regular_bytes))  # all of it may be regular content
        return len(self._not_uploaded) >= _UPLOAD_FILES or self._bytes_to_upload >= room

    def _end_background(self, error: BaseException | None) -> None:
        """End the threads, once the commit in flight has ended. Ctrl-C ends that as well, if it waits."""
        if self._background is None:
            return
        background, self._background = self._background, None
        background.stop(self._abort, now=error is not None and not isinstance(error, Exception))
        if error is None:
            background.raise_failure()

    def _abort(self) -> None:
        waits = getattr(self._api, "waits", None)
        if waits is not None:
            waits.cancel()

    # ---- uploads -----------------------------------------------------------------------------------------

    def _upload_staged(self) -> None:
        with self._upload_lock:
            with self._changed:
                if not self._needs_upload():
                    return  # another thread has just uploaded
                chunk = next(_requests(self._not_uploaded.values()), [])
                taken = {add.path_in_repo: self._not_uploaded.pop(add.path_in_repo) for add in chunk}
                current = [add for path, add in taken.items() if self._staged.additions.get(path) is add]
            try:
                self._upload(current)
            finally:
                with self._changed:
                    self._count_held()

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
        for chunk in _requests(additions):
            self._api.preupload_lfs_files(additions=chunk, free_memory=True, **self._where)

    def _count_held(self) -> None:
        """Count what the staged changes hold, after an upload has dropped the content of large files."""
        additions = self._staged.additions
        self._held = sum(map(_held_by, (*additions.values(), *self._in_flight.additions.values())))
        self._regular_bytes = sum(bytes_of(add) for path, add in additions.items() if path not in self._not_uploaded)
        self._bytes_to_upload = sum(add.upload_info.size for add in self._not_uploaded.values())

    # ---- commits -----------------------------------------------------------------------------------------

    def _commit(self) -> bool:
        """Send one commit of what is staged. Returns whether anything was."""
        with self._changed:
            most = min(self._max_files, math.ceil(self._sender.pacer.room))
            self._in_flight = rest = self._staged.take(most)
            for path in rest.additions:
                self._not_uploaded.pop(path, None)
            self._count_held()
        if not rest:
            return False
        info = None
        try:
            info, rest = self._send(rest)
            self._last_commit_failed = False
        except BaseException:
            self._last_commit_failed = True
            raise
        finally:
            with self._changed:
                done = len(self._in_flight) - len(rest)
                self._staged, self._in_flight = rest.merge(self._staged), StagingArea()
                self._count_held()
                if info is not None:
                    self._commits.append(info)
                    self._eagerness.committed()
                self._show(done)
                self._changed.notify_all()
        return True

    def _send(self, staged: StagingArea) -> tuple[CommitInfo | None, StagingArea]:
        """Commit what fits one commit. Returns it, and what is left."""
        additions = list(staged.additions.values())
        with self._upload_lock:
            self._upload(additions)
        for addition in additions:
            if staged.deletes(addition.path_in_repo):  # some versions leave out a file that equals the deleted one
                forget_remote(addition)
        operations: list[Any] = [*self._existing(staged.deletions), *additions]
        self._has_news = not all(map(is_unchanged, operations))
        if not self._has_news:
            self._note_landed(operations)
            return None, StagingArea()
        sent = self._sender.send(operations, **self._commit_arguments)
        self._note_landed(operations[: sent.done])
        rest = StagingArea()
        rest.since = staged.since
        for operation in operations[sent.done :]:
            if isinstance(operation, CommitOperationDelete):
                rest.delete(operation.path_in_repo)
            else:
                rest.add(operation)
        return sent.info if sent.changed else None, rest

    def _note_landed(self, operations: Iterable[CommitOperationAdd | CommitOperationDelete]) -> None:
        for operation in operations:
            path = operation.path_in_repo
            if isinstance(operation, CommitOperationAdd):
                if not is_ignored(operation):
                    self._landed[path] = bytes.fromhex(digest_of(operation) or "")
            elif path.endswith("/"):
                self._landed = {other: oid for other, oid in self._landed.items() if not other.startswith(path)}
            else:
                self._landed[path] = None

    def _existing(self, paths: Iterable[str]) -> Iterator[CommitOperationDelete]:
        """The deletions of what exists. The Hub would refuse the whole commit because of one missing path."""
        for chunk in utils.chunk_iterable(paths, PATHS_PER_REQUEST):
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
        with self._changed:
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


def _requests(additions: Iterable[CommitOperationAdd]) -> Iterator[list[CommitOperationAdd]]:
    """What one request asks about, and what memory can hold several times."""
    chunk: list[CommitOperationAdd] = []
    size = 0
    for addition in additions:
        chunk.append(addition)
        size += 0 if is_stored(addition) else addition.upload_info.size
        if len(chunk) >= _UPLOAD_FILES or size >= _UPLOAD_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _check_number(*, at_least: int, **numbers: Any) -> None:
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= at_least:
            raise ValueError(f"CommitBatch({name}={value!r}): {name} must be a number, {at_least} or more.")


def _held_by(addition: CommitOperationAdd | None) -> int:
    """The bytes of memory that a staged addition takes. The content of a local file is read when it is sent."""
    if addition is None:
        return 0
    content = addition.path_or_fileobj
    return _BYTES_OF_AN_OPERATION + (len(content) if isinstance(content, bytes) else 0)


def _hex(digest: bytes | None) -> str | None:
    return None if digest is None else digest.hex()
