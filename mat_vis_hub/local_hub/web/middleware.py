"""The outermost layer, plain ASGI: plays faults, applies the limits of requests, and records every answer.

It is no Starlette middleware because a dropped connection is no response: it needs uvicorn's transport.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mat_vis_hub.local_hub.faults import Fault
from mat_vis_hub.local_hub.messages import bucket_refusal
from mat_vis_hub.local_hub.recorder import SeenRefusal, SeenRequest
from mat_vis_hub.local_hub.timeline import Job, timeline
from mat_vis_hub.local_hub.web.context import HubContext
from mat_vis_hub.local_hub.web.exchange import DeliveredLate, Exchange
from mat_vis_hub.local_hub.web.responses import request_id
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
        if fault and fault.delay and not fault.delay_answer:
            await asyncio.sleep(fault.delay)  # real time, whatever the Hub's clock says
        await self._context.agenda.settle()
        if fault and fault.lands_in is not None:
            receive = await self._schedule(exchange, fault, receive)
        if fault and fault.drop:
            await self._drop(exchange, fault, receive, raw_send)
        elif fault and fault.truncate:
            await self._truncate(exchange, fault, receive, send, raw_send)
        elif fault and fault.status is not None:
            exchange.refused_by = "scripted" if fault.status == 429 else None
            await _read_body(receive)
            await _answer(fault.status, fault.body, fault.headers)(exchange.scope, receive, send)
        elif refused_by := self._take(exchange):
            exchange.refused_by = refused_by
            await _read_body(receive)
            await self._refusal(refused_by)(exchange.scope, receive, send)
        elif fault and fault.delay_answer:
            answer = await self._processed(exchange, receive)
            await asyncio.sleep(fault.delay)
            for message in answer:
                await send(message)
        else:
            await self._app(exchange.scope, receive, send)

    async def _processed(self, exchange: Exchange, receive: Receive) -> list[Message]:
        """Process the request, and return the answer instead of sending it."""
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        await self._app(exchange.scope, receive, keep)
        return answer

    async def _schedule(self, exchange: Exchange, fault: Fault, receive: Receive) -> Receive:
        """Process the request later, if the repository is not busy. Returns what receives its body once more."""
        assert fault.lands_in is not None
        context = self._context
        body = await _read_body(receive)
        scope = {**exchange.scope}
        repo = context.repos.get(exchange.repo_type, exchange.repo) if exchange.repo_type and exchange.repo else None
        held = repo if fault.holds and exchange.endpoint in _COMMITS else None

        async def deliver(job: Job) -> None:
            if held:
                context.commit_locks.release(held)
            late = Exchange(
                scope, exchange.endpoint, exchange.repo_type, exchange.repo, exchange.caller, exchange.address
            )
            late.delivered_late = DeliveredLate(job.timeline.date(job.moment), accepted=held is not None)
            await self._app(scope, _replay(body, receive), _discard)

        current = timeline(context.clock, context.speed)
        job = Job(current, current.now() + fault.lands_in, deliver)
        if held is None or context.commit_locks.reserve(held, job):
            context.agenda.add(job)
        return _replay(body, receive)

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
        return Exchange(scope, endpoint, repo_type, repo, caller, address)

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
        headers = {"date": formatdate(self._context.clock(), usegmt=True)}
        if not exchange.from_gateway:
            headers["x-request-id"] = request_id(exchange.scope)
            headers |= self._ratelimit_headers(exchange)
        return [(name.encode(), value.encode()) for name, value in headers.items()]

    def _ratelimit_headers(self, exchange: Exchange) -> dict[str, str]:
        bucket = "whoami" if exchange.refused_by == "whoami" else _bucket(exchange)
        if bucket is None:
            return {}
        limiter = self._context.buckets[bucket]
        standing = limiter.standing(_counted_as(exchange, bucket))
        if standing is None:
            return {}
        return {
            "ratelimit": f'"{bucket}";r={standing.remaining};t={math.ceil(standing.reset_in)}',
            "ratelimit-policy": f'"fixed window";"{bucket}";q={limiter.limit};w={math.ceil(limiter.window)}',
        }

    def _take(self, exchange: Exchange) -> str | None:
        """Count the request. Returns the bucket that has no room for it, if there is one."""
        for bucket in filter(None, [_bucket(exchange), "whoami" if exchange.endpoint == "whoami" else None]):
            if not self._context.buckets[bucket].take(_counted_as(exchange, bucket)):
                return bucket
        return None

    def _refusal(self, bucket: str) -> ASGIApp:
        limiter = self._context.buckets[bucket]
        assert limiter.limit is not None
        body = {"error": bucket_refusal(limiter.limit, limiter.window, bucket)}
        return _answer(429, json.dumps(body).encode(), {"content-type": "application/json"})

    async def _truncate(self, exchange: Exchange, fault: Fault, receive: Receive, send: Send, raw_send: Send) -> None:
        """Send the answer up to the middle of its body, then close the connection."""
        if fault.applied:
            start, *parts = await self._processed(exchange, receive)
            body = b"".join(part.get("body", b"") for part in parts)
        else:
            await _read_body(receive)
            body = b'{"success": false}'
            start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}
        headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        length = max(len(body), 2)  # of an empty body, too, something is missing
        start["headers"] = [*headers, (b"content-length", str(length).encode())]
        await send(start)
        await send({"type": "http.response.body", "body": body[: length // 2], "more_body": True})
        await _close_connection(receive, raw_send)

    async def _drop(self, exchange: Exchange, fault: Fault, receive: Receive, raw_send: Send) -> None:
        if fault.applied:
            await self._app(exchange.scope, receive, _discard)
        else:
            await _read_body(receive)
        self._record(exchange, None)
        await _close_connection(receive, raw_send, reset=True)

    def _record(self, exchange: Exchange, status: int | None) -> None:
        now, scope, recorder = self._context.clock(), exchange.scope, self._context.recorder
        recorder.add(
            SeenRequest(now, scope["method"], scope["path"], exchange.endpoint, status, exchange.bytes_received)
        )
        if status is not None and exchange.refused_by:
            recorder.add(SeenRefusal(now, exchange.refused_by, exchange.endpoint, exchange.repo_type, exchange.repo))


_COMMITS = ("commit", "merge", "super-squash")
_STORAGE = ("lfs-upload", "lfs-complete", "xet-cas")  # other hosts, which know nothing of the Hub's buckets


def _bucket(exchange: Exchange) -> str | None:
    """Return the bucket of requests that this one is of, None if it is for a storage host."""
    if exchange.endpoint in _STORAGE:
        return None
    if exchange.endpoint == "resolve":
        return "resolvers"
    is_api = exchange.scope["path"].startswith("/api/") or exchange.endpoint in ("lfs-batch", "lfs-verify")
    return "api" if is_api else "pages"


def _counted_as(exchange: Exchange, bucket: str) -> str:
    """Return whose requests a bucket counts. That of `whoami` counts an address's, so that tokens cannot be guessed."""
    return exchange.address if bucket == "whoami" else exchange.caller


def _answer(status: int, body: bytes, headers: dict[str, str]) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        present = {name.lower(): value for name, value in headers.items()}
        present.setdefault("content-length", str(len(body)))
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in present.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return answer


async def _read_body(receive: Receive) -> bytes:
    """Receive the whole body. A client that is still sending would see a broken pipe instead of the answer."""
    message = await receive()
    parts = [message.get("body", b"")]
    while message["type"] == "http.request" and message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return what receives `body` once more, and then what `receive` does."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


async def _discard(message: Message) -> None:
    """Drop an answer."""


async def _close_connection(receive: Receive, send: Send, *, reset: bool = False) -> None:
    """Close the connection behind uvicorn's own `send`, which is a method of its request/response cycle."""
    cycle: Callable[..., object] = send.__self__  # type: ignore[attr-defined]  # tests of dropped connections notice
    transport = cycle.transport  # type: ignore[attr-defined]  # its loss
    transport.abort() if reset else transport.close()
    while (await receive())["type"] != "http.disconnect":
        pass  # uvicorn logs an error if this returns, without an answer, before it has seen the disconnect
