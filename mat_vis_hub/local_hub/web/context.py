"""What a running Hub consists of."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from starlette.requests import HTTPConnection

from mat_vis_hub.local_hub.faults import Faults
from mat_vis_hub.local_hub.limiter import Clock, Limiter
from mat_vis_hub.local_hub.messages import CONFLICTS, Wording
from mat_vis_hub.local_hub.model.archive import Archive
from mat_vis_hub.local_hub.model.lfs import LfsStore
from mat_vis_hub.local_hub.model.registry import Registry
from mat_vis_hub.local_hub.recorder import Recorder
from mat_vis_hub.local_hub.settings import Settings
from mat_vis_hub.local_hub.timeline import Agenda
from mat_vis_hub.local_hub.web.access import Access
from mat_vis_hub.local_hub.web.commit_lock import CommitLocks


@dataclass(frozen=True)
class HubContext:
    """One start of a Hub: its repositories, its limits, and what it records."""

    repos: Registry
    store: LfsStore
    quota_scope: str
    commit_limit: Limiter
    creation_limit: Limiter
    pull_request_limit: Limiter
    discussion_limit: Limiter
    buckets: dict[str, Limiter]
    wording: Wording
    retry_after: bool
    conflict: str  # the sentence of a 412
    speed: float
    agenda: Agenda
    commit_locks: CommitLocks
    access: Access
    clock: Clock
    multipart_threshold: int
    faults: Faults = field(default_factory=Faults)
    recorder: Recorder = field(default_factory=Recorder)

    @classmethod
    def create(cls, settings: Settings) -> HubContext:
        folder = None if settings.path is None else Path(settings.path)
        agenda = Agenda()

        def fixed(limit: int | None, window: float = settings.api_window) -> Limiter:
            return Limiter(limit, window, "fixed", settings.clock)

        return cls(
            repos=Registry(Archive(folder / "repos") if folder else None),
            store=LfsStore(folder / "lfs" if folder else None),
            quota_scope=settings.quota_scope,
            commit_limit=Limiter(settings.limit, settings.window, settings.model, settings.clock),
            creation_limit=fixed(settings.creation_limit, settings.creation_window),
            pull_request_limit=fixed(settings.pull_request_limit, settings.window),
            discussion_limit=fixed(settings.discussion_limit, settings.window),
            buckets={
                "api": fixed(settings.api_limit),
                "resolvers": fixed(settings.resolvers_limit),
                "pages": fixed(settings.pages_limit),
                "whoami": fixed(settings.whoami_limit),
            },
            wording=Wording(settings.wording, settings.include_seconds),
            retry_after=settings.retry_after,
            conflict=CONFLICTS[settings.conflict],
            speed=settings.speed,
            agenda=agenda,
            commit_locks=CommitLocks(settings, agenda),
            access=Access(settings.token, settings.owners),
            clock=settings.clock,
            multipart_threshold=settings.multipart_threshold,
        )

    def commit_key(self, repo_type: str, repo_id: str, caller: str) -> Hashable:
        """Return whose commits the quota counts."""
        if self.quota_scope == "token":
            return caller
        return repo_id.partition("/")[0] if self.quota_scope == "owner" else (repo_type, repo_id)

    @classmethod
    def of(cls, request: HTTPConnection) -> HubContext:
        return cast(HubContext, request.app.state.hub)
