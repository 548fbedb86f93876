"""The outermost layer, plain ASGI: plays faults, applies the limits of requests, and records every answer.

It is no Starlette middleware because a dropped connection is no response: it needs uvicorn's transport.
"""

from __future__ import annotations

import asyncio
import json
import math
import uuid
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mat_vis_hub.local_hub.faults import Fault
from mat_vis_hub.local_hub.limiter import Limiter
from mat_vis_hub.local_hub.messages import api_refusal
from mat_vis_hub.local_hub.recorder import SeenRefusal, SeenRequest
from mat_vis_hub.local_hub.web.context import HubContext
from mat_vis_hub.local_hub.web.exchange import Exchange
from mat_vis_hub.local_hub.web.routing import repo_key


class HubMiddleware:
    def __init__(self, app: Starlette, context: HubContext) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        # Route the path as it was sent: `refs%2Fpr%2F1` has to stay one segment.
        scope["path"] = scope["raw_path"].decode("latin-1")
        exchange = self._exchange(scope)

        async def counted_receive() -> Message:
            message = await receive()
            exchange.bytes_received += len(message.get("body", b""))
            return message

        # The Hub is stopping, or the client has disconnected: an answer would reach no one.
        with suppress(asyncio.CancelledError, ClientDisconnect):
            await self._serve(exchange, counted_receive, self._stamped(exchange, send), send)

    async def _serve(self, exchange: Exchange, receive: Receive, send: Send, raw_send: Send) -> None:
        fault = self._context.faults.next(exchange.endpoint)
        if fault and fault.delay:
            await asyncio.sleep(fault.delay)  # real time, whatever the Hub's clock says
        if fault and fault.drop:
            await self._drop(exchange, fault, receive, raw_send)
        elif fault and fault.status is not None:
            exchange.refused_by = "scripted" if fault.status == 429 else None
            await _read_body(receive)
            await _answer(fault.status, fault.body, fault.headers)(exchange.scope, receive, send)
        elif not self._take(exchange):
            exchange.refused_by = self._bucket(exchange)
            await _read_body(receive)
            await self._refusal(exchange.refused_by)(exchange.scope, receive, send)
        else:
            await self._app(exchange.scope, receive, send)

    def _exchange(self, scope: Scope) -> Exchange:
        endpoint = "unknown"
        repo_type, repo = None, None
        for route in self._app.routes:
            match, child = route.matches(scope)
            if match is Match.FULL:
                endpoint = getattr(route, "name", endpoint)
                if "namespace" in child["path_params"]:
                    repo_type, repo = repo_key({**scope, **child})
                break
        headers = dict(scope["headers"])
        address = scope["client"][0] if scope["client"] else ""
        caller = headers.get(b"authorization", b"").decode("latin-1") or address
        return Exchange(scope, endpoint, repo_type, repo, caller)

    def _stamped(self, exchange: Exchange, send: Send) -> Send:
        """Wrap `send`: add the headers that every answer of the Hub has, and record the answer."""

        async def stamped_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = list(message["headers"]) + [
                    (name, value) for name, value in self._common_headers(exchange) if name not in present
                ]
                self._record(exchange, message["status"])
            await send(message)

        return stamped_send

    def _common_headers(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        date = formatdate(self._context.clock(), usegmt=True)
        headers = {"date": date, "x-request-id": f"Root=1-{uuid.uuid4()}"}
        bucket = self._bucket(exchange)
        headers |= _ratelimit_headers(bucket, self._context.buckets[bucket], exchange.caller)
        return [(name.encode(), value.encode()) for name, value in headers.items()]

    def _take(self, exchange: Exchange) -> bool:
        """Count the request, and return whether there was room for it. Uploads of content do not count."""
        bucket = self._bucket(exchange)
        is_api = exchange.scope["path"].startswith("/api/") or exchange.endpoint == "lfs-batch"
        return not (is_api or bucket == "resolvers") or self._context.buckets[bucket].take(exchange.caller)

    def _bucket(self, exchange: Exchange) -> str:
        """Return the limit that the answer's headers are about. Without one of their own, downloads show the API's."""
        limited = self._context.buckets["resolvers"].limit is not None
        return "resolvers" if exchange.endpoint == "resolve" and limited else "api"

    def _refusal(self, bucket: str) -> ASGIApp:
        limiter = self._context.buckets[bucket]
        assert limiter.limit is not None
        body = {"error": api_refusal(limiter.limit, limiter.window, bucket)}
        return _answer(429, json.dumps(body).encode(), {"content-type": "application/json"})

    async def _drop(self, exchange: Exchange, fault: Fault, receive: Receive, raw_send: Send) -> None:
        if fault.applied:
            await self._app(exchange.scope, receive, _discard)
        else:
            await _read_body(receive)
        self._record(exchange, None)
        _abort_connection(raw_send)
        while (await receive())["type"] != "http.disconnect":
            pass  # uvicorn logs an error if this returns, without an answer, before it has seen the disconnect

    def _record(self, exchange: Exchange, status: int | None) -> None:
        now, scope, recorder = self._context.clock(), exchange.scope, self._context.recorder
        recorder.add(
            SeenRequest(now, scope["method"], scope["path"], exchange.endpoint, status, exchange.bytes_received)
        )
        if status is not None and exchange.refused_by:
            recorder.add(SeenRefusal(now, exchange.refused_by, exchange.endpoint, exchange.repo_type, exchange.repo))


def _ratelimit_headers(bucket: str, limiter: Limiter, caller: str) -> dict[str, str]:
    standing = limiter.standing(caller)
    if standing is None:
        return {}
    return {
        "ratelimit": f'"{bucket}";r={standing.remaining};t={math.ceil(standing.reset_in)}',
        "ratelimit-policy": f'"fixed window";"{bucket}";q={limiter.limit};w={math.ceil(limiter.window)}',
    }


def _answer(status: int, body: bytes, headers: dict[str, str]) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        present = {name.lower(): value for name, value in headers.items()}
        present.setdefault("content-length", str(len(body)))
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in present.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return answer


async def _read_body(receive: Receive) -> None:
    """Receive the whole body. A client that is still sending would see a broken pipe instead of the answer."""
    message = await receive()
    while message["type"] == "http.request" and message.get("more_body"):
        message = await receive()


async def _discard(message: Message) -> None:
    """Drop an answer."""


def _abort_connection(send: Send) -> None:
    """Reset the connection behind uvicorn's own `send`, which is a method of its request/response cycle."""
    cycle: Callable[..., object] = send.__self__  # type: ignore[attr-defined]  # tests of dropped connections notice
    cycle.transport.abort()  # type: ignore[attr-defined]  # its loss
