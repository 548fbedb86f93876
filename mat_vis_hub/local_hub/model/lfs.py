"""Large files: content-addressed by SHA-256 and kept on disk, so that memory stays bounded."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mat_vis_hub.local_hub.model.xet import XetIndex


class Upload:
    """A file that is being received: written and hashed, but not stored yet."""

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
    """
    Objects by the SHA-256 of their content.

    An object is renamed into place once it is complete and its hash is checked. A crash leaves its unfinished files
    in `incoming/`; the next start deletes them.

    Args:
        folder (`str` or `os.PathLike`, *optional*):
            Where to keep the objects. Defaults to a temporary folder that `close` deletes.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="local-hub-lfs-") if folder is None else None
        self._objects = Path(self._temporary.name if self._temporary else folder or "") / "objects"
        self._incoming = self._objects.parent / "incoming"
        self._objects.mkdir(parents=True, exist_ok=True)
        self._incoming.mkdir(exist_ok=True)
        self.xet = XetIndex(self._objects.parent / "xet")
        for unfinished in self._incoming.iterdir():
            unfinished.unlink()

    def path(self, oid: str) -> Path:
        """Say where the object is stored, or would be. Raises `ValueError` if `oid` is no SHA-256."""
        if len(oid) != 64 or not set(oid) <= set("0123456789abcdef"):  # it becomes a path
            raise ValueError(f"Not a lowercase hexadecimal SHA-256: {oid!r}.")
        return self._objects / oid[:2] / oid

    def has(self, oid: str) -> bool:
        return self.path(oid).is_file()

    def size(self, oid: str) -> int:
        return self.path(oid).stat().st_size

    def open(self, oid: str) -> BinaryIO:
        """Open the object for reading. Raises `FileNotFoundError` if there is none."""
        return self.path(oid).open("rb")

    def put(self, oid: str, chunks: Iterable[bytes]) -> None:
        """Store `chunks` as `oid`. Raises `ValueError`, and stores nothing, if that is not their SHA-256."""
        with self.receive(oid) as upload:
            for chunk in chunks:
                upload.write(chunk)

    @contextmanager
    def receive(self, oid: str) -> Iterator[Upload]:
        """Store what is written inside the block as `oid`. Raises `ValueError` as `put` does."""
        target = self.path(oid)
        with self._scratch() as upload:
            yield upload
            upload.close()
            if upload.sha256 != oid:
                raise ValueError(f"The {upload.size} bytes received hash to {upload.sha256}, not to {oid}.")
            target.parent.mkdir(exist_ok=True)
            upload.path.replace(target)

    @contextmanager
    def receive_part(self, upload_id: str, number: int) -> Iterator[Upload]:
        """Store what is written inside the block as one part of a multipart upload."""
        target = self._part(upload_id, number)
        with self._scratch() as upload:
            yield upload
            upload.close()
            upload.path.replace(target)

    def join_parts(self, oid: str, upload_id: str, numbers: Iterable[int]) -> None:
        """Store these parts, in this order, as `oid`, and delete them. Raises `ValueError` if one is missing."""
        parts = [self._part(upload_id, number) for number in numbers]
        missing = [part.name for part in parts if not part.is_file()]
        if missing:
            raise ValueError(f"Parts that never arrived: {', '.join(missing)}.")
        self.put(oid, (chunk for part in parts for chunk in _chunks(part)))
        for part in parts:
            part.unlink(missing_ok=True)

    def close(self) -> None:
        if self._temporary:
            self._temporary.cleanup()

    @contextmanager
    def _scratch(self) -> Iterator[Upload]:
        """A temporary file on the store's disk. It is deleted at the end unless it was moved."""
        upload = Upload(self._incoming / uuid.uuid4().hex)
        try:
            yield upload
        finally:
            upload.close()
            upload.path.unlink(missing_ok=True)

    def _part(self, upload_id: str, number: int) -> Path:
        if not re.fullmatch("[0-9a-zA-Z]{1,64}", upload_id):  # it becomes a path
            raise ValueError(f"Not the id of an upload: {upload_id!r}.")
        return self._incoming / f"{upload_id}.{number}"


def _chunks(path: Path, size: int = 1 << 20) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(size):
            yield chunk
