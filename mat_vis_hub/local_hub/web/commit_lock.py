"""One commit per repository at a time: while one is carried out, the Hub refuses others with 409."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mat_vis_hub.local_hub.messages import COMMIT_IN_PROGRESS
from mat_vis_hub.local_hub.model.repository import Repo
from mat_vis_hub.local_hub.web.errors import HubError


class CommitLocks:
    """
    The repositories that are carrying out a commit.

    Args:
        duration (`float`):
            Real seconds that a commit holds its repository. With `0`, commits take no time and never meet.
    """

    def __init__(self, duration: float) -> None:
        self._duration = duration
        self._held: set[str] = set()

    @asynccontextmanager
    async def hold(self, repo: Repo) -> AsyncIterator[None]:
        """Hold `repo`, first for the duration of a commit, then for the block. Raises 409 if it is held already."""
        if repo.uid in self._held:
            raise HubError(409, COMMIT_IN_PROGRESS, refused_by="lock")
        self._held.add(repo.uid)
        try:
            if self._duration:
                await asyncio.sleep(self._duration)
            yield
        finally:
            self._held.discard(repo.uid)
