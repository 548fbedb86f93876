"""The endpoints of a Xet download: how to put a file together, and the data of its parts.

The xorbs that were uploaded are gone by then. Each file is offered as xorbs of its own, made from the stored content
when they are asked for: chunks of one size, not compressed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from mat_vis_hub.local_hub.model.lfs import LfsStore
from mat_vis_hub.local_hub.web.errors import HubError
from mat_vis_hub.local_hub.web.requests import number
from mat_vis_hub.local_hub.web.routing import route

# The same at every start: clients remember it. To read a file, they need its hash, and so access to its repository.
PREFIX = "/xet/read"

CHUNK = 1 << 16  # bytes
XORB = 512 * CHUNK
_HEADER = 8  # bytes, before each chunk


def routes(store: LfsStore) -> list[Route]:
    downloads = _Downloads(store)
    return [
        route("GET", PREFIX + "/v1/reconstructions/{hash}", "xet-cas", downloads.reconstruction),
        route("GET", PREFIX + "/v1/files/{hash}/{number}", "xet-cas", downloads.xorb),
    ]


class _Downloads:
    def __init__(self, store: LfsStore) -> None:
        self._store = store

    async def reconstruction(self, request: Request) -> Response:
        """Say which xorbs make up the file, or the range of it that the client wants."""
        xet_hash, sha256 = self._file(request)
        size = self._store.size(sha256)
        start, end = _wanted_range(request, size)
        terms, addresses = [], {}
        for part in range(start // XORB, -(-end // XORB)):
            length = min(XORB, size - part * XORB)
            chunks = {"start": 0, "end": -(-length // CHUNK)}
            name = hashlib.sha256(f"{xet_hash}/{part}".encode()).hexdigest()
            terms.append({"hash": name, "unpacked_length": length, "range": chunks})
            url = f"{request.base_url}{PREFIX[1:]}/v1/files/{xet_hash}/{part}"
            last = length + chunks["end"] * _HEADER - 1
            addresses[name] = [{"range": chunks, "url": url, "url_range": {"start": 0, "end": last}}]
        return JSONResponse({"offset_into_first_range": start % XORB, "terms": terms, "fetch_info": addresses})

    async def xorb(self, request: Request) -> Response:
        """Send one xorb. Clients always ask for the range that `reconstruction` gave, which is all of it."""
        _, sha256 = self._file(request)
        part, size = number(request.path_params["number"], -1), self._store.size(sha256)
        if not 0 <= part * XORB < size:
            raise HubError(404, "There is no such xorb.")
        length = min(XORB, size - part * XORB)
        total = length + -(-length // CHUNK) * _HEADER
        headers = {"Content-Range": f"bytes 0-{total - 1}/{total}", "Content-Length": str(total)}
        return StreamingResponse(self._chunks(sha256, part * XORB), 206, headers)

    def _chunks(self, sha256: str, start: int) -> Iterator[bytes]:
        with self._store.open(sha256) as file:
            file.seek(start)
            for _ in range(XORB // CHUNK):
                data = file.read(CHUNK)
                if not data:
                    return
                size = len(data).to_bytes(3, "little")
                yield b"\0" + size + b"\0" + size + data

    def _file(self, request: Request) -> tuple[str, str]:
        xet_hash = request.path_params["hash"]
        sha256 = self._store.xet.sha256_of(xet_hash)
        if sha256 is None or not self._store.has(sha256):
            raise HubError(404, "There is no such file.")
        return xet_hash, sha256


def _wanted_range(request: Request, size: int) -> tuple[int, int]:
    """Return the start and the end, exclusive, of the range that the client wants. Raises 416 if it is empty."""
    wanted = re.fullmatch("bytes=([0-9]{1,18})-([0-9]{1,18})?", request.headers.get("range", "bytes=0-"))
    if not wanted:
        raise HubError(400, "Invalid range")
    start, end = int(wanted[1]), min(int(wanted[2] or size) + 1, size)
    if start >= end:
        raise HubError(416, "The range is outside of the file.")
    return start, end
