"""Reading a repository: its tree, history and files."""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import parse_qs, unquote

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from mat_vis_hub.local_hub.model.lfs import LfsStore
from mat_vis_hub.local_hub.model.repository import Commit, Repo
from mat_vis_hub.local_hub.model.trees import File, Tree
from mat_vis_hub.local_hub.web.errors import HubError, entry_not_found
from mat_vis_hub.local_hub.web.requests import flag, number, optional, parse_json, readable_repo, required, revision
from mat_vis_hub.local_hub.web.responses import iso, next_page
from mat_vis_hub.local_hub.web.routing import API, route, web_routes

TREE_PAGE, EXPANDED_TREE_PAGE = 1000, 50
HISTORY_PAGE, LARGEST_HISTORY_PAGE = 50, 1000


def routes() -> list[Route]:
    return [
        route("GET", API + "/tree/{revision}", "tree", tree),
        route("GET", API + "/tree/{revision}/{path:path}", "tree", tree),
        route("POST", API + "/paths-info/{revision}", "paths-info", paths_info),
        route("GET", API + "/commits/{revision}", "history", history),
        *web_routes("GET", "/resolve/{rest:path}", "resolve", resolve),
        *web_routes("GET", "/raw/{rest:path}", "resolve", resolve),
    ]


# ---- the tree --------------------------------------------------------------------------------------------


async def tree(request: Request) -> Response:
    caller, repo = readable_repo(request)
    path = unquote(request.path_params.get("path", "")).strip("/")
    commit, offset = _tree_position(repo, request)
    folder = commit.tree.get(path)
    if not isinstance(folder, Tree):
        raise entry_not_found(f'{path} does not exist on "{revision(request)}"', commit=commit.oid)
    expand = flag(request, "expand")
    size = EXPANDED_TREE_PAGE if expand else TREE_PAGE
    size = min(size, number(request.query_params.get("limit", ""), 0) or size)
    walk = folder.walk(path + "/" if path else "", recursive=flag(request, "recursive"))
    page = list(itertools.islice(walk, offset, offset + size + 1))
    headers = {"X-Repo-Commit": commit.oid}
    if len(page) > size:
        headers |= next_page(request, cursor=f"{commit.oid}:{offset + size}")
    listed = _entries(caller.context.store, repo, commit, page[:size], expand=expand)
    return JSONResponse(listed, headers=headers)


def _tree_position(repo: Repo, request: Request) -> tuple[Commit, int]:
    """Return the commit and where its listing continues. All pages are of the commit of the first one."""
    oid, _, offset = request.query_params.get("cursor", "").partition(":")
    if not oid:
        return repo.resolve(revision(request)), 0
    if oid not in repo.commits or number(offset, -1) < 0:
        raise HubError(400, "Invalid cursor")
    return repo.commits[oid], number(offset, 0)


async def paths_info(request: Request) -> Response:
    caller, repo = readable_repo(request)
    commit = repo.resolve(revision(request))
    paths, expand = _wanted_paths(await request.body())
    found = [(path.strip("/"), commit.tree.get(path)) for path in paths]
    present = [(path, entry) for path, entry in found if path and entry is not None]
    return JSONResponse(_entries(caller.context.store, repo, commit, present, expand=expand))


def _wanted_paths(body: bytes) -> tuple[list[str], bool]:
    """Return the paths and the flag `expand` of a form, which clients send, or of a JSON object."""
    try:
        wanted = parse_json(body) if body.lstrip().startswith(b"{") else None
        form = parse_qs(body.decode())
    except ValueError as error:
        raise HubError(400, f"Invalid paths: {error}") from None
    if wanted is not None:
        paths = required(wanted, "paths", list)
        if not all(isinstance(path, str) for path in paths):
            raise HubError(400, '"paths" must be an array of strings')
        return paths, optional(wanted, "expand", bool) or False
    return form.get("paths", []), form.get("expand", [""])[0].lower() in ("1", "true")


def _entries(
    store: LfsStore, repo: Repo, commit: Commit, entries: list[tuple[str, File | Tree]], *, expand: bool
) -> list[dict[str, Any]]:
    last = repo.last_changes(commit, {path for path, _ in entries}) if expand else {}
    return [_entry(store, path, entry, last.get(path)) for path, entry in entries]


def _entry(store: LfsStore, path: str, entry: File | Tree, last: Commit | None) -> dict[str, Any]:
    if isinstance(entry, Tree):
        described: dict[str, Any] = {"type": "directory", "oid": entry.oid, "size": 0, "path": path}
    else:
        described = {"type": "file", "oid": entry.oid, "size": entry.size, "path": path}
        if entry.lfs:
            described["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
            if xet_hash := store.xet.hash_of(entry.sha256):
                described["xetHash"] = xet_hash
    if last:
        described["lastCommit"] = {"id": last.oid, "title": last.title, "date": iso(last.time)}
    return described


# ---- the history -----------------------------------------------------------------------------------------


async def history(request: Request) -> Response:
    _, repo = readable_repo(request)
    commits = list(repo.history(repo.resolve(revision(request))))
    query = request.query_params
    page = number(query.get("p", ""), 0)
    size = min(number(query.get("limit", ""), 0) or HISTORY_PAGE, LARGEST_HISTORY_PAGE)
    formatted = "formatted" in query.getlist("expand[]") + query.getlist("expand")
    headers = {"X-Total-Count": str(len(commits))}
    if len(commits) > (page + 1) * size:
        headers |= next_page(request, p=page + 1)
    described = [_described(commit, formatted) for commit in commits[page * size : (page + 1) * size]]
    return JSONResponse(described, headers=headers)


def _described(commit: Commit, formatted: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "id": commit.oid,
        "title": commit.title,
        "message": commit.description,
        "authors": [{"user": commit.author, "avatar": ""}],
        "date": iso(commit.time),
    }
    if formatted:
        described["formatted"] = {"title": commit.title, "message": commit.description}
    return described


# ---- the files -------------------------------------------------------------------------------------------


async def resolve(request: Request) -> Response:
    caller, repo = readable_repo(request)
    caller.require_files(repo)
    wanted, path = _revision_and_path(request.path_params["rest"])
    commit = repo.resolve(wanted)
    file = commit.tree.get(path)
    if not isinstance(file, File):
        raise entry_not_found(commit=commit.oid)
    headers = {"ETag": f'"{file.etag}"', "X-Repo-Commit": commit.oid, "Cache-Control": "no-store"}
    if file.lfs:
        headers |= {"X-Linked-Size": str(file.size), "X-Linked-Etag": f'"{file.sha256}"'}
        headers |= _xet_headers(request, caller.context.store, repo, commit, file)
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return FileResponse(
        caller.context.store.path(file.sha256),
        headers=headers,
        filename=path.rpartition("/")[2],
        content_disposition_type="inline",
    )


def _xet_headers(request: Request, store: LfsStore, repo: Repo, commit: Commit, file: File) -> dict[str, str]:
    """Return what a client needs to download the file through Xet: its hash, and where to get a token."""
    xet_hash = store.xet.hash_of(file.sha256)
    if xet_hash is None:
        return {}
    token = f"{request.base_url}api/{repo.type}s/{repo.id}/xet-read-token/{commit.oid}"
    return {"X-Xet-Hash": xet_hash, "Link": f'<{token}>; rel="xet-auth"'}


def _revision_and_path(rest: str) -> tuple[str, str]:
    """Split `main/a/b` or `refs%2Fpr%2F1/a/b`. The slashes of a full ref name may also be unquoted."""
    names = rest.split("/")
    length = 3 if names[0] == "refs" else 1
    return unquote("/".join(names[:length])), unquote("/".join(names[length:]))
