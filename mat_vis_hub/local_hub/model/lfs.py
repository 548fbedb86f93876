"""Large files: a content store addressed by SHA-256, kept on disk so that memory stays bounded."""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator


class Upload:
    """Bytes on their way into the store: written, hashed, and not yet visible to anyone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._file = path.open("wb")
        self._sha256 = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._sha256.update(chunk)
        self.size += len(chunk)

    def close(self) -> None:
        self._file.close()


class LfsStore:
    """Content-addressed objects in a folder; without one, in a temporary folder that `close` deletes.

    An object appears under its name by a rename, once it is complete and its SHA-256 checked. Whatever
    a crash leaves behind is an orphan in `incoming/`, which the next start empties.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="local-hub-lfs-") if folder is None else None
        self._objects = Path(self._temporary.name if self._temporary else folder or "") / "objects"
        self._incoming = self._objects.parent / "incoming"
        self._objects.mkdir(parents=True, exist_ok=True)
        self._incoming.mkdir(exist_ok=True)
        for orphan in self._incoming.iterdir():
            orphan.unlink()

    def has(self, oid: str) -> bool:
        return self.path(oid).is_file()

    def size(self, oid: str) -> int:
        return self.path(oid).stat().st_size

    def open(self, oid: str) -> BinaryIO:
        """The object's bytes; `FileNotFoundError` if there is no such object."""
        return self.path(oid).open("rb")

    def put(self, oid: str, chunks: Iterable[bytes]) -> None:
        """Store these bytes as `oid`; `ValueError`, and nothing stored, if that is not their SHA-256."""
        with self.receive(oid) as upload:
            for chunk in chunks:
                upload.write(chunk)

    @contextmanager
    def receive(self, oid: str) -> Iterator[Upload]:
        """The same, for bytes that come piecemeal: stored when the block ends without an error."""
        target = self.path(oid)
        with self.scratch() as upload:
            yield upload
            upload.close()
            if upload.sha256 != oid:
                raise ValueError(f"The {upload.size} bytes received hash to {upload.sha256}, not to {oid}.")
            target.parent.mkdir(exist_ok=True)
            upload.path.replace(target)

    @contextmanager
    def scratch(self) -> Iterator[Upload]:
        """A place on the store's disk for bytes of yet unknown worth; gone when the block ends."""
        upload = Upload(self._incoming / uuid.uuid4().hex)
        try:
            yield upload
        finally:
            upload.close()
            upload.path.unlink(missing_ok=True)

    @contextmanager
    def receive_part(self, upload_id: str, number: int) -> Iterator[Upload]:
        """One part of an object that arrives in several, each on its own."""
        target = self._part(upload_id, number)
        with self.scratch() as upload:
            yield upload
            upload.close()
            upload.path.replace(target)

    def join_parts(self, oid: str, upload_id: str, numbers: Iterable[int]) -> None:
        """Store these parts, in this order, as `oid`, and forget them; `ValueError` if they do not add up."""
        parts = [self._part(upload_id, number) for number in numbers]
        missing = [part.name for part in parts if not part.is_file()]
        if missing:
            raise ValueError(f"Parts that never arrived: {', '.join(missing)}.")
        self.put(oid, (chunk for part in parts for chunk in _chunks(part)))
        for part in parts:
            part.unlink(missing_ok=True)

    def _part(self, upload_id: str, number: int) -> Path:
        if not upload_id.isalnum():  # it becomes a path
            raise ValueError(f"Not an upload's id: {upload_id!r}.")
        return self._incoming / f"{upload_id}.{number}"

    def close(self) -> None:
        if self._temporary:
            self._temporary.cleanup()

    def path(self, oid: str) -> Path:
        """Where the object is, or would be."""
        if len(oid) != 64 or not set(oid) <= set("0123456789abcdef"):  # it becomes a path
            raise ValueError(f"Not the lowercase hex SHA-256 of anything: {oid!r}.")
        return self._objects / oid[:2] / oid


def _chunks(path: Path, size: int = 1 << 20) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(size):
            yield chunk
