"""Optimistic concurrency: read, change, commit, and start again if another writer has committed meanwhile.

All reads of one attempt see the same commit, and the new commit names it as its parent. If the branch has moved, the
Hub answers 412, and the next attempt reads again. A `ThrottledHfApi` takes its turn first and reads then, so only a
writer elsewhere can move the branch meanwhile.
"""

from __future__ import annotations

import copy
import random
import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from huggingface_hub import CommitInfo, HfApi, constants, utils
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, RevisionNotFoundError

from mat_vis_hub._hub.errors import status_of
from mat_vis_hub._hub.operations import forget_remote, is_unchanged
from mat_vis_hub._hub.repository import check_repo_type
from mat_vis_hub._internal import clock
from mat_vis_hub._internal.sanitize import elapsed, without_secrets
from mat_vis_hub.commits.staging import checked_path
from mat_vis_hub.events import ConflictEvent
from mat_vis_hub.hooks import Hook, print_line

_SHORTEST_ATTEMPT = 0.5  # seconds; the range of a wait starts at the duration of the attempt, and doubles
_LONGEST_WAIT = 30.0  # seconds


class Snapshot:
    """
    A repository as it was at one commit.

    Args:
        api (`HfApi`): Reads the files.
        revision (`str`): The commit's oid.
        where (`dict`): `repo_id`, `repo_type` and `token`.
    """

    def __init__(self, api: HfApi, revision: str, where: dict[str, Any]) -> None:
        self.revision = revision
        self._api = api
        self._where = where
        self._contents: dict[str, bytes | None] = {}

    def read(self, path: str) -> bytes | None:
        """
        Read a file. It is downloaded once and kept as long as this object.

        Args:
            path (`str`): The file's path in the repository.

        Returns:
            The content, or `None` if there is no such file.

        Raises:
            [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
                If no file can have this path.
            Whatever `HfApi.hf_hub_download` raises if the Hub cannot be reached.
        """
        if path not in self._contents:
            self._contents[path] = self._download(checked_path(path))
        return self._contents[path]

    def _download(self, path: str) -> bytes | None:
        with tempfile.TemporaryDirectory(prefix="mat-vis-hub-") as folder:
            try:
                file = self._api.hf_hub_download(
                    filename=path, revision=self.revision, local_dir=folder, cache_dir=folder, **self._where
                )
            except LocalEntryNotFoundError:
                raise  # the Hub did not answer, so the file may well exist
            except EntryNotFoundError:
                return None
            return Path(file).read_bytes()


def transact(
    api: HfApi,
    repo_id: str,
    build: Callable[[Snapshot], Iterable[Any] | None],
    *,
    commit_message: str,
    commit_description: str | None = None,
    repo_type: str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    num_threads: int = 5,
    max_conflicts: int = 6,
    source: str = "unknown",
    emit: Hook = print_line,
) -> CommitInfo | None:
    """
    As [`ThrottledHfApi.transact`], for any `HfApi`.

    Args:
        api (`HfApi`):
            Reads the snapshots and sends the commits.
        repo_id, build, commit_message, commit_description, repo_type, revision, token, max_conflicts, source:
            As in [`ThrottledHfApi.transact`].
        num_threads (`int`, *optional*, defaults to `5`):
            As in `HfApi.create_commit`.
        emit (`Callable`, *optional*, defaults to [`print_line`]):
            Called with each [`ConflictEvent`].

    Returns:
        `CommitInfo`, or `None` if there was nothing to commit: `build` returned no operations, or they change nothing.

    Raises:
        As [`ThrottledHfApi.transact`].
    """
    _check(repo_id, repo_type, build, commit_message, max_conflicts)
    branch = revision or constants.DEFAULT_REVISION
    where = {"repo_id": repo_id, "repo_type": repo_type, "token": token}
    arguments = {
        **where,
        "revision": branch,
        "commit_message": commit_message,
        "commit_description": commit_description,
        "num_threads": num_threads,
    }
    turn: Callable[[], AbstractContextManager[None]] = nullcontext
    if callable(take_turn := getattr(api, "turn", None)):  # a `ThrottledHfApi`
        turn = partial(take_turn, **where, revision=branch)
    fields = _event_fields(api, repo_id, repo_type, branch, token, source)
    conflicts = _Conflicts(max_conflicts, emit, fields, owner=_owner_of_waits(api))
    while True:
        with turn():
            began = clock.monotonic()
            snapshot = Snapshot(api, _head(api, branch, where), where)
            # Copies, because huggingface_hub marks an operation with what the branch held when it was first sent.
            operations = [copy.copy(operation) for operation in build(snapshot) or ()]
            if not operations:
                return None
            try:
                return _commit(api, snapshot, operations, arguments)
            except HfHubHTTPError as error:
                if status_of(error) != 412:
                    raise
                conflict = error
        conflicts.wait_or_raise(conflict, clock.monotonic() - began)


class _Conflicts:
    """Counts the conflicts of one transaction: emits each, and waits for the next attempt or gives up."""

    def __init__(self, most: int, emit: Hook, fields: dict[str, str], *, owner: object) -> None:
        self._most = most
        self._owner = owner
        self._emit = emit
        self._fields = fields
        self._count = 0
        self._began = clock.monotonic()

    def wait_or_raise(self, conflict: HfHubHTTPError, attempt_took: float) -> None:
        """Wait before the next attempt, or raise the conflict itself if there may be no more of them."""
        now = clock.monotonic()
        self._count += 1
        if self._count > self._most:
            self._give_up(conflict, now - self._began)
        wait = _backoff(self._count, attempt_took)
        self._emit(
            ConflictEvent(
                **self._fields,
                retry=self._count,
                max_retries=self._most,
                wait_s=wait,
                elapsed_s=now - self._began,
                error=conflict,
            )
        )
        clock.wait(wait, owner=self._owner)

    def _give_up(self, conflict: HfHubHTTPError, seconds: float) -> NoReturn:
        if hasattr(conflict, "add_note"):  # Python 3.11+
            fields = self._fields
            conflict.add_note(
                f"mat_vis_hub gave up on the branch {fields['revision']} of the {fields['repo_type']} repository"
                f" {fields['repo_id']} after {'1 try' if self._count == 1 else f'{self._count} tries'} in"
                f" {elapsed(seconds)}: another writer's commit came first each time. Nothing has been committed. Run it"
                f" again when there are fewer writers, or allow more than max_conflicts={self._most}."
            )
        raise conflict


def _owner_of_waits(api: HfApi) -> object:
    """Whose waits they are, so that `ThrottledHfApi.cancel_waits` calls them off."""
    return getattr(getattr(api, "waits", None), "scope", None)


def _backoff(conflicts: int, attempt_took: float) -> float:
    """Seconds to wait: random, at most as long as the attempt took, and twice as long after each further conflict."""
    longest = max(attempt_took, _SHORTEST_ATTEMPT) * 2.0 ** min(conflicts - 1, 64)
    return random.uniform(0, min(longest, _LONGEST_WAIT))


def _head(api: HfApi, branch: str, where: dict[str, Any]) -> str:
    """The oid of the branch's newest commit."""
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
    """Commit on top of the snapshot. `None` if that would change nothing."""
    create_commit: Callable[..., CommitInfo] = api.create_commit
    arguments = {**arguments, "operations": operations, "parent_commit": snapshot.revision}
    info = create_commit(**arguments)
    if info.oid == snapshot.revision:
        return None
    if all(map(is_unchanged, operations)):
        # No commit was sent, because the branch holds the same content already. But it has moved since the snapshot:
        # another writer has just written the same. Send ours anyway, so that the Hub refuses it with 412.
        for operation in operations:
            forget_remote(operation)
        info = create_commit(**arguments)
    return None if all(map(is_unchanged, operations)) else info  # copies are never sent if they change nothing


def _event_fields(
    api: HfApi, repo_id: str, repo_type: str | None, branch: str, token: str | bool | None, source: str
) -> dict[str, str]:
    secrets = (api.token, token)
    return {
        "source": without_secrets(source, secrets),
        "repo_id": without_secrets(repo_id, secrets),
        "repo_type": repo_type or constants.REPO_TYPE_MODEL,
        "revision": without_secrets(branch, secrets),
    }


def _check(repo_id: str, repo_type: object, build: object, commit_message: object, max_conflicts: object) -> None:
    utils.validate_repo_id(repo_id)
    check_repo_type(repo_type)
    if not callable(build):
        raise TypeError(f"transact(build={build!r}): build must be a callable that takes a snapshot.")
    if not isinstance(commit_message, str) or not commit_message.strip():
        raise ValueError(f"transact(commit_message={commit_message!r}): a commit needs a message.")
    if isinstance(max_conflicts, bool) or not isinstance(max_conflicts, int) or max_conflicts < 0:
        raise ValueError(f"transact(max_conflicts={max_conflicts!r}): max_conflicts must be a whole number, 0 or more.")
