"""Read, change, commit, or try again: a commit that lands only on the very state it was built from.

Every read of a try sees one commit, and the commit names it as its parent. Where another writer came first, the Hub
answers 412, and the next try reads and builds afresh. Threads of one process take turns instead.
"""

from __future__ import annotations

import copy
import os
import random
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi, constants
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, RevisionNotFoundError

from mat_vis_hub._internal import clock
from mat_vis_hub._internal.sanitize import elapsed, without_secrets
from mat_vis_hub.events import ConflictEvent
from mat_vis_hub.hooks import Hook, print_line

_SHORTEST_TRY = 0.5  # seconds; waits are drawn from a range that begins with the length of a try, and doubles
_LONGEST_WAIT = 30.0  # seconds
_PATIENCE_FOR_OTHERS = 60.0  # real seconds; a thread that hangs holds the others up no longer than this

_turns: dict[tuple[str, ...], threading.RLock] = {}


class Snapshot:
    """
    A repository as it was at one commit, `revision`.

    Args:
        api (`HfApi`): Who reads.
        revision (`str`): The commit's oid.
        where (`dict`): `repo_id`, `repo_type` and `token`.
    """

    def __init__(self, api: HfApi, revision: str, where: dict[str, Any]) -> None:
        self.revision = revision
        self._api = api
        self._where = where
        self._contents: dict[str, bytes | None] = {}

    def read(self, path: str) -> bytes | None:
        """The file's content; `None` where there is no such file. Downloaded once, and kept as long as this object."""
        if path not in self._contents:
            self._contents[path] = self._download(path)
        return self._contents[path]

    def _download(self, path: str) -> bytes | None:
        if any(name in ("", ".", "..") for name in path.split("/")):
            raise ValueError(f"read({path!r}): not the path of a file in a repository, as in 'folder/file.json'.")
        with tempfile.TemporaryDirectory(prefix="mat-vis-hub-") as folder:
            try:
                file = self._api.hf_hub_download(
                    filename=path, revision=self.revision, local_dir=folder, cache_dir=folder, **self._where
                )
            except LocalEntryNotFoundError:
                raise  # the Hub could not be asked: that says nothing about the file
            except EntryNotFoundError:
                return None
            return Path(file).read_bytes()


def transact(
    api: HfApi,
    repo_id: str,
    build: Callable[[Snapshot], Iterable[Any] | None],
    *,
    repo_type: str | None = None,
    revision: str | None = None,
    commit_message: str,
    commit_description: str | None = None,
    token: str | bool | None = None,
    max_conflicts: int = 6,
    source: str = "unknown",
    tell: Hook = print_line,
    **create_commit_extras: Any,
) -> CommitInfo | None:
    """
    As [`ThrottledHfApi.transact`], for any `HfApi`.

    `tell` is called with each [`ConflictEvent`]. `build` may be called several times. Returns `None` if there was
    nothing to commit: `build` returned no operations, or they change nothing.
    """
    _check(build, commit_message, max_conflicts, create_commit_extras)
    branch = revision or constants.DEFAULT_REVISION
    where = {"repo_id": repo_id, "repo_type": repo_type, "token": token}
    message = {"commit_message": commit_message, "commit_description": commit_description, **create_commit_extras}
    secrets = (api.token, token)
    names = {
        "source": without_secrets(source, secrets),
        "repo_id": without_secrets(str(repo_id), secrets),
        "repo_type": repo_type or constants.REPO_TYPE_MODEL,
        "revision": without_secrets(branch, secrets),
    }
    began = clock.monotonic()
    conflicts = 0
    while True:
        with _turn(api.endpoint, repo_type or "", repo_id, branch):
            try_began = clock.monotonic()
            snapshot = Snapshot(api, _head(api, branch, where), where)
            # Copies: huggingface_hub notes on each operation what the branch held when it was first sent.
            operations = [copy.copy(operation) for operation in build(snapshot) or ()]
            if not operations:
                return None
            try:
                return _commit(api, snapshot, operations, {**where, **message, "revision": branch})
            except HfHubHTTPError as error:
                if getattr(error.response, "status_code", None) != 412:
                    raise
                conflict = error
        now = clock.monotonic()
        conflicts += 1
        if conflicts > max_conflicts:
            _give_up(conflict, names, conflicts, now - began)
        wait = _backoff(conflicts, now - try_began)
        tell(
            ConflictEvent(
                **names, retry=conflicts, max_retries=max_conflicts, wait_s=wait, elapsed_s=now - began, error=conflict
            )
        )
        clock.wait(wait)


@contextmanager
def _turn(*branch: str) -> Iterator[None]:
    """One thread at a time, for what they would only refuse one another. No result rests on it."""
    lock = _turns.setdefault(branch, threading.RLock())
    mine = lock.acquire(timeout=_PATIENCE_FOR_OTHERS)
    try:
        yield
    finally:
        if mine:
            lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_turns.clear)  # who holds them is not in the child


def _backoff(conflicts: int, took: float) -> float:
    """Seconds to wait: anything up to the length of a try, and up to twice as much with each further conflict."""
    return random.uniform(0, min(max(took, _SHORTEST_TRY) * 2.0 ** min(conflicts - 1, 64), _LONGEST_WAIT))


def _head(api: HfApi, branch: str, where: dict[str, Any]) -> str:
    """The oid of the branch's newest commit, as the Hub has it now."""
    refs = api.list_repo_refs(**where, include_pull_requests=branch.startswith("refs/pr/"))
    for ref in (*refs.branches, *(refs.pull_requests or ())):
        if branch in (ref.name, ref.ref):
            return str(ref.target_commit)
    repository = f"the {where['repo_type'] or constants.REPO_TYPE_MODEL} repository {where['repo_id']}"
    try:
        api.repo_info(**where, revision=branch)
    except RevisionNotFoundError as error:
        error.append_to_message(
            f"\nThere is no branch {branch!r} in {repository}. Create it first, with api.create_branch."
        )
        raise
    raise ValueError(
        f"transact(revision={branch!r}): in {repository} this is a tag or a commit, to which nothing can be committed."
        " Give the name of a branch, or refs/pr/N for a pull request."
    )


def _commit(api: HfApi, snapshot: Snapshot, operations: list[Any], arguments: dict[str, Any]) -> CommitInfo | None:
    """Commit on top of the snapshot; `None` if that would change nothing."""
    create_commit: Callable[..., CommitInfo] = api.create_commit
    arguments = {**arguments, "operations": operations, "parent_commit": snapshot.revision}
    info = create_commit(**arguments)
    if info.oid == snapshot.revision:
        return None
    if all(_is_unchanged(operation) for operation in operations):
        # huggingface_hub sends no commit where the branch holds the same content already. But it asks the branch, not
        # the snapshot: another writer has just written what we meant to write, and the Hub has to refuse ours.
        for operation in operations:
            operation._remote_oid = None
        info = create_commit(**arguments)
    return info


def _is_unchanged(operation: Any) -> bool:
    return (
        isinstance(operation, CommitOperationAdd)
        and operation._remote_oid is not None
        and operation._remote_oid == operation._local_oid
    )


def _give_up(conflict: HfHubHTTPError, names: dict[str, str], tries: int, seconds: float) -> NoReturn:
    """Raise the conflict itself: whoever catches huggingface_hub's exceptions finds what they expect."""
    if hasattr(conflict, "add_note"):  # Python 3.11+
        conflict.add_note(
            f"mat_vis_hub gave up on the branch {names['revision']} of the {names['repo_type']} repository"
            f" {names['repo_id']} after {'1 try' if tries == 1 else f'{tries} tries'} in {elapsed(seconds)}: another"
            " writer's commit came first each time. Nothing has been committed. Run it again when fewer write, or allow"
            f" more than max_conflicts={tries - 1}."
        )
    raise conflict


def _check(build: object, commit_message: object, max_conflicts: object, extras: dict[str, Any]) -> None:
    if not callable(build):
        raise TypeError(f"transact(build={build!r}): build must be a callable that takes a snapshot.")
    if not isinstance(commit_message, str) or not commit_message.strip():
        raise ValueError(f"transact(commit_message={commit_message!r}): a commit needs a message.")
    if isinstance(max_conflicts, bool) or not isinstance(max_conflicts, int) or max_conflicts < 0:
        raise ValueError(f"transact(max_conflicts={max_conflicts!r}): max_conflicts must be a whole number, 0 or more.")
    if extras.pop("create_pr", None):
        raise ValueError("transact(create_pr=True): a pull request meets no other writer; use create_commit.")
    if extras.pop("run_as_future", None):
        raise ValueError("transact(run_as_future=True): pass transact itself to run_as_future.")
    if extras.pop("parent_commit", None):
        raise ValueError("transact(parent_commit=...): the parent is the commit that the snapshot shows; leave it out.")
