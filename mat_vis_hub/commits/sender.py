"""Sends operations in commits that fit the Hub's minute, halving one that was cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi, utils
from huggingface_hub.hf_api import RepoFile

from mat_vis_hub._hub.errors import may_have_landed, status_of, was_cut_off
from mat_vis_hub._hub.history import commits
from mat_vis_hub._hub.operations import commit_info, is_unchanged, note_remote
from mat_vis_hub._internal.observer import Observer, observed
from mat_vis_hub._internal.sanitize import one_line
from mat_vis_hub.commits.pacer import FIRST, MOST_BYTES, MOST_OPERATIONS, Pacer, bytes_of, units_of
from mat_vis_hub.errors import gave_up

_CONFLICT = 412
PATHS_PER_REQUEST = 500  # paths that one request asks about


class Sent(NamedTuple):
    """
    One commit, or none.

    Args:
        info (`CommitInfo`): The commit, or the newest one of the branch if the operations change nothing.
        done (`int`): How many of the operations are on the branch now, from the first on.
        changed (`bool`): Whether they have changed anything.
    """

    info: CommitInfo
    done: int
    changed: bool


class Sender:
    """
    Commits operations in pieces. All pieces of all calls share what has been learned about their size.

    Args:
        api (`HfApi`): Sends the commits.
        where (`dict`): `repo_id`, `repo_type`, `revision` and `token`.
        first (`float`, *optional*): The size of the first commit, in the units of [`Pacer`].
        most_operations, most_bytes (`int`, *optional*): Of one commit; bytes of regular content.
    """

    def __init__(
        self,
        api: HfApi,
        where: dict[str, Any],
        *,
        first: float = FIRST,
        most_operations: int = MOST_OPERATIONS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._api = api
        self._where = where
        self._most_operations = most_operations
        self._most_bytes = most_bytes
        self.pacer = Pacer(first)
        self._last_was_lost = False  # whether it is unknown if the commit of the last call has landed

    def fitting(self, operations: Iterable[Any]) -> int:
        """How many operations, from the first on, the next commit may have. At least one."""
        units = size = 0.0
        count = 0
        for operation in operations:
            units, size = units + units_of(operation), size + bytes_of(operation)
            if units > self.pacer.room or size > self._most_bytes or count >= self._most_operations:
                break
            count += 1
        return max(1, count)

    def send(self, operations: list[Any], **arguments: Any) -> Sent:
        """
        Commit as many of the operations as fit one commit. They have been preuploaded.

        Before a commit is sent again, this looks whether its content has landed: an earlier attempt, or the last commit
        of a program that was killed, may have been under way.

        Args:
            operations (`list`): At least one.
            arguments: As in `HfApi.create_commit`; they replace those of the constructor.

        Raises:
            What `create_commit` raises. A commit that was too large or took too long is sent again with half of its
            operations, and raises once it had only one, with a note that names it.
        """
        where = {**self._where, **arguments}
        count = min(len(operations), self.fitting(operations))
        try:
            return self._send(operations, count, where, _Doubt(self._api, operations[:count], where))
        except _Landed as landed:
            return Sent(landed.info, landed.done, True)

    def _send(self, operations: list[Any], count: int, where: dict[str, Any], doubt: _Doubt) -> Sent:
        create_commit: Callable[..., CommitInfo] = self._api.create_commit
        if self._last_was_lost:
            doubt.look()
        parent: dict[str, Any] = {}
        while True:
            self._last_was_lost = False
            piece = operations[:count]
            with observed(Observer(doubt.look, splits=count > 1)) as observer:
                try:
                    info = create_commit(operations=piece, **{**where, **parent})
                except Exception as error:
                    self._last_was_lost = may_have_landed(error)
                    lost_race = bool(parent) and status_of(error) == _CONFLICT
                    if not (was_cut_off(error) or lost_race) or gave_up(error) is not None:
                        raise
                    if count <= 1 and not lost_race:
                        _name(error, piece, self._where["repo_id"])
                        raise
                else:
                    if observer.seconds is not None:
                        self.pacer.landed(sum(map(units_of, piece)), observer.seconds)
                    return Sent(info, count, observer.seconds is not None)
            if not lost_race:
                self.pacer.cut_off(sum(map(units_of, piece)))
                count = max(1, count // 2)
            doubt.look()
            # If the attempt in doubt lands before the next one, the branch has moved, and that one is refused.
            parent = {"parent_commit": doubt.head} if doubt.head and not where.get("parent_commit") else {}


class _Doubt:
    """
    The first attempt of a commit, as long as it may still land.

    Args:
        api (`HfApi`): Reads the branch.
        operations (`list`): What it contains. Later attempts contain a part of that.
        where (`dict`): The arguments of the commit.
    """

    def __init__(self, api: HfApi, operations: list[Any], where: dict[str, Any]) -> None:
        self.head: str | None = None  # the branch's newest commit at the last look
        self._api = api
        self._operations = operations
        self._additions = {add.path_in_repo: add for add in operations if isinstance(add, CommitOperationAdd)}
        self._branch = {key: where[key] for key in ("repo_id", "repo_type", "revision", "token")}
        # A pull request's branch is not known. A deletion that is sent twice is an error that says so.
        self._can_look = not where.get("create_pr") and len(self._additions) == len(operations)

    def look(self) -> None:
        """Raise `_Landed` if the branch holds the content of all operations. If of some, these are not sent again."""
        if not self._can_look:
            return
        newest = next(commits(self._api, **self._branch))  # before the look at the files, so that it is no newer
        if newest.id == self.head:
            return
        self.head = newest.id
        for paths in utils.chunk_iterable(self._additions, PATHS_PER_REQUEST):
            for path, oid in contents(self._api, list(paths), self._branch).items():
                note_remote(self._additions[path], oid)
        if all(map(is_unchanged, self._operations)):
            info = commit_info(
                self._api.endpoint,
                repo_type=self._branch["repo_type"],
                repo_id=self._branch["repo_id"],
                oid=newest.id,
                commit_message=newest.title,
                commit_description=newest.message,
            )
            raise _Landed(info, len(self._operations))


class _Landed(Exception):
    """The content of a commit is on the branch."""

    def __init__(self, info: CommitInfo, done: int) -> None:
        super().__init__(info.oid)
        self.info = info
        self.done = done


def contents(api: HfApi, paths: list[str], where: dict[str, Any]) -> dict[str, str]:
    """The Hub's names for the content of files that exist: SHA-1 as git's, or SHA-256 of a large file."""
    infos = api.get_paths_info(paths=paths, **where)
    return {info.path: info.lfs.sha256 if info.lfs else info.blob_id for info in infos if isinstance(info, RepoFile)}


def _name(error: Exception, operations: list[Any], repo_id: str) -> None:
    """Name the only operation of a commit that the Hub does not take."""
    if hasattr(error, "add_note"):  # Python 3.11+
        for operation in operations:
            path = one_line(operation.path_in_repo)
            error.add_note(f"{path} is the only change in this commit to {repo_id}, and the Hub does not take it.")
