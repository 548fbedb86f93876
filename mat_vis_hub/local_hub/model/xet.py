"""Which files are known to Xet: their Xet hashes, kept on disk beside the content."""

from __future__ import annotations

import re
from pathlib import Path


class XetIndex:
    """
    The Xet hashes of files, by SHA-256, and the other way round.

    A Xet hash is the root of a Merkle tree that only a Xet client computes: a file that came through Git LFS has none.

    Args:
        folder (`Path`):
            Where to keep them, one file per hash.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._sha256 = {
            path.name: path.read_text() for path in folder.iterdir() if re.fullmatch("[0-9a-f]{64}", path.name)
        }
        self._hashes = {sha256: xet_hash for xet_hash, sha256 in self._sha256.items()}

    def add(self, xet_hash: str, sha256: str) -> None:
        """Remember that the file `sha256` has this Xet hash. The first file that claims a hash keeps it."""
        if xet_hash in self._sha256:
            return
        unfinished = self._folder / f"{xet_hash}.unfinished"
        unfinished.write_text(sha256)
        unfinished.replace(self._folder / xet_hash)
        self._sha256[xet_hash] = sha256
        self._hashes[sha256] = xet_hash

    def hash_of(self, sha256: str) -> str | None:
        return self._hashes.get(sha256)

    def sha256_of(self, xet_hash: str) -> str | None:
        return self._sha256.get(xet_hash)
