"""The quotas of actions: refuse what is beyond them, count and record what was accepted."""

from __future__ import annotations

import math
from collections.abc import Hashable

from mat_vis_hub.local_hub.limiter import Limiter
from mat_vis_hub.local_hub.messages import COMMIT, CREATION, DISCUSSION, PULL_REQUEST, Action, quota_refusal
from mat_vis_hub.local_hub.model.repository import BRANCH, Commit, Repo
from mat_vis_hub.local_hub.recorder import SeenCommit
from mat_vis_hub.local_hub.web.context import HubContext
from mat_vis_hub.local_hub.web.errors import HubError

_KINDS = {COMMIT: "commit", CREATION: "creation", PULL_REQUEST: "pull-request", DISCUSSION: "discussion"}


def require_quota(context: HubContext, repo: Repo, caller: str) -> None:
    """Raise 429 if no other commit may be made to the repository now."""
    _require(context, context.commit_limit, context.commit_key(repo.type, repo.id, caller), COMMIT)


def require_pull_request(context: HubContext, caller: str) -> None:
    """Raise 429 if the caller may not open another pull request now."""
    _require(context, context.pull_request_limit, caller, PULL_REQUEST)


def take_discussion(context: HubContext, caller: str) -> None:
    """Count a discussion. Raises 429 if the caller may not open another one now."""
    _require(context, context.discussion_limit, caller, DISCUSSION)
    context.discussion_limit.spend(caller)


def take_creation(context: HubContext, caller: str) -> None:
    """Count a request to create a repository. Raises 429 if the caller may not make another one now."""
    _require(context, context.creation_limit, caller, CREATION)
    context.creation_limit.spend(caller)


def _require(context: HubContext, limiter: Limiter, key: Hashable, action: Action) -> None:
    standing = limiter.standing(key)
    if standing is None or standing.remaining > 0:
        return
    assert limiter.limit is not None
    message = quota_refusal(action, limiter.limit, limiter.window, standing.reset_in, context.wording)
    headers = {"Retry-After": str(math.ceil(standing.reset_in))} if context.retry_after else {}
    raise HubError(429, message, headers=headers, refused_by=_KINDS[action])


def count_commit(context: HubContext, repo: Repo, ref: str, made: Commit, caller: str) -> None:
    """Count and record a commit that has landed."""
    context.commit_limit.spend(context.commit_key(repo.type, repo.id, caller), at=made.time)
    name = ref.removeprefix(BRANCH)
    context.recorder.add(
        SeenCommit(made.time, repo.type, repo.id, name, made.oid, made.title, tuple(sorted(made.changes)))
    )
