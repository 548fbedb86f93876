"""Repositories: create, delete, move, describe; their branches, tags and refs."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mat_vis_hub.local_hub.model.errors import RevisionNotFound
from mat_vis_hub.local_hub.model.names import is_valid_ref, is_valid_repo_id
from mat_vis_hub.local_hub.model.patterns import default_gitattributes
from mat_vis_hub.local_hub.model.repository import BRANCH, PULL_REQUEST, REPO_TYPES, TAG, Commit, Repo
from mat_vis_hub.local_hub.model.trees import File
from mat_vis_hub.local_hub.web.caller import Caller
from mat_vis_hub.local_hub.web.context import HubContext
from mat_vis_hub.local_hub.web.errors import HubError, repo_not_found
from mat_vis_hub.local_hub.web.exchange import Exchange
from mat_vis_hub.local_hub.web.quota import take_creation
from mat_vis_hub.local_hub.web.requests import (
    flag,
    json_body,
    number,
    optional,
    readable_repo,
    require_kind,
    required,
    revision,
    writable_repo,
)
from mat_vis_hub.local_hub.web.responses import iso
from mat_vis_hub.local_hub.web.routing import API, KINDS, route


def routes() -> list[Route]:
    return [
        route("POST", "/api/repos/create", "create-repo", create),
        route("DELETE", "/api/repos/delete", "delete-repo", delete),
        route("POST", "/api/repos/move", "move-repo", move),
        *(route("GET", f"/api/{kind}", "list-repos", list_repos) for kind in KINDS),
        route("GET", "/api/{kind}/{name}", "info", no_such_repo),
        route("GET", API, "info", info),
        route("GET", API + "/revision/{revision}", "info", info),
        route("PUT", API + "/settings", "settings", settings),
        route("GET", API + "/auth-check", "auth-check", auth_check),
        route("GET", API + "/auth-check/write", "auth-check", auth_check_write),
        route("GET", API + "/refs", "refs", refs),
        route("POST", API + "/branch/{branch}", "create-branch", create_branch),
        route("DELETE", API + "/branch/{branch}", "delete-branch", delete_branch),
        route("POST", API + "/tag/{revision}", "create-tag", create_tag),
        route("DELETE", API + "/tag/{revision}", "delete-tag", delete_tag),
    ]


def routes_without_namespace() -> list[Route]:
    """
    Routes for ids without a namespace, which only the real Hub's oldest repositories have.

    They come after all others, because a repository may have the name of an endpoint: `you/tree`.
    """
    verbs = {
        "GET": {"revision": "info", "tree": "tree", "commits": "history"},
        "POST": {"preupload": "preupload", "commit": "commit", "paths-info": "paths-info"},
    }
    return [
        *(
            route(method, f"/api/{{kind}}/{{name}}/{verb}/{{rest:path}}", name, no_such_repo)
            for method, names in verbs.items()
            for verb, name in names.items()
        ),
        route("GET", "/{name}/resolve/{rest:path}", "resolve", no_such_repo),
    ]


def _wants_private(body: dict[str, Any]) -> bool | None:
    """Return what older clients send as `private` and newer ones as `visibility`. None if it is neither."""
    visibility = optional(body, "visibility", str)
    if visibility not in (None, "public", "private", "protected"):
        raise HubError(400, f'"visibility" must be one of [public, private, protected], not {visibility}')
    return optional(body, "private", bool) if visibility is None else visibility != "public"


async def create(request: Request) -> Response:
    caller = Caller.of(request)
    body = await json_body(request)
    repo_type, namespace = _type_and_namespace(caller, body)
    repo_id = f"{namespace}/{required(body, 'name', str)}"
    _require_valid(repo_type, repo_id)
    user = caller.require_write(
        namespace, f'You don\'t have the rights to create a {repo_type} under the namespace "{namespace}"'
    )
    private = _wants_private(body) or False
    if private and caller.anonymous:
        raise HubError(401, "Invalid username or password.")
    take_creation(caller.context, Exchange.of(request.scope).caller)
    present = caller.context.repos.get(repo_type, repo_id)
    if present:
        url = f"{request.base_url}{present.web_path}"
        message = f"You already created this {repo_type} repo: {repo_id}"
        raise HubError(409, message, body={"url": url, "name": repo_id, "id": repo_id})
    repo = Repo(repo_type, repo_id, caller.context.clock(), private=private, sdk=optional(body, "sdk", str))
    caller.context.repos.add(repo)
    _initial_commit(caller.context, repo, user)
    return JSONResponse({"url": f"{request.base_url}{repo.web_path}", "name": repo_id, "id": repo_id})


def _type_and_namespace(caller: Caller, body: dict[str, Any]) -> tuple[str, str]:
    return optional(body, "type", str) or "model", optional(body, "organization", str) or caller.context.access.user


def _require_valid(repo_type: str, repo_id: str) -> None:
    if repo_type not in REPO_TYPES or not is_valid_repo_id(repo_id):
        raise HubError(400, f"Invalid repo type or name: {repo_type} {repo_id}")


def _initial_commit(context: HubContext, repo: Repo, user: str) -> None:
    """Commit the `.gitattributes` that every repository starts with. The quota does not count this commit."""
    content = default_gitattributes(repo.type).encode()
    file = File.regular(content)
    context.store.put(file.sha256, [content])
    repo.commit(BRANCH + "main", {".gitattributes": file}, title="initial commit", author=user, time=context.clock())


def _named_repo(caller: Caller, repo_type: str, repo_id: str, action: str) -> Repo:
    repo = caller.repo(repo_type, repo_id)
    caller.require_write(repo.namespace, f"You don't have the rights to {action} the {repo_type} {repo_id}")
    return repo


async def delete(request: Request) -> Response:
    caller = Caller.of(request)
    body = await json_body(request)
    repo_type, namespace = _type_and_namespace(caller, body)
    repo_id = f"{namespace}/{required(body, 'name', str)}"
    caller.context.repos.remove(_named_repo(caller, repo_type, repo_id, "delete"))
    return JSONResponse({})


async def move(request: Request) -> Response:
    caller = Caller.of(request)
    body = await json_body(request)
    repo_type, _ = _type_and_namespace(caller, body)
    repo = _named_repo(caller, repo_type, required(body, "fromRepo", str), "move")
    target = required(body, "toRepo", str)
    _require_valid(repo.type, target)
    caller.require_write(target.partition("/")[0], f"You don't have the rights to move a repository to {target}")
    if caller.context.repos.get(repo.type, target) not in (None, repo):
        raise HubError(409, f"A {repo.type} repository called {target} already exists")
    caller.context.repos.move(repo, target)
    return JSONResponse({})


async def list_repos(request: Request) -> Response:
    caller = Caller.of(request)
    author, search = request.query_params.get("author"), request.query_params.get("search", "")
    listed = []
    for repo in caller.context.repos.all(KINDS[request.scope["path"].rpartition("/")[2]]):
        hidden = repo.private and caller.anonymous
        if not hidden and author in (None, repo.namespace) and search.lower() in repo.id.lower():
            listed.append(_description(repo, repo.head(BRANCH + "main")))
    return JSONResponse(listed[: number(request.query_params.get("limit", ""), len(listed))])


async def no_such_repo(request: Request) -> Response:
    """The answer for ids without a namespace."""
    require_kind(request)
    raise repo_not_found(anonymous=Caller.of(request).anonymous)


async def info(request: Request) -> Response:
    _, repo = readable_repo(request)
    commit = repo.resolve(revision(request))
    described = _description(repo, commit)
    blobs = flag(request, "blobs")
    described["siblings"] = [
        _sibling(path, entry, blobs=blobs) for path, entry in commit.tree.walk() if isinstance(entry, File)
    ]
    expand = request.query_params.getlist("expand") + request.query_params.getlist("expand[]")
    if expand:
        described = {name: value for name, value in described.items() if name in ("_id", "id", *expand)}
    return JSONResponse(described)


def _description(repo: Repo, commit: Commit) -> dict[str, Any]:
    described = {
        "_id": repo.uid[:24],
        "id": repo.id,
        "author": repo.namespace,
        "sha": commit.oid,
        "lastModified": iso(commit.time),
        "createdAt": iso(repo.time),
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
    }
    if repo.type == "model":
        described["modelId"] = repo.id
    if repo.type == "space":
        described["sdk"] = repo.sdk
    return described


def _sibling(path: str, file: File, *, blobs: bool) -> dict[str, Any]:
    sibling: dict[str, Any] = {"rfilename": path}
    if blobs:
        sibling |= {"size": file.size, "blobId": file.oid}
        if file.lfs:
            sibling["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
    return sibling


async def settings(request: Request) -> Response:
    _, repo, _ = writable_repo(request)
    body = await json_body(request)
    private = _wants_private(body)
    repo.private = repo.private if private is None else private
    gated = body.get("gated", repo.gated)
    if gated is not False and gated not in ("auto", "manual"):
        raise HubError(400, '"gated" must be one of [auto, manual, false]')
    repo.gated = gated
    repo.save()
    return JSONResponse({"private": repo.private, "gated": repo.gated})


async def auth_check(request: Request) -> Response:
    readable_repo(request)
    return JSONResponse({})


async def auth_check_write(request: Request) -> Response:
    writable_repo(request)
    return JSONResponse({})


async def refs(request: Request) -> Response:
    _, repo = readable_repo(request)

    def listed(prefix: str) -> list[dict[str, str]]:
        return [
            {"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": oid}
            for ref, oid in repo.refs.items()
            if ref.startswith(prefix)
        ]

    body: dict[str, Any] = {"branches": listed(BRANCH), "converts": [], "tags": listed(TAG)}
    if flag(request, "include_prs") or flag(request, "include_pull_requests"):
        body["pullRequests"] = [{**item, "name": item["ref"]} for item in listed(PULL_REQUEST)]
    return JSONResponse(body)


async def create_branch(request: Request) -> Response:
    _, repo, _ = writable_repo(request)
    body = await json_body(request)
    ref = _new_ref(repo, BRANCH, unquote(request.path_params["branch"]))
    start = repo.resolve(optional(body, "startingPoint", str) or "main")
    if ref in repo.refs:
        raise HubError(409, f"Reference {ref} already exists")
    if optional(body, "emptyBranch", bool):
        raise HubError(501, "This local Hub does not create empty branches.")
    repo.set_ref(ref, start.oid)
    return JSONResponse({})


async def delete_branch(request: Request) -> Response:
    _, repo, _ = writable_repo(request)
    branch = unquote(request.path_params["branch"])
    if branch == "main":
        raise HubError(403, "Cannot delete refs/heads/main")
    return _delete_ref(repo, BRANCH, branch)


async def create_tag(request: Request) -> Response:
    _, repo, _ = writable_repo(request)
    body = await json_body(request)
    target = repo.resolve(revision(request))
    ref = _new_ref(repo, TAG, required(body, "tag", str))
    if ref in repo.refs:
        raise HubError(409, f"Tag reference exists already: {ref}")
    repo.set_ref(ref, target.oid)
    return JSONResponse({})


async def delete_tag(request: Request) -> Response:
    _, repo, _ = writable_repo(request)
    return _delete_ref(repo, TAG, revision(request))


def _new_ref(repo: Repo, prefix: str, name: str) -> str:
    new = prefix + name
    if not is_valid_ref(new):
        raise HubError(400, f"Invalid reference name: {name}")
    # Git keeps refs like files: `a` and `a/b` cannot both exist. No 409, which clients take for "exists already".
    rival = next((ref for ref in repo.refs if ref.startswith(new + "/") or new.startswith(ref + "/")), None)
    if rival:
        raise HubError(400, f"Cannot create {new}: {rival} exists")
    return new


def _delete_ref(repo: Repo, prefix: str, name: str) -> Response:
    if prefix + name not in repo.refs:
        raise RevisionNotFound(name)
    repo.delete_ref(prefix + name)
    return JSONResponse({})
