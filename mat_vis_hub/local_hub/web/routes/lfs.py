"""Uploads of large files: the LFS batch, basic and multipart uploads, verification."""

from __future__ import annotations

import math
import uuid
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mat_vis_hub.local_hub.web.caller import Caller
from mat_vis_hub.local_hub.web.errors import HubError
from mat_vis_hub.local_hub.web.requests import committable_repo, json_body, readable_repo, required
from mat_vis_hub.local_hub.web.routing import route, web_routes

STORAGE = "/_lfs/{oid}"
MEDIA_TYPE = "application/vnd.git-lfs+json"


def routes() -> list[Route]:
    return [
        *web_routes("POST", ".git/info/lfs/objects/batch", "lfs-batch", batch),
        *web_routes("POST", ".git/info/lfs/verify", "lfs-verify", verify),
        route("PUT", STORAGE, "lfs-upload", upload),
        route("PUT", STORAGE + "/{upload_id}/{number:int}", "lfs-upload", upload_part),
        route("POST", STORAGE + "/{upload_id}/complete", "lfs-complete", complete),
    ]


async def batch(request: Request) -> Response:
    body = await json_body(request)
    caller, repo, _ = committable_repo(request, (body.get("ref") or {}).get("name"))
    if body.get("operation") != "upload":
        raise HubError(501, "This local Hub serves LFS uploads only; download through /resolve/.")
    multipart = "multipart" in body.get("transfers", ())
    base = str(request.base_url).rstrip("/")
    objects: list[dict[str, Any]] = []
    for wanted in required(body, "objects"):
        oid, size = required(wanted, "oid"), required(wanted, "size")
        described: dict[str, Any] = {"oid": oid, "size": size}
        try:
            # Ask for the same content once. Otherwise clients would read one stream in two threads.
            if not caller.context.store.has(oid) and oid not in (other["oid"] for other in objects):
                threshold = caller.context.multipart_threshold
                verify_url = f"{base}/{repo.web_path}.git/info/lfs/verify"
                described["actions"] = {
                    "upload": _upload_action(base, oid, size, threshold if multipart else math.inf),
                    "verify": {"href": verify_url, "header": {}},
                }
        except ValueError as error:
            described["error"] = {"code": 422, "message": str(error)}
        objects.append(described)
    return JSONResponse({"transfer": "basic", "objects": objects}, media_type=MEDIA_TYPE)


def _upload_action(base: str, oid: str, size: int, threshold: float) -> dict[str, Any]:
    """Describe one PUT, or above the threshold one per part. The "header" carries the addresses of the parts."""
    href = f"{base}/_lfs/{oid}"
    if size <= threshold:
        return {"href": href, "header": {}}
    upload_id = uuid.uuid4().hex
    parts = {str(n): f"{href}/{upload_id}/{n}" for n in range(1, math.ceil(size / threshold) + 1)}
    return {"href": f"{href}/{upload_id}/complete", "header": {"chunk_size": str(int(threshold)), **parts}}


async def upload(request: Request) -> Response:
    store = Caller.of(request).context.store
    try:
        with store.receive(request.path_params["oid"]) as incoming:
            async for chunk in request.stream():
                incoming.write(chunk)
    except ValueError as error:
        raise HubError(400, str(error)) from None
    return Response()


async def upload_part(request: Request) -> Response:
    parameters = request.path_params
    store = Caller.of(request).context.store
    with store.receive_part(parameters["upload_id"], parameters["number"]) as incoming:
        async for chunk in request.stream():
            incoming.write(chunk)
    return Response(headers={"ETag": f'"{incoming.sha256}"'})


async def complete(request: Request) -> Response:
    parameters = request.path_params
    body = await json_body(request)
    numbers = sorted(int(required(part, "partNumber")) for part in required(body, "parts"))
    store = Caller.of(request).context.store
    try:
        await run_in_threadpool(store.join_parts, parameters["oid"], parameters["upload_id"], numbers)
    except ValueError as error:
        raise HubError(400, str(error)) from None
    return JSONResponse({})


async def verify(request: Request) -> Response:
    caller, _ = readable_repo(request)
    body = await json_body(request)
    oid, size = required(body, "oid"), required(body, "size")
    if not caller.context.store.has(oid):
        raise HubError(404, f"There is no LFS object {oid}.")
    stored = caller.context.store.size(oid)
    if stored != size:
        raise HubError(422, f"LFS object {oid} has {stored} bytes, not {size}.")
    return JSONResponse({"message": "ok"})
