"""The xorb format, which is a sequence of compressed chunks, and a store of received xorbs."""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from typing import NamedTuple

_FOOTER = b"XETBLOB"
_HEADER_SIZE = 8


class _Chunk(NamedTuple):
    offset: int
    size: int


class XorbStore:
    """
    The unpacked chunks of all xorbs, in one temporary file that is deleted with this object or the process.

    The hashes of xorbs (Merkle trees over the chunks) are not checked. The SHA-256 of a file is, when it is rebuilt.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="local-hub-xet-")  # noqa: SIM115  # closed by the finalizer
        self._lock = threading.Lock()  # a seek and the read or write after it belong together
        self._xorbs: dict[str, list[_Chunk]] = {}
        weakref.finalize(self, self._file.close)

    async def receive(self, name: str, stream: AsyncIterable[bytes]) -> bool:
        """Store a serialized xorb and return whether it is new. Raises `ValueError` if it is malformed."""
        chunks = [self._append(chunk) async for chunk in _unpack_xorb(stream)]
        return self._xorbs.setdefault(name, chunks) is chunks

    def read(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """Yield the chunks from `start` up to, but not including, `end`. Raises `ValueError` if they do not exist."""
        chunks = self._xorbs.get(name)
        if chunks is None:
            raise ValueError(f"The xorb {name} was never uploaded here; send it before a shard that uses it.")
        if not start <= end <= len(chunks):
            raise ValueError(f"The xorb {name} has {len(chunks)} chunks; there are none from {start} to {end}.")
        for chunk in chunks[start:end]:
            with self._lock:
                self._file.seek(chunk.offset)
                data = self._file.read(chunk.size)
            yield data

    def _append(self, data: bytes) -> _Chunk:
        with self._lock:
            offset = self._file.seek(0, os.SEEK_END)
            self._file.write(data)
        return _Chunk(offset, len(data))


async def _unpack_xorb(stream: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Yield the chunks of a serialized xorb as it arrives, one at a time."""
    buffer = bytearray()
    async for piece in stream:
        if buffer.startswith(_FOOTER):
            continue
        buffer += piece
        while len(buffer) >= _HEADER_SIZE and not buffer.startswith(_FOOTER):
            if buffer[0] != 0:
                raise ValueError(f"Not a xorb: no chunk of version 0 begins with {bytes(buffer[:8])!r}.")
            end = _HEADER_SIZE + int.from_bytes(buffer[1:4], "little")
            if len(buffer) < end:
                break
            yield _unpack_chunk(buffer[4], bytes(buffer[_HEADER_SIZE:end]), int.from_bytes(buffer[5:8], "little"))
            del buffer[:end]
    if buffer and not buffer.startswith(_FOOTER):
        raise ValueError(f"The xorb ends in the middle of a chunk, after {len(buffer)} bytes of it.")


def _unpack_chunk(scheme: int, packed: bytes, size: int) -> bytes:
    if scheme == 0:
        data = packed
    elif scheme in (1, 2):
        import lz4.frame  # type: ignore[import-untyped]  # it has no types

        try:
            data = lz4.frame.LZ4FrameDecompressor().decompress(packed, max_length=size)
        except RuntimeError as error:
            raise ValueError(f"A chunk of the xorb does not decompress: {error}.") from error
    else:
        raise ValueError(f"A chunk of the xorb is compressed with an unknown scheme: {scheme}.")
    if len(data) != size:
        raise ValueError(f"A chunk of the xorb unpacks to {len(data)} bytes; its header says {size}.")
    return _ungroup(data) if scheme == 2 else data


def _ungroup(grouped: bytes) -> bytes:
    """Undo byte grouping, which puts bytes 0, 4, 8, ... of the chunk first, then 1, 5, 9, ..., and so on."""
    size = len(grouped)
    data = bytearray(size)
    start = 0
    for lane in range(4):
        end = start + len(range(lane, size, 4))
        data[lane::4] = grouped[start:end]
        start = end
    return bytes(data)
