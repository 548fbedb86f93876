"""What a running Hub consists of."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from starlette.requests import HTTPConnection

from mat_vis_hub.local_hub.faults import Faults
from mat_vis_hub.local_hub.limiter import Clock, Limiter
from mat_vis_hub.local_hub.model.archive import Archive
from mat_vis_hub.local_hub.model.lfs import LfsStore
from mat_vis_hub.local_hub.model.registry import Registry
from mat_vis_hub.local_hub.recorder import Recorder
from mat_vis_hub.local_hub.settings import Settings
from mat_vis_hub.local_hub.web.access import Access
from mat_vis_hub.local_hub.web.commit_lock import CommitLocks


@dataclass(frozen=True)
class HubContext:
    """One start of a Hub: its repositories, its limits, and what it records."""

    repos: Registry
    store: LfsStore
    commit_limit: Limiter
    buckets: dict[str, Limiter]
    commit_locks: CommitLocks
    access: Access
    clock: Clock
    multipart_threshold: int
    faults: Faults = field(default_factory=Faults)
    recorder: Recorder = field(default_factory=Recorder)

    @classmethod
    def create(cls, settings: Settings) -> HubContext:
        folder = None if settings.path is None else Path(settings.path)
        return cls(
            repos=Registry(Archive(folder / "repos") if folder else None),
            store=LfsStore(folder / "lfs" if folder else None),
            commit_limit=Limiter(settings.limit, settings.window, settings.model, settings.clock),
            buckets={
                "api": Limiter(settings.api_limit, settings.api_window, "fixed", settings.clock),
                "resolvers": Limiter(settings.resolvers_limit, settings.api_window, "fixed", settings.clock),
            },
            commit_locks=CommitLocks(settings.commit_duration),
            access=Access(settings.token, settings.owners),
            clock=settings.clock,
            multipart_threshold=settings.multipart_threshold,
        )

    @classmethod
    def of(cls, request: HTTPConnection) -> HubContext:
        return cast(HubContext, request.app.state.hub)
