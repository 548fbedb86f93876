"""The commit quota: refuses commits when it is used up, counts and records those that are accepted."""

from __future__ import annotations

from mat_vis_hub.local_hub.messages import commit_refusal
from mat_vis_hub.local_hub.model.repository import BRANCH, Commit, Repo
from mat_vis_hub.local_hub.recorder import SeenCommit
from mat_vis_hub.local_hub.web.context import HubContext
from mat_vis_hub.local_hub.web.errors import HubError


def require_quota(context: HubContext, repo: Repo) -> None:
    """Raise 429 if the repository may not take another commit now."""
    limiter = context.commit_limit
    standing = limiter.standing((repo.type, repo.id))
    if standing is not None and standing.remaining == 0:
        assert limiter.limit is not None
        message = commit_refusal(limiter.limit, limiter.window, standing.reset_in)
        raise HubError(429, message, refused_by="commit")


def count_commit(context: HubContext, repo: Repo, ref: str, made: Commit) -> None:
    """Count and record an accepted commit. All branches of a repository share its quota."""
    context.commit_limit.spend((repo.type, repo.id))
    name = ref.removeprefix(BRANCH)
    context.recorder.add(
        SeenCommit(made.time, repo.type, repo.id, name, made.oid, made.title, tuple(sorted(made.changes)))
    )
