"""The endpoints of a Xet upload: a write token that points back here, xorbs in, shards in, files rebuilt."""

from __future__ import annotations

import logging
import secrets
import time
from itertools import chain
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mat_vis_hub.local_hub.web.xet.shard import parse_shard
from mat_vis_hub.local_hub.web.xet.xorb import XorbStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from mat_vis_hub.local_hub.model.lfs import LfsStore

_log = logging.getLogger(__name__)
_TOKEN_SECONDS = 3600


def routes(store: LfsStore, base_url: Callable[[], str]) -> list[Route]:
    """What a Hub at `base_url()` serves so that Xet uploads end up in `store`.

    The secret in the CAS path stands in for authentication. It also differs from server to server, because
    clients remember on disk, by CAS URL, which xorbs they have sent: a server that starts anew at an old
    address must not be taken for its predecessor.
    """
    cas = _Cas(store)
    prefix = f"/xet/{secrets.token_hex(8)}"

    def token(request: Request) -> Response:
        expires = int(time.time()) + _TOKEN_SECONDS  # real time: the client compares it with its own clock
        url, access = base_url().rstrip("/") + prefix, "local"
        headers = {
            "X-Xet-Cas-Url": url,
            "X-Xet-Access-Token": access,
            "X-Xet-Token-Expiration": str(expires),
        }
        return JSONResponse({"casUrl": url, "accessToken": access, "exp": expires}, headers=headers)

    tokens = [
        Route(f"/api/{kind}/{{namespace}}/{{name}}/xet-write-token/{{revision:path}}", token, name="xet-token")
        for kind in ("models", "datasets", "spaces")
    ]
    return [
        *tokens,
        Route(f"{prefix}/v1/xorbs/default/{{xorb}}", cas.xorb, methods=["POST"], name="xet-cas"),
        Route(f"{prefix}/v1/shards", cas.shard, methods=["POST"], name="xet-cas"),
        # Newer ways to upload and queries for known chunks: clients take a 404 for a no and go on without.
        Route(f"{prefix}/{{path:path}}", _not_here, methods=["GET", "POST", "PUT"], name="xet-cas"),
        Route("/v1/telemetry", _not_here, methods=["POST"], name="xet-cas"),  # clients ignore the path of the CAS URL
    ]


class _Cas:
    """Content-addressable storage, in Xet's terms: what receives xorbs and shards."""

    def __init__(self, store: LfsStore) -> None:
        self._store = store
        self._xorbs = XorbStore()

    async def xorb(self, request: Request) -> Response:
        body = request.stream()
        try:
            inserted = await self._xorbs.receive(request.path_params["xorb"], body)
        except ValueError as error:
            return _refuse(400, str(error))
        except ModuleNotFoundError as error:
            # 501 and not 500, which clients would try again for minutes.
            return _refuse(501, f'This Hub cannot unpack the upload ({error}): pip install "mat-vis-hub[local]".')
        finally:
            async for _ in body:  # a client still busy sending would see a broken pipe instead of the refusal
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


def _not_here(request: Request) -> Response:
    message = f"This Hub does not serve {request.method} {request.url.path}."
    return JSONResponse({"error": message}, status_code=404)


def _refuse(status: int, message: str) -> Response:
    _log.warning("Xet upload refused: %s", message)  # clients show their users the status, but not the message
    return JSONResponse({"error": message}, status_code=status)
