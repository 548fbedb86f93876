"""The events, and their log lines. The lines are a contract: other people's programs parse them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mat_vis_hub._internal.sanitize import elapsed, one_word


@dataclass(frozen=True)
class ThrottleEvent:
    """
    A request was refused, or with `recover` its answer was lost, and it will be retried.

    The fields of all events hold what the caller and the server said. `line` and [`log_event`] show it without secrets
    and on one line.

    Args:
        source (`str`): Who is writing, for attribution: `ambientcg`, `polyhaven`, ...
        repo_id (`str`): The repository that was refused.
        repo_type (`str`): `"model"`, `"dataset"` or `"space"`.
        revision (`str`): The branch committed to.
        retry (`int`): The retry that follows; the first is 1.
        max_retries (`int`): The retries that the policy allows.
        wait_s (`float`): Seconds until that retry.
        elapsed_s (`float`): Seconds since the call began.
        hint (`str`): Where the wait comes from: `"retry-after"`, `"ratelimit"`, `"body"` or `"backoff"`.
        error (`Exception`): The refusal, as huggingface_hub raised it.
        limiter (`str`, *optional*, defaults to `"unknown"`):
            What refused it: `"commits"` (the quota of commits), `"lock"` (another commit is under way), `"queue"` (the
            git backend is busy), `"api"` or `"resolvers"` (a bucket of requests), `"creation"` (the quota of new
            repositories) or `"unknown"`.
        reason (`int`, *optional*, defaults to `429`):
            The status of the response. `0`, in the line `000`, if there was none that could be read: the connection
            could not be made, broke or timed out, or the answer arrived damaged.
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
    limiter: str = "unknown"
    reason: int = 429

    @property
    def line(self) -> str:
        return (
            f"bake_throttle source={one_word(self.source)} retry={self.retry}/{self.max_retries} "
            f"reason={self.reason:03} wait_s={self.wait_s:.1f} elapsed={elapsed(self.elapsed_s)}"
        )


@dataclass(frozen=True)
class PaceEvent:
    """
    A commit, or any other request, waits before it is sent, because it would be refused.

    Args:
        source, repo_id, repo_type, revision (`str`): As in [`ThrottleEvent`].
        reason (`str`):
            Why it would be refused: `"gate"`, if another commit of this process has been refused; `"budget"`, if the
            window is used up; `"refused"`, if another process that shares the budget has been refused; `"turn"`, if
            another commit to the repository is under way; `"api"`, `"resolvers"` or `"whoami"`, if the Hub has said
            that this bucket of requests is spent.
        wait_s (`float`): Seconds until it is sent.
        elapsed_s (`float`): Seconds since the call began.
        used (`int`, *optional*): Commits counted in the window, if there is a budget.
        limit (`int`, *optional*): Commits allowed per window, if there is a budget.
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
class WaitingEvent:
    """
    The heartbeat of a long wait: a request still waits for its retry. Emitted about every five minutes per process.

    Args:
        source, repo_id, repo_type, revision (`str`): As in [`ThrottleEvent`].
        reason (`str`): Why it waits: the status of the refusal, or the reason of the [`PaceEvent`].
        wait_s (`float`): Seconds that are left.
        elapsed_s (`float`): Seconds since the call began.
    """

    source: str
    repo_id: str
    repo_type: str
    revision: str
    reason: str
    wait_s: float
    elapsed_s: float

    @property
    def line(self) -> str:
        return (
            f"bake_waiting source={one_word(self.source)} repo={one_word(self.repo_id)} "
            f"reason={one_word(self.reason)} wait_s={self.wait_s:.1f} elapsed={elapsed(self.elapsed_s)}"
        )


@dataclass(frozen=True)
class ConflictEvent:
    """
    A transaction's commit was refused with 412, because another commit came first. It will be built again.

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


@dataclass(frozen=True)
class GaveUpEvent:
    """
    A refused request will not be retried. The refusal is raised next.

    Args:
        source, repo_id, repo_type, revision (`str`): As in [`ThrottleEvent`].
        retries (`int`): The retries that were made.
        max_retries (`int`): The retries that the policy allows.
        elapsed_s (`float`): Seconds since the call began.
        waited_s (`float`): Seconds of these that were spent waiting.
        reason (`int`): The status of the last refusal, as in [`ThrottleEvent`].
        error (`Exception`): The last refusal, as huggingface_hub raised it.
        why (`str`): Which limit of the policy forbids another retry, in a sentence.
    """

    source: str
    repo_id: str
    repo_type: str
    revision: str
    retries: int
    max_retries: int
    elapsed_s: float
    waited_s: float
    reason: int
    error: Exception
    why: str

    @property
    def line(self) -> str:
        return (
            f"bake_gave_up source={one_word(self.source)} repo={one_word(self.repo_id)} "
            f"retry={self.retries}/{self.max_retries} reason={self.reason:03} elapsed={elapsed(self.elapsed_s)}"
        )


Event: TypeAlias = ThrottleEvent | PaceEvent | WaitingEvent | ConflictEvent | RecoveredEvent | GaveUpEvent
