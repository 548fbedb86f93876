"""Git's objects: files and immutable trees that share common folders, with the ids that git gives them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property


def git_oid(kind: str, content: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class File:
    """A file in a tree. Its content is in the `LfsStore` under `sha256`, whether it is an LFS file or not."""

    oid: str  # of the git blob, which is the content or the LFS pointer to it
    size: int  # bytes
    sha256: str
    lfs: bool

    @classmethod
    def regular(cls, content: bytes) -> File:
        return cls(git_oid("blob", content), len(content), hashlib.sha256(content).hexdigest(), lfs=False)

    @classmethod
    def large(cls, sha256: str, size: int) -> File:
        return cls(git_oid("blob", _pointer(sha256, size)), size, sha256, lfs=True)

    @property
    def etag(self) -> str:
        """What tells clients whether the content has changed: an LFS file's SHA-256, a regular file's blob id."""
        return self.sha256 if self.lfs else self.oid

    @property
    def pointer_size(self) -> int:
        return len(_pointer(self.sha256, self.size))


def _pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


Changes = dict[str, File | None]
"""What a commit does to a tree: each path's new file, or None where the file or folder is deleted."""


@dataclass(frozen=True)
class Tree:
    """A folder. `changed` returns a new one and copies only the folders above the changes."""

    entries: Mapping[str, File | Tree]

    @cached_property
    def oid(self) -> str:
        rows = []
        for name, entry in self.entries.items():
            mode, sort_key = ("40000", name + "/") if isinstance(entry, Tree) else ("100644", name)
            rows.append((sort_key.encode(), f"{mode} {name}\0".encode() + bytes.fromhex(entry.oid)))
        return git_oid("tree", b"".join(row for _, row in sorted(rows)))

    def get(self, path: str) -> File | Tree | None:
        entry: File | Tree | None = self
        for name in filter(None, path.split("/")):
            entry = entry.entries.get(name) if isinstance(entry, Tree) else None
        return entry

    def walk(self, prefix: str = "", *, recursive: bool = True) -> Iterator[tuple[str, File | Tree]]:
        """Yield every path in it, sorted, a folder before its content."""
        for name, entry in sorted(self.entries.items()):
            yield prefix + name, entry
            if recursive and isinstance(entry, Tree):
                yield from entry.walk(f"{prefix}{name}/")

    def changed(self, changes: Changes) -> Tree:
        """Apply `changes`. Deletions come first, so `{"a": None, "a/b": file}` replaces a folder."""
        entries = dict(self.entries)
        nested: dict[str, Changes] = {}
        for path, file in changes.items():
            name, _, rest = path.partition("/")
            if rest:
                nested.setdefault(name, {})[rest] = file
            elif file is None:
                entries.pop(name, None)
            else:
                entries[name] = file
        for name, inner in nested.items():
            base = entries.get(name)
            folder = (base if isinstance(base, Tree) else EMPTY).changed(inner)
            if folder.entries:
                entries[name] = folder
            elif isinstance(base, Tree):  # git has no empty folders
                del entries[name]
        return Tree(entries)


EMPTY = Tree({})


def difference(old: Tree, new: Tree, prefix: str = "") -> Changes:
    """Return the changes that turn `old` into `new`, file by file. Shared folders are not walked."""
    changes: Changes = {}
    for name in old.entries.keys() | new.entries.keys():
        before, after = old.entries.get(name), new.entries.get(name)
        if before is after or (before and after and before.oid == after.oid):
            continue
        if isinstance(before, File) and not isinstance(after, File):
            changes[prefix + name] = None
        if isinstance(after, File):
            changes[prefix + name] = after
        if isinstance(before, Tree) or isinstance(after, Tree):
            inside = (entry if isinstance(entry, Tree) else EMPTY for entry in (before, after))
            changes.update(difference(next(inside), next(inside), f"{prefix}{name}/"))
    return changes
