"""A repository as git sees it: commits, branches, tags, pull request refs."""

from __future__ import annotations

import hashlib
import itertools
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from mat_vis_hub.local_hub.model.errors import MergeConflict, RevisionNotFound
from mat_vis_hub.local_hub.model.trees import EMPTY, Changes, File, Tree, difference

REPO_TYPES = ("model", "dataset", "space")
BRANCH, TAG, PULL_REQUEST = "refs/heads/", "refs/tags/", "refs/pr/"


@dataclass(frozen=True)
class Commit:
    oid: str
    parents: tuple[str, ...]
    title: str
    description: str
    author: str
    time: float  # seconds since the epoch
    serial: int  # the number of commits before it: their order, and what makes each oid unique
    changes: Changes
    tree: Tree = field(repr=False)


@dataclass
class Discussion:
    """A pull request or a plain discussion."""

    num: int
    title: str
    author: str
    time: float  # seconds since the epoch
    status: str
    base: str | None  # the ref that a pull request targets; None for a plain discussion
    forked_at: str | None = None  # that ref's head when the pull request was opened
    merge_oid: str | None = None
    events: list[dict[str, object]] = field(default_factory=list)

    @property
    def ref(self) -> str:
        return f"{PULL_REQUEST}{self.num}"


class Storage(Protocol):
    """Where repositories are kept."""

    def save_commit(self, repo: Repo, commit: Commit) -> None: ...
    def save_repo(self, repo: Repo) -> None: ...


@dataclass
class Repo:
    """One repository. Not thread-safe: the caller makes sure that one method runs at a time."""

    type: str
    id: str
    time: float  # seconds since the epoch
    private: bool = False
    gated: str | bool = False
    sdk: str | None = None
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    discussions: dict[int, Discussion] = field(default_factory=dict)
    uid: str = field(default_factory=lambda: uuid.uuid4().hex)
    storage: Storage | None = None

    @property
    def namespace(self) -> str:
        return self.id.partition("/")[0]

    @property
    def web_path(self) -> str:
        return self.id if self.type == "model" else f"{self.type}s/{self.id}"

    def head(self, ref: str) -> Commit:
        return self.commits[self.refs[ref]]

    def resolve(self, revision: str) -> Commit:
        """Find the commit of a branch, a tag, a full ref name, or at least seven digits of a commit's id."""
        for ref in (BRANCH + revision, TAG + revision, revision):
            if ref in self.refs:
                return self.head(ref)
        if re.fullmatch("[0-9a-f]{7,40}", revision):
            found = [commit for oid, commit in self.commits.items() if oid.startswith(revision)]
            if len(found) == 1:
                return found[0]
        raise RevisionNotFound(revision)

    def writable_ref(self, revision: str) -> str:
        """Find the ref that a commit to `revision` moves: a branch's or a pull request's, never a tag's."""
        for ref in (BRANCH + revision, revision):
            if ref in self.refs and not ref.startswith(TAG):
                return ref
        raise RevisionNotFound(revision)

    def history(self, commit: Commit) -> Iterator[Commit]:
        """Yield `commit` and its first parents, newest first."""
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
        """Commit `changes` on top of `ref`. With `orphan`, keep the ref's tree but drop its history."""
        head = self.head(ref) if ref in self.refs else None
        base = head.tree if head else EMPTY
        tree = base.changed(changes)
        parents = () if orphan or head is None else (head.oid, *([merging.oid] if merging else []))
        serial = len(self.commits)
        headers = [f"tree {tree.oid}", *(f"parent {oid}" for oid in parents), f"author {author} {time} {serial}"]
        text = "\n".join([*headers, "", title, "", description])
        oid = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        # As in git, a file that was sent unchanged is not part of the commit.
        changes = difference(base if parents else EMPTY, tree)
        commit = Commit(oid, parents, title, description, author, time, serial, changes, tree)
        if self.storage:
            self.storage.save_commit(self, commit)
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
        """Open a discussion, or a pull request that targets the ref `base`."""
        num = len(self.discussions) + 1
        forked_at = self.refs[base] if base else None
        discussion = Discussion(num, title, author, time, status, base, forked_at)
        self.discussions[num] = discussion
        if forked_at:
            self.refs[discussion.ref] = forked_at
        self.save()
        return discussion

    def merge(self, pull_request: Discussion, *, author: str, time: float) -> Commit:
        """Merge a pull request into its target as one commit. Raises `MergeConflict` where both changed a file."""
        ref = pull_request.base
        assert ref is not None
        assert pull_request.forked_at is not None
        fork, theirs, ours = self.commits[pull_request.forked_at], self.head(pull_request.ref), self.head(ref)
        changes = difference(fork.tree, theirs.tree)
        conflicts = changes.keys() & difference(fork.tree, ours.tree).keys()
        if not all(any(commit is fork for commit in self.history(side)) for side in (theirs, ours)):
            conflicts = set(changes)  # one of the sides was squashed: they have no commit in common any more
        if conflicts:
            raise MergeConflict(sorted(conflicts))
        title = f"{pull_request.title} (#{pull_request.num})"
        proposed = itertools.takewhile(lambda commit: commit is not fork, self.history(theirs))
        description = "\n\n".join(f"- {commit.title} ({commit.oid})" for commit in reversed(list(proposed)))
        commit = self.commit(
            ref, changes, title=title, description=description, author=author, time=time, merging=theirs
        )
        pull_request.status = "merged"
        pull_request.merge_oid = commit.oid
        self.save()
        return commit

    def save(self) -> None:
        if self.storage:
            self.storage.save_repo(self)

    def last_changes(self, commit: Commit, paths: set[str]) -> dict[str, Commit]:
        """Find, for each file or folder of `paths`, the newest commit that touched it."""
        found: dict[str, Commit] = {}
        for ancestor in self.history(commit):
            touched = {prefix for path in ancestor.changes for prefix in _prefixes(path)}
            for path in paths - found.keys():
                if path in touched or any(prefix in ancestor.changes for prefix in _prefixes(path)):
                    found[path] = ancestor
            if len(found) == len(paths):
                break
        return found

    def large_files(self) -> list[tuple[str, File, Commit, str | None]]:
        """
        List every LFS file of the history once, oldest first: path, file, the commit that brought it, and its ref.

        The ref is None if the commit is on no branch or pull request any more.
        """
        refs: dict[str, str] = {}
        for ref in [ref for ref in self.refs if not ref.startswith(TAG)]:
            fresh = itertools.takewhile(lambda commit: commit.oid not in refs, self.history(self.head(ref)))
            refs.update({commit.oid: ref for commit in list(fresh)})
        found: dict[str, tuple[str, File, Commit, str | None]] = {}
        for commit in self.commits.values():
            for path, file in sorted(commit.changes.items()):
                if file and file.lfs:
                    found.setdefault(file.sha256, (path, file, commit, refs.get(commit.oid)))
        return list(found.values())


def _prefixes(path: str) -> Iterator[str]:
    """Yield `a`, `a/b` and `a/b/c` for `a/b/c`."""
    return itertools.accumulate(path.split("/"), lambda above, name: f"{above}/{name}")
