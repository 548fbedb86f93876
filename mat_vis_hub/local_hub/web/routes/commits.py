"""Commits: preupload, commit, super-squash."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mat_vis_hub.local_hub.messages import MISSING_LFS_FILE
from mat_vis_hub.local_hub.model.card import check_card
from mat_vis_hub.local_hub.model.lfs import LfsStore
from mat_vis_hub.local_hub.model.names import is_allowed_path, is_path
from mat_vis_hub.local_hub.model.patterns import is_ignored, is_lfs
from mat_vis_hub.local_hub.model.repository import BRANCH, TAG, Commit, Repo
from mat_vis_hub.local_hub.model.trees import Changes, File, Tree
from mat_vis_hub.local_hub.web.caller import Caller
from mat_vis_hub.local_hub.web.errors import HubError, entry_not_found
from mat_vis_hub.local_hub.web.exchange import Exchange
from mat_vis_hub.local_hub.web.quota import count_commit, require_pull_request, require_quota
from mat_vis_hub.local_hub.web.requests import (
    committable_repo,
    flag,
    json_body,
    optional,
    parse_json,
    required,
    required_objects,
    required_size,
    revision,
    writable_repo,
)
from mat_vis_hub.local_hub.web.routing import API, route

LARGEST_REGULAR_FILE = 10 * 1024 * 1024  # bytes; a larger file goes through LFS


def routes() -> list[Route]:
    return [
        route("POST", API + "/preupload/{revision}", "preupload", preupload),
        route("POST", API + "/commit/{revision}", "commit", commit),
        route("POST", API + "/super-squash/{revision}", "super-squash", super_squash),
    ]


# ---- preupload: how to send each file -------------------------------------------------------------------


async def preupload(request: Request) -> Response:
    caller, repo, _ = committable_repo(request, revision(request), opens_pr=flag(request, "create_pr"))
    head = repo.resolve(revision(request))
    body = await json_body(request)
    attributes = _text(caller.context.store, head.tree, ".gitattributes")
    ignore = optional(body, "gitIgnore", str)
    if ignore is None:
        ignore = _text(caller.context.store, head.tree, ".gitignore")
    files = [_instruction(file, head.tree, attributes, ignore) for file in required_objects(body, "files")]
    return JSONResponse({"files": files, "commitOid": head.oid})


def _instruction(file: dict[str, Any], tree: Tree, attributes: str, ignore: str) -> dict[str, Any]:
    path = required(file, "path", str)
    large = is_lfs(attributes, path) or required_size(file) > LARGEST_REGULAR_FILE
    instruction = {
        "path": path,
        "uploadMode": "lfs" if large else "regular",
        "shouldIgnore": is_ignored(ignore, path),
    }
    present = tree.get(path)
    if isinstance(present, File):
        instruction["oid"] = present.etag
    return instruction


def _text(store: LfsStore, tree: Tree, path: str) -> str:
    file = tree.get(path)
    if not isinstance(file, File):
        return ""
    with store.open(file.sha256) as stream:
        return stream.read().decode("utf-8", "replace")


# ---- commit ----------------------------------------------------------------------------------------------


@dataclass
class Payload:
    """A commit as it was sent: a header, then operations."""

    summary: str
    description: str = ""
    parent: str | None = None
    operations: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


async def commit(request: Request) -> Response:
    opens_pr = flag(request, "create_pr")
    caller, repo, user = committable_repo(request, revision(request), opens_pr=opens_pr)
    payload = await run_in_threadpool(_parsed, caller.context.store, await request.body())
    context, counted_as = caller.context, Exchange.of(request.scope).caller

    def check() -> None:
        require_quota(context, repo, counted_as)
        if opens_pr:
            require_pull_request(context, counted_as)

    def land(time: float) -> dict[str, Any]:
        # Nothing is awaited inside, so a commit is carried out as a whole.
        body, ref, made = _carry_out(request, caller, repo, payload, user, time, opens_pr=opens_pr)
        count_commit(context, repo, ref, made, counted_as)
        if opens_pr:
            context.pull_request_limit.spend(counted_as, at=time)
        return body

    operations = len(payload.operations)
    return JSONResponse(await context.commit_locks.carry_out(request, repo, land, operations=operations, check=check))


def _carry_out(
    request: Request, caller: Caller, repo: Repo, payload: Payload, user: str, time: float, *, opens_pr: bool
) -> tuple[dict[str, Any], str, Commit]:
    """Make the commit. Returns the answer's body, the ref that it moved, and the commit."""
    caller.repo(repo.type, repo.id)  # it may have been deleted meanwhile
    ref = repo.writable_ref(revision(request))
    head = repo.head(ref)
    lost_race = payload.parent is None and caller.context.faults.take_race()
    if lost_race or (payload.parent and not head.oid.startswith(payload.parent)):
        raise HubError(412, caller.context.conflict)
    changes = _changes(caller.context.store, head.tree, payload)
    body: dict[str, Any] = {"success": True, "hookOutput": ""}
    if opens_pr:
        pull_request = repo.discuss(payload.summary, author=user, time=time, status="open", base=ref)
        ref = pull_request.ref
        body["pullRequestUrl"] = f"{request.base_url}{repo.web_path}/discussions/{pull_request.num}"
    made = repo.commit(ref, changes, title=payload.summary, description=payload.description, author=user, time=time)
    body |= {"commitOid": made.oid, "commitUrl": f"{request.base_url}{repo.web_path}/commit/{made.oid}"}
    return body, ref, made


def _parsed(store: LfsStore, body: bytes) -> Payload:
    """Parse the newline-delimited JSON of a commit. The content of regular files goes into the store."""
    payload = None
    for number, line in enumerate(body.splitlines(), start=1):
        try:
            item = parse_json(line)
            key, value = item["key"], dict(item["value"])
            if key == "file":
                value["file"] = _stored(store, value)
        except (ValueError, TypeError, KeyError) as error:
            raise HubError(400, f"Line {number} of the commit is malformed: {error!r}") from None
        if payload is not None:
            payload.operations.append((key, value))
        elif key == "header":
            summary, description = required(value, "summary", str), optional(value, "description", str)
            payload = Payload(summary, description or "", optional(value, "parentCommit", str))
        else:
            raise HubError(400, "A commit starts with its header.")
    if payload is None:
        raise HubError(400, "A commit needs a header.")
    if not payload.summary:
        raise HubError(400, '"summary" is not allowed to be empty')
    return payload


def _stored(store: LfsStore, value: dict[str, Any]) -> File:
    text = required(value, "content", str)
    content = base64.b64decode(text, validate=True) if value.get("encoding") == "base64" else text.encode()
    if value.get("path") == "README.md":
        errors, _ = check_card(content.decode("utf-8", "replace"))
        if errors:
            raise HubError(400, "\n".join(errors))
    file = File.regular(content)
    store.put(file.sha256, [content])
    return file


def _changes(store: LfsStore, tree: Tree, payload: Payload) -> Changes:
    """Return what the operations, applied in order, change in `tree`."""
    changes: Changes = {}
    for key, value in payload.operations:
        path = _checked_path(value)
        if key == "file":
            changes[path] = value["file"]
        elif key == "lfsFile":
            changes[path] = _large_file(store, path, value)
        elif key in ("deletedFile", "deletedFolder"):
            # `deletedFile` also deletes a folder, `deletedFolder` no file.
            entry, below = tree.get(path), [other for other in changes if other.startswith(path + "/")]
            present = entry or changes.get(path) if key == "deletedFile" else isinstance(entry, Tree)
            if not present and not below:
                kind = "file" if key == "deletedFile" else "folder"
                raise entry_not_found(f"A {kind} with this name doesn't exist: {path}")
            for other in below:
                del changes[other]
            changes[path] = None
        else:
            raise HubError(400, f"Unknown operation: {key}")
    _require_no_file_as_folder(changes)
    return changes


def _require_no_file_as_folder(changes: Changes) -> None:
    files = {path for path, file in changes.items() if file}
    for path in files:
        names = path.split("/")
        above = next((folder for n in range(1, len(names)) if (folder := "/".join(names[:n])) in files), None)
        if above:
            raise HubError(400, f"{above} cannot be a file and a folder at once: {path}")


def _checked_path(value: dict[str, Any]) -> str:
    path = required(value, "path", str).rstrip("/")
    if not is_path(path) or not is_allowed_path(path):
        raise HubError(422 if is_path(path) else 400, f"Invalid path in the commit: {path!r}")
    return path


def _large_file(store: LfsStore, path: str, value: dict[str, Any]) -> File:
    oid = required(value, "oid", str)
    try:
        present = store.has(oid)
    except ValueError as error:
        raise HubError(400, str(error)) from None
    if not present:
        raise HubError(400, MISSING_LFS_FILE + path)
    return File.large(oid, store.size(oid))


async def super_squash(request: Request) -> Response:
    """
    Replace the history of a branch by one commit.

    Whether the real Hub counts it as a commit is not documented. Here the quota neither counts nor refuses it.
    """
    caller, repo, user = writable_repo(request)
    body = await json_body(request)
    message = optional(body, "message", str) or "Super-squash"

    def land(time: float) -> None:
        caller.repo(repo.type, repo.id)  # it may have been deleted meanwhile
        ref = _squashable_ref(repo, revision(request))
        repo.commit(ref, {}, title=message, author=user, time=time, orphan=True)

    await caller.context.commit_locks.carry_out(request, repo, land)
    return JSONResponse({})


def _squashable_ref(repo: Repo, name: str) -> str:
    is_tag = TAG + name in repo.refs or (name.startswith(TAG) and name in repo.refs)
    if is_tag and BRANCH + name not in repo.refs:
        raise HubError(400, f"Invalid reference for a branch: {name}")
    return repo.writable_ref(name)
