"""The shard format: which chunks of which xorbs make up a file."""

from __future__ import annotations

import struct
from typing import NamedTuple

_HEADER = b"HFRepoMetaData\0" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9") + struct.pack("<Q", 2)
_RECORD = struct.Struct("<32s4I")  # the size of every record: header, file, term, verification, metadata
_BOOKEND = b"\xff" * 32
_HAS_VERIFICATION = 1 << 31
_HAS_METADATA = 1 << 30


class Term(NamedTuple):
    """The chunks of one xorb from `start` up to, but not including, `end`."""

    xorb: str
    start: int
    end: int


class ShardFile(NamedTuple):
    """One file: the content of its terms, in order."""

    hash: str
    sha256: str
    terms: list[Term]


def parse_shard(shard: bytes) -> list[ShardFile]:
    """
    Return the files that a shard describes. Raises `ValueError` if it is malformed.

    Verification records are skipped, because the SHA-256 of the rebuilt file is checked. So is the list of xorbs
    after the files, which only a service that answers deduplication queries needs.
    """
    if not shard.startswith(_HEADER):
        raise ValueError("Not a Xet shard of version 2: the first 40 bytes are not its magic number and version.")
    records = _RECORD.iter_unpack(shard[_RECORD.size : len(shard) // _RECORD.size * _RECORD.size])
    files = []
    try:
        while (record := next(records))[0] != _BOOKEND:
            file_hash, flags, count = record[:3]
            entries = [next(records) for _ in range(count)]
            if flags & _HAS_VERIFICATION:
                for _ in range(count):
                    next(records)
            if not flags & _HAS_METADATA:
                raise ValueError(f"The shard gives no SHA-256 for the file {hash_hex(file_hash)}; a commit needs one.")
            terms = [Term(hash_hex(xorb), start, end) for xorb, _, _, start, end in entries]
            files.append(ShardFile(hash_hex(file_hash), hash_hex(next(records)[0]), terms))
    except StopIteration:
        raise ValueError(f"The shard ends, after {len(shard)} bytes, in the middle of its list of files.") from None
    return files


def hash_hex(value: bytes) -> str:
    """Write 32 bytes as Xet does: as four little-endian 64-bit numbers in hexadecimal."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", value))
