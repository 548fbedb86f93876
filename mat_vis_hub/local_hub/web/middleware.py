"""The outermost layer, plain ASGI: it plays the script, keeps the API limit, stamps and records every answer.

It stands outside Starlette because a dropped connection is no response: it has to reach uvicorn's transport.
"""

from __future__ import annotations

import asyncio
import json
import math
import uuid
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.routing import Match

from mat_vis_hub.local_hub.messages import api_refusal
from mat_vis_hub.local_hub.recorder import SeenRefusal, SeenRequest
from mat_vis_hub.local_hub.web.routes import repo_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mat_vis_hub.local_hub.faults import Rule
    from mat_vis_hub.local_hub.limiter import Standing
    from mat_vis_hub.local_hub.web.context import HubState

REFUSED_BY = "local_hub.refused_by"
"""Where a handler that answers 429 leaves word which limit it was."""


@dataclass
class Visit:
    """One request on its way through."""

    scope: Scope
    endpoint: str
    repo_type: str | None
    repo: str | None
    caller: str  # whose API bucket it is; never recorded
    bytes_received: int = 0


class Front:
    def __init__(self, app: Starlette, state: HubState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        # Routing happens on the path as it came: `refs%2Fpr%2F1` is one segment, and stays one.
        scope["path"] = scope["raw_path"].decode("latin-1")
        visit = self._visit(scope)

        async def counted_receive() -> Message:
            message = await receive()
            visit.bytes_received += len(message.get("body", b""))
            return message

        # The Hub is being stopped, or the client has gone away: either way nobody waits for an answer.
        with suppress(asyncio.CancelledError, ClientDisconnect):
            await self._serve(visit, counted_receive, send)

    async def _serve(self, visit: Visit, receive: Receive, send: Send) -> None:
        rule = self._state.script.next(visit.endpoint)
        if rule and rule.delay:
            await asyncio.sleep(rule.delay)
        if rule and rule.drop:
            await self._drop(visit, rule, receive, send)
        elif rule and rule.status is not None:
            await _read_body(receive)
            answer = _answer(rule.status, rule.body, rule.headers)
            await answer(visit.scope, receive, self._stamped(visit, send, refused_by="scripted"))
        elif _is_api(visit) and not self._state.api_limit.take(visit.caller):
            await _read_body(receive)
            await self._api_refusal()(visit.scope, receive, self._stamped(visit, send, refused_by="api"))
        else:
            await self._app(visit.scope, receive, self._stamped(visit, send))

    def _visit(self, scope: Scope) -> Visit:
        endpoint = "unknown"
        repo: tuple[str, str] | tuple[None, None] = (None, None)
        for route in self._app.routes:
            match, child = route.matches(scope)
            if match is Match.FULL:
                endpoint = getattr(route, "name", endpoint)
                if "namespace" in child["path_params"]:
                    repo = repo_key({**scope, **child})
                break
        headers = dict(scope["headers"])
        client = scope["client"][0] if scope["client"] else ""
        caller = headers.get(b"authorization", b"").decode("latin-1") or client
        return Visit(scope, endpoint, repo[0], repo[1], caller)

    def _stamped(self, visit: Visit, send: Send, refused_by: str | None = None) -> Send:
        """`send` with the headers that every answer of the Hub carries; records the answer as it leaves."""

        async def stamped_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = list(message["headers"]) + [
                    (name, value) for name, value in self._common_headers(visit) if name not in present
                ]
                self._record(visit, message["status"], refused_by or visit.scope.get(REFUSED_BY))
            await send(message)

        return stamped_send

    def _common_headers(self, visit: Visit) -> list[tuple[bytes, bytes]]:
        date = formatdate(self._state.clock(), usegmt=True)
        headers = {"date": date, "x-request-id": f"Root=1-{uuid.uuid4()}"}
        standing = self._state.api_limit.standing(visit.caller)
        if standing is not None:
            headers |= _ratelimit_headers(standing, self._state.api_limit.limit, self._state.api_limit.window)
        return [(name.encode(), value.encode()) for name, value in headers.items()]

    def _api_refusal(self) -> ASGIApp:
        limit = self._state.api_limit
        assert limit.limit is not None
        body = {"error": api_refusal(limit.limit, limit.window)}
        return _answer(429, json.dumps(body).encode(), {"content-type": "application/json"})

    async def _drop(self, visit: Visit, rule: Rule, receive: Receive, send: Send) -> None:
        if rule.applied:
            await self._app(visit.scope, receive, _nowhere)
        else:
            await _read_body(receive)
        self._record(visit, None, None)
        _abort_connection(send)
        while (await receive())["type"] != "http.disconnect":
            pass  # until uvicorn has noticed; it would complain about a request without an answer

    def _record(self, visit: Visit, status: int | None, refused_by: str | None) -> None:
        now, scope, recorder = self._state.clock(), visit.scope, self._state.recorder
        recorder.add(SeenRequest(now, scope["method"], scope["path"], visit.endpoint, status, visit.bytes_received))
        if status == 429 and refused_by:
            recorder.add(SeenRefusal(now, refused_by, visit.endpoint, visit.repo_type, visit.repo))


def _is_api(visit: Visit) -> bool:
    """What the API bucket counts: the API and the LFS batch; downloads and uploaded bytes are free."""
    return visit.scope["path"].startswith("/api/") or visit.endpoint == "lfs-batch"


def _ratelimit_headers(standing: Standing, limit: int | None, window: float) -> dict[str, str]:
    return {
        "ratelimit": f'"api";r={standing.remaining};t={math.ceil(standing.reset_in)}',
        "ratelimit-policy": f'"fixed window";"api";q={limit};w={math.ceil(window)}',
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
    """A client still busy sending would see a broken pipe instead of the answer."""
    message = await receive()
    while message["type"] == "http.request" and message.get("more_body"):
        message = await receive()


async def _nowhere(message: Message) -> None:
    """The answer that gets lost."""


def _abort_connection(send: Send) -> None:
    cycle: Callable[..., object] = send.__self__  # type: ignore[attr-defined]  # uvicorn's request/response cycle
    cycle.transport.abort()  # type: ignore[attr-defined]  # a test would notice its loss
