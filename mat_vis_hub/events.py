"""What an operator is told: the events and their log lines (a contract: other people's scrapers read them)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mat_vis_hub._internal.sanitize import elapsed, one_word


@dataclass(frozen=True)
class ThrottleEvent:
    """
    A commit was refused with 429 and will be tried again.

    Args:
        source (`str`): Who is writing, for attribution: `ambientcg`, `polyhaven`, ...
        repo_id (`str`): The repository that was refused.
        repo_type (`str`): `"model"`, `"dataset"` or `"space"`.
        revision (`str`): The branch committed to.
        retry (`int`): The retry that follows; the first is 1.
        max_retries (`int`): The retries that the policy allows.
        wait_s (`float`): Seconds until that retry.
        elapsed_s (`float`): Seconds since this `create_commit` began.
        hint (`str`): What the wait rests on: `"retry-after"`, `"ratelimit"`, `"body"` or `"backoff"`.
        error (`Exception`): The refusal, as huggingface_hub raised it.
    """

    source: str
    repo_id: str
    repo_type: str
    revision: str
    retry: int
    max_retries: int
    wait_s: float
    elapsed_s: float
    hint: str
    error: Exception

    @property
    def line(self) -> str:
        return (
            f"bake_throttle source={one_word(self.source)} retry={self.retry}/{self.max_retries} reason=429 "
            f"wait_s={self.wait_s:.1f} elapsed={elapsed(self.elapsed_s)}"
        )


@dataclass(frozen=True)
class PaceEvent:
    """
    A commit waits before it is sent at all, because it is known that it would be refused.

    Args:
        source, repo_id, repo_type, revision (`str`): As in [`ThrottleEvent`].
        reason (`str`):
            Who knows: `"gate"`, where another writer of this process has just been refused; `"budget"`, where the
            window is spent; `"refused"`, where another sharer of the budget has been refused.
        wait_s (`float`): Seconds until it is sent.
        elapsed_s (`float`): Seconds since this `create_commit` began.
        used (`int`, *optional*): Commits counted in the window, where there is a budget.
        limit (`int`, *optional*): Commits that the window takes, where there is a budget.
    """

    source: str
    repo_id: str
    repo_type: str
    revision: str
    reason: str
    wait_s: float
    elapsed_s: float
    used: int | None = None
    limit: int | None = None

    @property
    def line(self) -> str:
        used = f"used={self.used}/{self.limit} " if self.limit is not None else ""
        return (
            f"bake_pace source={one_word(self.source)} repo={one_word(self.repo_id)} "
            f"reason={one_word(self.reason)} {used}wait_s={self.wait_s:.1f} elapsed={elapsed(self.elapsed_s)}"
        )


@dataclass(frozen=True)
class ConflictEvent:
    """
    A transaction's commit was refused with 412, because another one came first; it will be built afresh.

    Args:
        source, repo_id, repo_type, revision (`str`): As in [`ThrottleEvent`].
        retry (`int`): The retry that follows; the first is 1.
        max_retries (`int`): The retries that the transaction allows.
        wait_s (`float`): Seconds until that retry.
        elapsed_s (`float`): Seconds since this transaction began.
        error (`Exception`): The refusal, as huggingface_hub raised it.
    """

    source: str
    repo_id: str
    repo_type: str
    revision: str
    retry: int
    max_retries: int
    wait_s: float
    elapsed_s: float
    error: Exception

    @property
    def line(self) -> str:
        return (
            f"bake_conflict source={one_word(self.source)} repo={one_word(self.repo_id)} "
            f"retry={self.retry}/{self.max_retries} reason=412 elapsed={elapsed(self.elapsed_s)}"
        )


@dataclass(frozen=True)
class RecoveredEvent:
    """
    A commit had landed although its response was lost.

    Args:
        source, repo_id, repo_type, revision (`str`): As in [`ThrottleEvent`].
        oid (`str`): The commit.
    """

    source: str
    repo_id: str
    repo_type: str
    revision: str
    oid: str

    @property
    def line(self) -> str:
        return f"bake_recovered source={one_word(self.source)} repo={one_word(self.repo_id)} oid={one_word(self.oid)}"


Event: TypeAlias = ThrottleEvent | PaceEvent | ConflictEvent | RecoveredEvent
