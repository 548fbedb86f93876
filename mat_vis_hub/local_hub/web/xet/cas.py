"""The endpoints of Xet uploads: tokens, xorbs, and shards, from which files are rebuilt."""

from __future__ import annotations

import logging
import secrets
import time
from itertools import chain

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mat_vis_hub.local_hub.model.lfs import LfsStore
from mat_vis_hub.local_hub.web.requests import committable_repo, flag, readable_repo, revision
from mat_vis_hub.local_hub.web.routing import API, route
from mat_vis_hub.local_hub.web.xet import download
from mat_vis_hub.local_hub.web.xet.shard import parse_shard
from mat_vis_hub.local_hub.web.xet.xorb import XorbStore

_log = logging.getLogger(__name__)
_TOKEN_SECONDS = 3600


def routes(store: LfsStore) -> list[Route]:
    """
    Return the routes of Xet uploads that end up in `store`, and of downloads.

    For uploads, the random part of the CAS URL stands in for authentication. It is new with every start, because
    clients remember on disk, by CAS URL, which xorbs they have sent: a new Hub at an old address has none of them.
    """
    cas = _Cas(store, f"/xet/{secrets.token_hex(8)}")
    return [
        route("GET", API + "/xet-write-token/{revision:path}", "xet-token", cas.write_token),
        route("GET", API + "/xet-read-token/{revision:path}", "xet-token", read_token),
        *download.routes(store),
        route("POST", f"{cas.prefix}/v1/xorbs/default/{{xorb}}", "xet-cas", cas.xorb),
        route("POST", f"{cas.prefix}/v1/shards", "xet-cas", cas.shard),
        # Newer kinds of requests, and queries for known chunks. After a 404, clients go on without them.
        Route(f"{download.PREFIX}/{{path:path}}", _not_served, methods=["GET"], name="xet-cas"),
        Route(f"{cas.prefix}/{{path:path}}", _not_served, methods=["GET", "POST", "PUT"], name="xet-cas"),
        route("POST", "/v1/telemetry", "xet-cas", _not_served),  # clients ignore the path of the CAS URL here
    ]


class _Cas:
    """Content-addressable storage, as Xet calls the service that receives xorbs and shards."""

    def __init__(self, store: LfsStore, prefix: str) -> None:
        self.prefix = prefix
        self._store = store
        self._xorbs = XorbStore()

    async def write_token(self, request: Request) -> Response:
        """Issue a token to a caller who may commit."""
        committable_repo(request, revision(request), opens_pr=flag(request, "create_pr"))
        return _token(request, self.prefix)

    async def xorb(self, request: Request) -> Response:
        body = request.stream()
        try:
            inserted = await self._xorbs.receive(request.path_params["xorb"], body)
        except ValueError as error:
            return _refuse(400, str(error))
        except ModuleNotFoundError as error:
            # Not 500: clients would retry that for minutes.
            return _refuse(501, f'This Hub cannot unpack the upload ({error}): pip install "mat-vis-hub[local]".')
        finally:
            async for _ in body:  # a client that is still sending would see a broken pipe instead of the answer
                pass
        return JSONResponse({"was_inserted": inserted})

    async def shard(self, request: Request) -> Response:
        try:
            await run_in_threadpool(self._rebuild, await request.body())
        except ValueError as error:
            return _refuse(400, str(error))
        return JSONResponse({"result": 1})

    def _rebuild(self, shard: bytes) -> None:
        for file in parse_shard(shard):
            if not self._store.has(file.sha256):
                self._store.put(file.sha256, chain.from_iterable(self._xorbs.read(*term) for term in file.terms))
            if file.terms:  # nobody asks for the content of an empty file
                self._store.xet.add(file.hash, file.sha256)


async def read_token(request: Request) -> Response:
    """Issue a token to a caller who may read the files."""
    caller, repo = readable_repo(request)
    caller.require_files(repo)
    return _token(request, download.PREFIX)


def _token(request: Request, prefix: str) -> Response:
    url, access = str(request.base_url).rstrip("/") + prefix, "local"
    expires = int(time.time()) + _TOKEN_SECONDS  # real time, because the client compares it with its own clock
    headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": access, "X-Xet-Token-Expiration": str(expires)}
    return JSONResponse({"casUrl": url, "accessToken": access, "exp": expires}, headers=headers)


def _not_served(request: Request) -> Response:
    message = f"This Hub does not serve {request.method} {request.url.path}."
    return JSONResponse({"error": message}, status_code=404)


def _refuse(status: int, message: str) -> Response:
    _log.warning("Xet upload refused: %s", message)  # clients show the status to their users, but not the message
    return JSONResponse({"error": message}, status_code=status)
