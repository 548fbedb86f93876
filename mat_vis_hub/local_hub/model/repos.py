"""Repositories as git sees them: commits, branches, tags, pull request refs. No HTTP, no limits."""

from __future__ import annotations

import hashlib
import itertools
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mat_vis_hub.local_hub.model.errors import HubError, revision_not_found
from mat_vis_hub.local_hub.model.trees import EMPTY, Changes, Tree, difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mat_vis_hub.local_hub.model.archive import Archive

REPO_TYPES = ("model", "dataset", "space")
BRANCH, TAG, PULL_REQUEST = "refs/heads/", "refs/tags/", "refs/pr/"
CONFLICT = "A commit has happened since. Please refresh and try again."


@dataclass(frozen=True)
class Commit:
    oid: str
    parents: tuple[str, ...]
    title: str
    description: str
    author: str
    time: float
    serial: int  # counts the repository's commits: their order, and what makes each oid unique
    changes: Changes
    tree: Tree = field(repr=False)


@dataclass
class Discussion:
    """A pull request or a plain discussion."""

    num: int
    title: str
    author: str
    time: float
    status: str
    base: str | None  # the branch a pull request wants to get into; None: a plain discussion
    forked_at: str | None = None  # that branch's head when the pull request was opened
    merge_oid: str | None = None
    events: list[dict[str, object]] = field(default_factory=list)

    @property
    def ref(self) -> str:
        return f"{PULL_REQUEST}{self.num}"


@dataclass
class Repo:
    """One repository. Its methods change it in one go or not at all; callers see to it that they take turns."""

    type: str
    id: str
    time: float
    private: bool = False
    gated: str | bool = False
    sdk: str | None = None
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    discussions: dict[int, Discussion] = field(default_factory=dict)
    uid: str = field(default_factory=lambda: uuid.uuid4().hex)
    archive: Archive | None = None

    @property
    def namespace(self) -> str:
        return self.id.partition("/")[0]

    @property
    def web_path(self) -> str:
        return self.id if self.type == "model" else f"{self.type}s/{self.id}"

    def head(self, ref: str) -> Commit:
        return self.commits[self.refs[ref]]

    def resolve(self, revision: str) -> Commit:
        """A branch, a tag, a full ref name, or a commit's id (at least seven digits of it)."""
        for ref in (BRANCH + revision, TAG + revision, revision):
            if ref in self.refs:
                return self.head(ref)
        if re.fullmatch("[0-9a-f]{7,40}", revision):
            found = [commit for oid, commit in self.commits.items() if oid.startswith(revision)]
            if len(found) == 1:
                return found[0]
        raise revision_not_found(revision)

    def writable_ref(self, revision: str) -> str:
        """The ref a commit to `revision` moves: a branch or a pull request's, never a tag."""
        for ref in (BRANCH + revision, revision):
            if ref in self.refs and not ref.startswith(TAG):
                return ref
        raise revision_not_found(revision)

    def history(self, commit: Commit) -> Iterator[Commit]:
        """`commit` and its first parents, newest first."""
        oid: str | None = commit.oid
        while oid is not None:
            commit = self.commits[oid]
            yield commit
            oid = commit.parents[0] if commit.parents else None

    def commit(
        self,
        ref: str,
        changes: Changes,
        *,
        title: str,
        description: str = "",
        author: str,
        time: float,
        merging: Commit | None = None,
        orphan: bool = False,
    ) -> Commit:
        """Put one commit on top of `ref`; `orphan` leaves the ref's history behind, keeping only its tree."""
        head = self.head(ref) if ref in self.refs else None
        base = head.tree if head else EMPTY
        tree = base.changed(changes)
        parents = () if orphan or head is None else (head.oid, *([merging.oid] if merging else []))
        serial = len(self.commits)
        headers = [f"tree {tree.oid}", *(f"parent {oid}" for oid in parents), f"author {author} {time} {serial}"]
        text = "\n".join([*headers, "", title, "", description])
        oid = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        if orphan:
            changes = difference(EMPTY, tree)
        commit = Commit(oid, parents, title, description, author, time, serial, changes, tree)
        if self.archive:
            self.archive.save_commit(self, commit)
        self.commits[oid] = commit
        self.set_ref(ref, oid)
        return commit

    def set_ref(self, ref: str, oid: str) -> None:
        self.refs[ref] = oid
        self.save()

    def delete_ref(self, ref: str) -> None:
        del self.refs[ref]
        self.save()

    def discuss(self, title: str, *, author: str, time: float, status: str, base: str | None) -> Discussion:
        """Open a discussion, or a pull request against the branch `base`."""
        num = len(self.discussions) + 1
        forked_at = self.refs[base] if base else None
        discussion = Discussion(num, title, author, time, status, base, forked_at)
        self.discussions[num] = discussion
        if forked_at:
            self.refs[discussion.ref] = forked_at
        self.save()
        return discussion

    def merge(self, pull_request: Discussion, *, author: str, time: float, description: str = "") -> Commit:
        """Bring a pull request's changes into its base as one commit; 409 if both changed the same file."""
        ref = pull_request.base
        assert ref is not None
        assert pull_request.forked_at is not None
        fork, theirs, ours = (
            self.commits[pull_request.forked_at],
            self.head(pull_request.ref),
            self.head(ref),
        )
        changes = difference(fork.tree, theirs.tree)
        conflicts = sorted(changes.keys() & difference(fork.tree, ours.tree).keys())
        if conflicts:
            raise HubError(409, f"This pull request has conflicts in: {', '.join(conflicts)}.")
        title = f"{pull_request.title} (#{pull_request.num})"
        commit = self.commit(
            ref, changes, title=title, description=description, author=author, time=time, merging=theirs
        )
        pull_request.status = "merged"
        pull_request.merge_oid = commit.oid
        self.save()
        return commit

    def save(self) -> None:
        if self.archive:
            self.archive.save_repo(self)

    def last_changes(self, commit: Commit, paths: set[str]) -> dict[str, Commit]:
        """For each file or folder of `paths`, the newest commit that touched it."""
        found: dict[str, Commit] = {}
        for ancestor in self.history(commit):
            touched = {prefix for path in ancestor.changes for prefix in _prefixes(path)}
            for path in paths - found.keys():
                if path in touched or any(prefix in ancestor.changes for prefix in _prefixes(path)):
                    found[path] = ancestor
            if len(found) == len(paths):
                break
        return found


def _prefixes(path: str) -> Iterator[str]:
    return itertools.accumulate(path.split("/"), lambda above, name: f"{above}/{name}")


class Registry:
    """Every repository of this Hub, by type and id; ids are matched as they are written."""

    def __init__(self, archive: Archive | None = None) -> None:
        self._archive = archive
        self._repos = {(repo.type, repo.id): repo for repo in (archive.load() if archive else ())}

    def get(self, repo_type: str, repo_id: str) -> Repo | None:
        return self._repos.get((repo_type, repo_id))

    def all(self, repo_type: str) -> list[Repo]:
        return [repo for (type_, _), repo in sorted(self._repos.items()) if type_ == repo_type]

    def add(self, repo: Repo) -> None:
        repo.archive = self._archive
        self._repos[repo.type, repo.id] = repo
        if self._archive:
            self._archive.add(repo)

    def remove(self, repo: Repo) -> None:
        del self._repos[repo.type, repo.id]
        if self._archive:
            self._archive.remove(repo)

    def move(self, repo: Repo, new_id: str) -> None:
        del self._repos[repo.type, repo.id]
        repo.id = new_id
        self._repos[repo.type, new_id] = repo
        repo.save()
