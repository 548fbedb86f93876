"""The loop: come through the gate, call, read the refusal, tell, wait, call again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, TypeVar

from mat_vis_hub import gate
from mat_vis_hub._hub.errors import refused_response
from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._internal import clock, progress
from mat_vis_hub._internal.sanitize import elapsed
from mat_vis_hub.budget.fail_open import FailOpenBudget
from mat_vis_hub.budget.protocol import Reservation
from mat_vis_hub.budget.reservation import ReservedCommit
from mat_vis_hub.hooks import Hooks
from mat_vis_hub.policy import RetryPolicy
from mat_vis_hub.retry_after import Cooldown, read_refusal
from mat_vis_hub.surface import refusals_surface

T = TypeVar("T")

_WORTH_TELLING = 1.0  # seconds; another writer's refusal may move the reopening that we told by as little as jitter


class Target(NamedTuple):
    """Where a commit goes, and who sends it."""

    endpoint: str
    repo_type: str
    repo_id: str
    revision: str
    source: str

    @property
    def names(self) -> dict[str, Any]:
        """What every event says of it."""
        return {
            "source": self.source,
            "repo_id": self.repo_id,
            "repo_type": self.repo_type,
            "revision": self.revision,
        }


class Throttle:
    """
    One commit on its way to `target`, over as many calls as it takes.

    Args:
        target (`Target`): Where it goes.
        policy (`RetryPolicy`): How long to wait, and when to give up.
        hooks (`Hooks`): Whom to tell.
        budget (`FailOpenBudget`, *optional*): Who knows when there is room for a commit.
        commits (`bool`): Whether the call commits, and so goes through the repository's gate with all that do.
    """

    def __init__(
        self,
        target: Target,
        policy: RetryPolicy,
        hooks: Hooks,
        *,
        budget: FailOpenBudget | None = None,
        commits: bool = True,
    ) -> None:
        self._target = target
        self._policy = policy
        self._hooks = hooks
        self._budget = budget if commits else None
        self._gate = gate.current.of(target.endpoint, target.repo_type, target.repo_id) if commits else gate.Gate()
        self._began = clock.monotonic()
        self._waited = 0.0
        self._retry = 0
        self._told_until = self._began  # the operator knows that we wait until then

    def run(self, call: Callable[[], T], *, before_retry: Callable[[], None]) -> T:
        """
        Call until the answer is not a refusal.

        Args:
            call (`Callable`): Sends the commit.
            before_retry (`Callable`): Called before each call but the first: undoes what a failed one left behind.

        Returns:
            What `call` returns.

        Raises:
            The last refusal, with a note, once the policy gives up. Any other exception at once, as it is.
        """
        repository = Repository(self._target.endpoint, self._target.repo_type, self._target.repo_id)
        if self._budget is not None:
            self._budget.saw(repository, self._target.revision)
        while True:
            with (
                ReservedCommit(self._budget, repository, self._wait_for_slot) as claim,
                self._gate.permit(self._wait_for_gate) as passage,
            ):
                try:
                    with refusals_surface():
                        result = call()
                except Exception as error:
                    response = refused_response(error)
                    if response is None:
                        raise
                    refusal = read_refusal(response, now=clock.wall())
                    wait, hint = self._policy.wait(refusal, self._retry + 1)
                    claim.refused(Cooldown(wait, refusal.limit, refusal.window))
                    reopens_at = passage.refused(wait, limit=refusal.limit, window=refusal.window)
                    refused = error
                else:
                    passage.succeeded()
                    return result
            self._tell_or_give_up(refused, reopens_at, hint)
            before_retry()

    def _tell_or_give_up(self, refused: Exception, reopens_at: float, hint: str) -> None:
        wait = max(0.0, reopens_at - clock.monotonic())
        if self._retry >= self._policy.max_retries:
            self._give_up(refused, f"max_retries={self._policy.max_retries} allows no further try")
        if self._waited + wait > self._policy.max_total_wait:
            limit = f"max_total_wait={self._policy.max_total_wait:g}"
            self._give_up(refused, f"the next try would be {wait:.0f} s from then, which {limit} seconds do not allow")
        from mat_vis_hub import events  # with the first refusal: most commits have nothing to tell

        self._retry += 1
        self._told_until = reopens_at
        self._hooks.emit(
            events.ThrottleEvent(
                **self._target.names,
                retry=self._retry,
                max_retries=self._policy.max_retries,
                wait_s=wait,
                elapsed_s=clock.monotonic() - self._began,
                hint=hint,
                error=refused,
            )
        )

    def _give_up(self, refused: Exception, why: str) -> NoReturn:
        """Raise the refusal itself: whoever catches huggingface_hub's exceptions finds what they expect."""
        calls = "1 call" if self._retry == 0 else f"{self._retry + 1} calls"
        if hasattr(refused, "add_note"):  # Python 3.11+
            refused.add_note(
                f"mat_vis_hub gave up on the {self._target.repo_type} repository {self._target.repo_id} after {calls}"
                f" in {elapsed(clock.monotonic() - self._began)}: {why}. Send the commit again later,"
                " put more files into each, or allow more with ThrottledHfApi(retry=RetryPolicy(...))."
            )
        raise refused

    def _wait_for_gate(self, reopens_at: float) -> bool:
        told = reopens_at <= self._told_until + _WORTH_TELLING
        return self._wait(reopens_at, "429" if told else "gate", "the Hub refuses commits for now (429)")

    def _wait_for_slot(self, slot: Reservation) -> bool:
        why = "the Hub refuses commits for now (429)"
        if slot.reason == "budget":
            why = f"{slot.used} of {slot.limit} commits are used"
        return self._wait(clock.monotonic() + slot.wait, slot.reason, why, slot)

    def _wait(self, until: float, reason: str, why: str, slot: Reservation | None = None) -> bool:
        """Wait until then; `False`, without waiting, if the policy does not allow that much."""
        began = clock.monotonic()
        if self._waited + until - began > self._policy.patience:
            return False  # so it is our own refusal that is raised, and not another writer's
        if until > self._told_until + _WORTH_TELLING:
            self._tell_pace(until - began, reason, slot)
            self._told_until = until
        try:
            progress.wait(
                until - began,
                label=f"{self._target.repo_id}: {why}",
                heartbeat=lambda remaining: self._emit_waiting(remaining, until, reason),
            )
        finally:
            self._waited += clock.monotonic() - began
        return True

    def _tell_pace(self, wait: float, reason: str, slot: Reservation | None) -> None:
        from mat_vis_hub import events

        self._hooks.emit(
            events.PaceEvent(
                **self._target.names,
                reason=reason,
                wait_s=wait,
                elapsed_s=clock.monotonic() - self._began,
                used=slot.used if slot else None,
                limit=slot.limit if slot else None,
            )
        )

    def _emit_waiting(self, remaining: float, until: float, reason: str) -> None:
        from mat_vis_hub import events

        elapsed_s = until - remaining - self._began
        self._hooks.emit(
            events.WaitingEvent(**self._target.names, reason=reason, wait_s=remaining, elapsed_s=elapsed_s)
        )

    def tell_recovered(self, oid: str) -> None:
        """Tell that the commit had landed although its response was lost."""
        from mat_vis_hub import events

        self._hooks.emit(events.RecoveredEvent(**self._target.names, oid=oid))
