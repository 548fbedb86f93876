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
from mat_vis_hub.local_hub.web.requests import (
    committable_repo,
    json_body,
    number,
    optional,
    readable_repo,
    required,
    required_objects,
    required_size,
)
from mat_vis_hub.local_hub.web.responses import iso, next_page
from mat_vis_hub.local_hub.web.routing import API, route, web_routes

STORAGE = "/_lfs/{oid}"
MEDIA_TYPE = "application/vnd.git-lfs+json"
LISTING_PAGE = 1000
MOST_PARTS = 10_000  # of a multipart upload, as on S3


def routes() -> list[Route]:
    return [
        *web_routes("POST", ".git/info/lfs/objects/batch", "lfs-batch", batch),
        *web_routes("POST", ".git/info/lfs/verify", "lfs-verify", verify),
        route("GET", API + "/lfs-files", "lfs-files", list_files),
        route("PUT", STORAGE, "lfs-upload", upload),
        route("PUT", STORAGE + "/{upload_id}/{number}", "lfs-upload", upload_part),
        route("POST", STORAGE + "/{upload_id}/complete", "lfs-complete", complete),
    ]


async def batch(request: Request) -> Response:
    body = await json_body(request)
    ref = body["ref"] if isinstance(body.get("ref"), dict) else {}
    caller, repo, _ = committable_repo(request, optional(ref, "name", str))
    if body.get("operation") != "upload":
        raise HubError(501, "This local Hub serves LFS uploads only; download through /resolve/.")
    multipart = "multipart" in (optional(body, "transfers", list) or [])
    base = str(request.base_url).rstrip("/")
    objects: list[dict[str, Any]] = []
    for wanted in required_objects(body, "objects"):
        oid, size = required(wanted, "oid", str), required_size(wanted)
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
    """
    Describe one PUT, or above the threshold one per part. The "header" carries the addresses of the parts.

    Raises `ValueError` for more parts than an upload may have.
    """
    href = f"{base}/_lfs/{oid}"
    if size <= threshold:
        return {"href": href, "header": {}}
    if size > MOST_PARTS * threshold:
        raise ValueError(f"The file is too large: {size} bytes are more than {MOST_PARTS} parts.")
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
    try:
        with store.receive_part(parameters["upload_id"], number(parameters["number"], 0)) as incoming:
            async for chunk in request.stream():
                incoming.write(chunk)
    except ValueError as error:
        raise HubError(400, str(error)) from None
    return Response(headers={"ETag": f'"{incoming.sha256}"'})


async def complete(request: Request) -> Response:
    parameters = request.path_params
    body = await json_body(request)
    numbers = sorted(required(part, "partNumber", int) for part in required_objects(body, "parts"))
    store = Caller.of(request).context.store
    try:
        await run_in_threadpool(store.join_parts, parameters["oid"], parameters["upload_id"], numbers)
    except ValueError as error:
        raise HubError(400, str(error)) from None
    return JSONResponse({})


async def verify(request: Request) -> Response:
    caller, _ = readable_repo(request)
    body = await json_body(request)
    oid, size = required(body, "oid", str), required_size(body)
    store = caller.context.store
    try:
        stored = store.size(oid) if store.has(oid) else None
    except ValueError as error:
        raise HubError(400, str(error)) from None
    if stored is None:
        raise HubError(404, f"There is no LFS object {oid}.")
    if stored != size:
        raise HubError(422, f"LFS object {oid} has {stored} bytes, not {size}.")
    return JSONResponse({"message": "ok"})


async def list_files(request: Request) -> Response:
    """List the LFS files of the whole history, as `HfApi.list_lfs_files` reads them."""
    _, repo = readable_repo(request)
    start = number(request.query_params.get("cursor", ""), 0)
    files = repo.large_files()
    headers = next_page(request, cursor=start + LISTING_PAGE) if len(files) > start + LISTING_PAGE else {}
    described = [
        {
            "fileOid": file.sha256,
            "filename": path,
            "oid": file.sha256,
            "pushedAt": iso(commit.time),
            "ref": ref,
            "size": file.size,
        }
        for path, file, commit, ref in files[start : start + LISTING_PAGE]
    ]
    return JSONResponse(described, headers=headers)
