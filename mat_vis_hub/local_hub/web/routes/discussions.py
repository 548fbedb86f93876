"""Pull requests and plain discussions: open, read, comment, rename, close, merge."""

from __future__ import annotations

import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mat_vis_hub.local_hub.model.repository import BRANCH, Discussion, Repo
from mat_vis_hub.local_hub.web.errors import HubError
from mat_vis_hub.local_hub.web.exchange import Exchange
from mat_vis_hub.local_hub.web.quota import count_commit, require_pull_request, require_quota, take_discussion
from mat_vis_hub.local_hub.web.requests import json_body, number, optional, readable_repo, required, writable_repo
from mat_vis_hub.local_hub.web.responses import iso
from mat_vis_hub.local_hub.web.routing import API, route

ONE = API + "/discussions/{num}"


def routes() -> list[Route]:
    return [
        route("GET", API + "/discussions", "discussions", list_all),
        route("POST", API + "/discussions", "create-discussion", create),
        route("GET", ONE, "discussions", details),
        route("POST", ONE + "/comment", "discuss", comment),
        route("POST", ONE + "/title", "discuss", rename),
        route("POST", ONE + "/status", "discuss", change_status),
        route("POST", ONE + "/merge", "merge", merge),
    ]


def _described(repo: Repo, discussion: Discussion) -> dict[str, Any]:
    return {
        "num": discussion.num,
        "title": discussion.title,
        "author": {"name": discussion.author},
        "createdAt": iso(discussion.time),
        "status": discussion.status,
        "isPullRequest": discussion.base is not None,
        "repo": {"name": repo.id, "type": repo.type},
    }


def _event(kind: str, author: str, time: float, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex[:24],
        "type": kind,
        "createdAt": iso(time),
        "author": {"name": author},
        "data": data,
    }


def _comment_event(author: str, time: float, text: str) -> dict[str, Any]:
    return _event("comment", author, time, {"edited": False, "hidden": False, "latest": {"raw": text}})


def _one(request: Request, repo: Repo) -> Discussion:
    num = request.path_params["num"]
    discussion = repo.discussions.get(number(num, 0))
    if discussion is None:
        raise HubError(404, f"There is no discussion {num} in {repo.id}.")
    return discussion


async def list_all(request: Request) -> Response:
    _, repo = readable_repo(request)
    query = request.query_params
    found = [
        discussion
        for discussion in reversed(repo.discussions.values())
        if query.get("author") in (None, discussion.author)
        and query.get("type", "all") in ("all", "pull_request" if discussion.base else "discussion")
        and query.get("status", "all") in ("all", "open" if _is_open(discussion) else "closed")
    ]
    described = [_described(repo, discussion) for discussion in found]
    return JSONResponse({"count": len(found), "start": 0, "discussions": described})


def _is_open(discussion: Discussion) -> bool:
    return discussion.status in ("open", "draft")


async def create(request: Request) -> Response:
    caller, repo = readable_repo(request)
    user, now = caller.require_user(), caller.context.clock()
    body = await json_body(request)
    is_pull_request = optional(body, "pullRequest", bool) or False
    description, title = optional(body, "description", str) or "", required(body, "title", str)
    counted_as = Exchange.of(request.scope).caller
    if is_pull_request:
        require_pull_request(caller.context, counted_as)
        caller.context.pull_request_limit.spend(counted_as)
    else:
        take_discussion(caller.context, counted_as)
    discussion = repo.discuss(
        title,
        author=user,
        time=now,
        status="draft" if is_pull_request else "open",
        base=BRANCH + "main" if is_pull_request else None,
    )
    discussion.events.append(_comment_event(user, now, description))
    repo.save()
    url = f"{request.base_url}{repo.web_path}/discussions/{discussion.num}"
    return JSONResponse({"num": discussion.num, "url": url, "pullRequest": is_pull_request})


async def details(request: Request) -> Response:
    _, repo = readable_repo(request)
    discussion = _one(request, repo)
    described = {**_described(repo, discussion), "events": discussion.events}
    if discussion.base:
        described["changes"] = {"base": discussion.base, "mergeCommitId": discussion.merge_oid}
        described |= {"filesWithConflicts": [], "diff": ""}
    return JSONResponse(described)


async def comment(request: Request) -> Response:
    caller, repo = readable_repo(request)
    text = required(await json_body(request), "comment", str)
    event = _comment_event(caller.require_user(), caller.context.clock(), text)
    return _added(repo, _one(request, repo), event, "newMessage")


async def rename(request: Request) -> Response:
    caller, repo, user = writable_repo(request)
    title = required(await json_body(request), "title", str)
    discussion = _one(request, repo)
    event = _event("title-change", user, caller.context.clock(), {"from": discussion.title, "to": title})
    discussion.title = title
    return _added(repo, discussion, event, "newTitle")


async def change_status(request: Request) -> Response:
    caller, repo, user = writable_repo(request)
    status = required(await json_body(request), "status", str)
    discussion = _one(request, repo)
    if status not in ("open", "closed") or discussion.status == "merged":
        raise HubError(400, f"A discussion that is {discussion.status} cannot become {status}.")
    discussion.status = status
    event = _event("status-change", user, caller.context.clock(), {"status": status})
    return _added(repo, discussion, event, "newStatus")


async def merge(request: Request) -> Response:
    """Merge a pull request. The merge is a commit: the quota counts it, and refuses it when it is used up."""
    caller, repo, user = writable_repo(request)
    context, counted_as = caller.context, Exchange.of(request.scope).caller
    text = optional(await json_body(request), "comment", str)

    def land(time: float) -> Response:
        caller.repo(repo.type, repo.id)  # it may have been deleted meanwhile
        discussion = _one(request, repo)
        if discussion.base is None or not _is_open(discussion):
            raise HubError(400, f"Only an open pull request can be merged, and {discussion.num} is not one.")
        made = repo.merge(discussion, author=user, time=time)
        count_commit(context, repo, discussion.base, made, counted_as)
        if text:
            discussion.events.append(_comment_event(user, time, text))
        event = _event("status-change", user, time, {"status": "merged"})
        return _added(repo, discussion, event, "newStatus")

    def check() -> None:
        require_quota(context, repo, counted_as)

    return await context.commit_locks.carry_out(request, repo, land, check=check)


def _added(repo: Repo, discussion: Discussion, event: dict[str, Any], name: str) -> Response:
    discussion.events.append(event)
    repo.save()
    return JSONResponse({name: event})
