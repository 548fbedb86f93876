"""The retry loop: take a turn, send, read the refusal, emit it, wait, send again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from mat_vis_hub import buckets, errors, turn
from mat_vis_hub._hub.errors import DiscardedResponse, refused_response, status_of
from mat_vis_hub._hub.repository import LONGEST_COMMIT, Repository
from mat_vis_hub._hub.tokens import Token
from mat_vis_hub._internal import clock, interrupt
from mat_vis_hub._internal.observer import current as current_observer
from mat_vis_hub._internal.sanitize import elapsed
from mat_vis_hub.gate import Gate, WiderGate
from mat_vis_hub.hooks import Hooks
from mat_vis_hub.policy import CONTENTION_RETRIES, LOSS_RETRIES, RetryPolicy
from mat_vis_hub.turn import Turn

if TYPE_CHECKING:  # most commits are not refused, and many have no budget: what these need is loaded by the first one
    from typing import Protocol

    from mat_vis_hub.budget.fail_open import FailOpenBudget
    from mat_vis_hub.budget.protocol import Reservation
    from mat_vis_hub.events import Event
    from mat_vis_hub.retry_after import Refusal

    class Caller(Protocol):
        """The settings that all calls of one `ThrottledHfApi` share."""

        source: str
        retry: RetryPolicy
        hooks: Hooks
        budget: FailOpenBudget | None
        waits: interrupt.Waits


T = TypeVar("T")

_WORTH_EMITTING = 1.0  # seconds; another commit's refusal may move the reopening by as little as jitter
_SAME_MOMENT = 0.01  # seconds; a budget counts in milliseconds
_SHORT_TURN = 5.0  # real seconds; a longer wait for another commit is emitted
_LEASE_POLL = 0.03  # real seconds, on average, between two looks whether another process has given the lease back


class Target(NamedTuple):
    """Where a call goes. `repository` is `None` for a call that is not about one."""

    repository: Repository | None
    revision: str
    source: str

    @property
    def names(self) -> dict[str, Any]:
        """The fields that every event has."""
        return {
            "source": self.source,
            "repo_id": self.repository.repo_id if self.repository else "",
            "repo_type": self.repository.repo_type if self.repository else "",
            "revision": self.revision,
        }

    def __str__(self) -> str:
        return f"the {self.repository.repo_type} repository {self.repository.repo_id}" if self.repository else "the Hub"


_current: ContextVar[Throttle | None] = ContextVar("mat_vis_hub_throttle", default=None)
current = _current.get
"""The call of ours that this thread is in, or `None`."""

_WHY = {
    "commits": "the Hub refuses commits for now (429)",
    "lock": "another commit is under way (409)",
    "requests": "the Hub refuses requests for now (429)",
}
# These are counted apart, each with a bound of its own.
_BOUNDS = {"contention": CONTENTION_RETRIES, "lost answers": LOSS_RETRIES}


class Throttle:
    """
    One call, over as many attempts as it takes. An attempt sends a request; a refusal is an exception.

    Args:
        caller (`Caller`): Whose policy, hooks and budget apply.
        target (`Target`): Where the call goes.
        token (`str` or `bool`, *optional*): The token of the call, which a budget may count or read with.
    """

    def __init__(self, caller: Caller, target: Target, token: Token = None) -> None:
        self.caller = caller
        self.target = target
        self.token = token
        self._scope = caller.waits.scope
        self._began = clock.monotonic()
        self._waited = 0.0
        self._retries = {"refusals": 0, **dict.fromkeys(_BOUNDS, 0)}
        self.unresolved = ""  # a sentence, while it is unknown whether the commit has landed
        self._ready_at = self._began  # the moment that has been waited for, whatever the clock says now
        self._emitted_until = self._began  # an event has said that we wait until then

    @contextmanager
    def as_current(self) -> Iterator[None]:
        """The requests that this thread sends inside of this context belong to this call."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def run(self, attempt: Callable[[], T], before_retry: Callable[[], object]) -> T:
        """
        Call `attempt` until it is not refused. Its requests, as far as this thread sends them, belong to this call.

        Args:
            attempt (`Callable`): May send several requests.
            before_retry (`Callable`): Called before each attempt but the first.

        Returns:
            What `attempt` returns.

        Raises:
            The last refusal, with a note on what was tried, once the policy gives up. Any other exception at once.
        """
        token = _current.set(self)  # not `as_current`, which takes longer than the rest of an unrefused call
        try:
            try:
                return attempt()
            except Exception as error:
                return self.retry(error, attempt, before_retry)
        finally:
            _current.reset(token)

    def retry(self, error: Exception, attempt: Callable[[], T], before_retry: Callable[[], object] | None = None) -> T:
        """As [`Throttle.run`], after a first attempt has raised `error`."""
        while True:
            refusal = _refusal(error)
            if refusal is None:
                raise error
            wait, hint = self._next_wait(refusal)
            self._wait_out(error, refusal, clock.monotonic() + wait, hint)
            if before_retry is not None:
                before_retry()
            try:
                return attempt()
            except Exception as next_error:
                error = next_error

    def commit(
        self, attempt: Callable[[], T], *, can_retry: bool = True, before_sending: Callable[[], object] | None = None
    ) -> T:
        """
        Call `attempt`, which sends a commit, until it is not refused. Each time it takes its turn.

        Args:
            attempt (`Callable`): Sends the commit.
            can_retry (`bool`, *optional*, defaults to `True`): Whether it can be called again.
            before_sending (`Callable`, *optional*): Called before each attempt, when it is its turn.
        """
        repository = self.target.repository
        assert repository is not None  # a commit goes to a repository
        its_turn = turn.of_block(repository) or Turn(self.caller, repository)
        is_first = True
        try:
            while True:
                its_turn.take(self, before_sending)
                try:
                    result = _observed(attempt, is_first=is_first)
                except Exception as error:
                    refusal = _refusal(error)
                    if refusal is None:
                        its_turn.ended(error)
                        raise
                    wait, hint = self._next_wait(refusal)
                    until = its_turn.refused(refusal, wait)
                    refused = error
                except BaseException as error:  # Ctrl-C
                    its_turn.ended(error)
                    raise
                else:
                    its_turn.ended()
                    return result
                if not can_retry:
                    raise refused
                self._wait_out(refused, refusal, until, hint)
                is_first = False
        finally:
            its_turn.commit_is_over()

    def turn(self) -> AbstractContextManager[None]:
        """The context in which this thread holds the turn of the target's repository."""
        repository = self.target.repository
        assert repository is not None
        return turn.block(self.caller, self, repository)

    # ---- waiting ---------------------------------------------------------------------------------------

    def _next_wait(self, refusal: Refusal) -> tuple[float, str]:
        """The seconds to wait, and where they come from."""
        return self.caller.retry.wait(refusal, self._retries[_kind(refusal)] + 1)

    def _wait_out(self, refused: Exception, refusal: Refusal, until: float, hint: str) -> None:
        """Wait until the refusal is over, or raise it."""
        policy = self.caller.retry
        wait = max(0.0, round(until - clock.monotonic(), 3))  # a hint of 30 seconds is no 29.999998
        status = status_of(refused) or 0
        kind = _kind(refusal)
        retries, most, bound = self._retries[kind], policy.max_retries, f"max_retries={policy.max_retries}"
        if kind in _BOUNDS and policy.max_retries:
            most = _BOUNDS[kind]
            bound = f"the bound of {most} for {kind}"
        if retries >= most:
            self.give_up(refused, wait, f"{bound} allows no further try")
        if self._waited + wait > policy.max_total_wait:
            allowed = f"max_total_wait={policy.max_total_wait:g}"
            why = f"the next try would be in {wait:.0f} s, which {allowed} seconds do not allow"
            self.give_up(refused, wait, why)
        from mat_vis_hub import events

        self._emitted_until = until
        self._emit(
            events.ThrottleEvent(
                **self.target.names,
                retry=retries + 1,
                max_retries=most,
                wait_s=wait,
                elapsed_s=self.elapsed_s,
                hint=hint,
                error=refused,
                limiter=refusal.limiter,
                reason=status,
            )
        )
        why = _WHY.get(refusal.limiter, _WHY["requests"])
        if refusal.lost:
            why = f"the Hub's answer was lost ({status:03})"
        try:
            self._sleep(until, wait, f"{status:03}", why)
        except errors.WaitCancelled as cancelled:
            self._record(cancelled, wait, "the wait was called off")
            errors.add_note(cancelled, self.unresolved)
            raise cancelled from refused
        self._retries[kind] += 1

    def give_up(self, refused: Exception, wait: float, why: str, cause: Exception | None = None) -> NoReturn:
        """Raise the refusal itself, so that callers who catch huggingface_hub's exceptions find what they expect."""
        from mat_vis_hub import events

        status = status_of(refused) or 0
        calls = sum(self._retries.values()) + 1
        self._record(refused, wait, why)
        later = "commit again later, put more files into each" if self.target.revision else "request again later"
        advice = self.unresolved or f"Send the {later}, or allow more with ThrottledHfApi(retry=RetryPolicy(...))."
        errors.add_note(
            refused,
            f"mat_vis_hub gave up on {self.target} after {calls} call{'s' if calls > 1 else ''} in"
            f" {elapsed(self.elapsed_s)}: {why}. {advice}",
        )
        self._emit(
            events.GaveUpEvent(
                **self.target.names,
                retries=self._retries["refusals"],
                max_retries=self.caller.retry.max_retries,
                elapsed_s=self.elapsed_s,
                waited_s=self._waited,
                reason=status,
                error=refused,
                why=why,
            )
        )
        raise refused from cause or refused.__cause__

    def _record(self, error: Exception, wait: float, why: str) -> None:
        calls = sum(self._retries.values()) + 1
        why = f"{why}. {self.unresolved}" if self.unresolved else why
        record = errors.GaveUp(calls, self.elapsed_s, self._waited, wait, why)
        errors.record_giving_up(error, record, self.target.repository, clock.monotonic() + wait)

    def wait_for_reopening(self, until: float) -> bool:
        """Wait for a gate that another commit's refusal has closed. `False` if it should not be waited for."""
        if until <= max(self._ready_at, clock.monotonic()):
            return False
        return self._wait(until, "gate", _WHY["commits"])

    def wait_for_bucket(self, spent: buckets.Spent) -> bool:
        """Wait until a bucket of requests is refilled. `False` if it should not be waited for."""
        if spent.until <= max(self._ready_at, clock.monotonic()):
            return False
        return self._wait(spent.until, spent.name, _WHY["requests"])

    def wait_for_reservation(self, reservation: Reservation, asked_at: float) -> bool:
        """Wait for the moment of a reservation. `False` if it should not be waited for."""
        until = clock.monotonic() + reservation.wait
        # The budget decided between `asked_at` and now. A busy machine may have paused this thread in between.
        if asked_at + reservation.wait <= self._ready_at + _SAME_MOMENT:
            return False
        why = _WHY["commits"]
        if reservation.reason == "budget":
            why = f"{reservation.used} of {reservation.limit} commits are used"
        return self._wait(until, reservation.reason, why, reservation)

    def wait_for_turn(self, its_gate: Gate | WiderGate, granted: threading.Event, seconds: float) -> bool:
        """Wait for another commit of this process; returns whether to stop waiting."""
        if self._waited + its_gate.reopens_at - clock.monotonic() > self._patience:
            return True  # as in `_wait`
        if its_gate.reopens_at > self._emitted_until + _WORTH_EMITTING:
            self._emit_pace(its_gate.reopens_at, "gate")
        seconds = min(seconds, max(1.0, self._patience - self.elapsed_s))
        with interrupt.Wait(self._scope, granted) as wait:
            if self._emitted_until <= clock.monotonic():
                if wait.for_event(min(_SHORT_TURN, seconds)):
                    return True
                self._emit_pace(clock.monotonic() + seconds, "turn")
            return wait.for_event(seconds) or self.elapsed_s > self._patience

    def wait_for_lease(self, acquire: Callable[[], bool]) -> None:
        """Wait for a commit of another process, unless that takes too long: the Hub itself orders them then."""
        if acquire():
            return
        began, longest = time.monotonic(), max(1.0, self._patience - self.elapsed_s)
        emitted = self._emitted_until > clock.monotonic()
        with interrupt.Wait(self._scope) as wait:
            while not acquire() and (waited := time.monotonic() - began) < longest:
                if waited >= _SHORT_TURN and not emitted:
                    self._emit_pace(clock.monotonic() + LONGEST_COMMIT, "turn")
                    emitted = True
                wait.for_event(_LEASE_POLL * random.uniform(0.5, 1.5))

    @property
    def _patience(self) -> float:
        """Seconds that this call may wait in all: none for a policy that never retries."""
        policy = self.caller.retry
        return policy.max_total_wait if policy.max_retries else 0.0

    def _wait(self, until: float, reason: str, why: str, reservation: Reservation | None = None) -> bool:
        wait = max(0.0, until - clock.monotonic())
        if self._waited + wait > self._patience:
            return False  # then the commit is sent at once, and its own refusal is raised
        if until > self._emitted_until + _WORTH_EMITTING:
            self._emit_pace(until, reason, reservation)
        try:
            self._sleep(until, wait, reason, why)
        except errors.WaitCancelled as cancelled:
            self._record(cancelled, wait, "the wait was called off")
            raise
        return True

    def _sleep(self, until: float, wait: float, reason: str, why: str) -> None:
        from mat_vis_hub._internal import progress

        def heartbeat(remaining: float) -> None:
            from mat_vis_hub import events

            self._emit(
                events.WaitingEvent(**self.target.names, reason=reason, wait_s=remaining, elapsed_s=self.elapsed_s)
            )

        began = clock.monotonic()
        try:
            label = f"{self.target.repository.repo_id if self.target.repository else 'Hub'}: {why}, next try in"
            progress.wait(wait, label=label, heartbeat=heartbeat, owner=self._scope)
        except BaseException:
            self._waited += clock.monotonic() - began
            raise
        self._waited += wait
        self._ready_at = until

    # ---- events ----------------------------------------------------------------------------------------

    @property
    def elapsed_s(self) -> float:
        """Seconds since this call began."""
        return clock.monotonic() - self._began

    def _emit(self, event: Event) -> None:
        token = _current.set(None)  # requests of a hook are not part of this call
        try:
            self.caller.hooks.emit(event)
        finally:
            _current.reset(token)

    def _emit_pace(self, until: float, reason: str, reservation: Reservation | None = None) -> None:
        from mat_vis_hub import events

        self._emitted_until = until
        self._emit(
            events.PaceEvent(
                **self.target.names,
                reason=reason,
                wait_s=max(0.0, until - clock.monotonic()),
                elapsed_s=self.elapsed_s,
                used=reservation.used if reservation else None,
                limit=reservation.limit if reservation else None,
            )
        )

    def emit_recovered(self, oid: str) -> None:
        """Report that the commit had landed although its response was lost."""
        from mat_vis_hub import events

        self._emit(events.RecoveredEvent(**self.target.names, oid=oid))


def _kind(refusal: Refusal) -> str:
    return "lost answers" if refusal.lost else "contention" if refusal.is_contention else "refusals"


def _observed(attempt: Callable[[], T], *, is_first: bool) -> T:
    observer = current_observer()
    if observer is None:
        return attempt()
    if not is_first and observer.before_resend is not None:
        observer.before_resend()
    began = clock.monotonic()
    try:
        return attempt()
    finally:
        observer.seconds = clock.monotonic() - began


def _refusal(error: Exception) -> Refusal | None:
    """What a refusal says; `None` if `error` is something else, or has been retried as often as it may be."""
    if errors.gave_up(error) is not None:
        return None
    if (treated := errors.as_refusal(error)) is not None:
        return treated
    response = refused_response(error)
    if response is None:
        return None
    from mat_vis_hub.retry_after import read_refusal

    if isinstance(response, DiscardedResponse) and (known := buckets.current.value.header(response.url, "api")):
        response = response._replace(headers={"RateLimit": known})
    return read_refusal(response, now=clock.wall())
