"""A turn: the right to commit to a repository while no other writer does, for one commit or for a block of code.

It has three parts, taken in this order: a reservation in the budget, so that the quota has room; the permit of the
gate, against the other threads of this process; the lease of a shared budget, against the other processes that use it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from mat_vis_hub import gate
from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._hub.tokens import Token
from mat_vis_hub._internal import clock
from mat_vis_hub._internal.per_process import PerProcess
from mat_vis_hub.gate import Gate, Permit, WiderGate

if TYPE_CHECKING:  # many commits have no budget
    from typing import Protocol

    from mat_vis_hub.budget.fail_open import FailOpenBudget
    from mat_vis_hub.budget.protocol import Lease, Reservation
    from mat_vis_hub.budget.reservation import ReservedCommit
    from mat_vis_hub.retry_after import Refusal
    from mat_vis_hub.throttle import Caller

    class Call(Protocol):
        """The call that wants the turn. It decides how long it waits."""

        token: Token

        def wait_for_reservation(self, reservation: Reservation, asked_at: float) -> bool: ...
        def wait_for_turn(self, its_gate: Gate | WiderGate, granted: threading.Event, seconds: float) -> bool: ...
        def wait_for_reopening(self, until: float) -> bool: ...
        def wait_for_lease(self, acquire: Callable[[], bool]) -> None: ...


class Turn:
    """
    The turn of one commit, or of a block of code that may commit several times.

    Args:
        caller (`Caller`): Who commits. The reservations and the lease are those of its budget.
        repository (`Repository`): Where to.
        is_block (`bool`, *optional*, defaults to `False`):
            Whether it is a block's. A block keeps permit and lease between its commits.
    """

    def __init__(self, caller: Caller, repository: Repository, *, is_block: bool = False) -> None:
        self.caller = caller
        self._repository = repository
        self._budget = caller.budget
        self._is_block = is_block
        self._own_gate = gate.current.value.of(repository)
        self._gate: Gate | WiderGate = self._own_gate
        self._permit = Permit(self._own_gate)
        self._reserved: ReservedCommit | None = None
        self._lease: Lease | None = None
        self._may_have_landed = False  # an answer was lost, so the commit keeps its place in the budget

    def take(self, call: Call, before_sending: Callable[[], object] | None = None) -> None:
        """Wait until a commit may be sent. What is held already is kept."""
        if self.caller.budget is not None:
            self._budget = self.caller.budget.with_token(call.token)
            if (wider := self._budget.wider_quota(self._repository)) is not None:
                self._gate = WiderGate(self._own_gate, gate.current.value.of(wider))
            if self._reserved is None:
                self._reserved = self._reserve(self._budget, call)
        self._permit.acquire(partial(call.wait_for_turn, self._gate))
        self._permit.active_since = None
        while call.wait_for_reopening(self._gate.reopens_at):
            pass
        if before_sending is not None:
            before_sending()  # without the lease, because it may wait for minutes
        if self._budget is not None and self._permit.is_held:  # a commit that does not wait for its turn needs no lease
            self._lease = self._lease or self._budget.lease(self._repository)
            if self._lease is not None:
                call.wait_for_lease(self._lease.acquire)
        self._permit.active_since = time.monotonic()

    def ended(self, error: BaseException | None = None) -> None:
        """The commit has landed, or failed with an error that is no refusal."""
        if not self._is_block:
            self._give_back_lease()
        if error is None:
            self._gate.open()
        self._settle(error)

    def refused(self, refusal: Refusal, wait: float) -> float:
        """The Hub has refused the commit. Returns until when to wait before the next `take`."""
        self._give_back_lease()
        self._may_have_landed |= refusal.lost
        until = clock.monotonic() + wait
        if refusal.concerns_commits:
            until = self._gate.close(wait, refusal.limit, refusal.window)
        reserved = None
        if refusal.concerns_commits or not self._may_have_landed:
            reserved, self._reserved = self._reserved, None
        if reserved is not None:
            from mat_vis_hub.retry_after import Cooldown

            if refusal.concerns_commits:
                reserved.refused(Cooldown(wait, refusal.limit, refusal.window))
            else:
                reserved.cancel()
        if self._is_block:
            self._permit.active_since = time.monotonic()
        else:
            self._permit.active_since = None
            if reserved is not None:
                self._permit.release()  # the budget decides which commit goes next
        return until

    def commit_is_over(self) -> None:
        """The commit is not sent again. Only a block keeps what it holds."""
        if self._may_have_landed:
            self._settle(None)
        if self._is_block:
            self._permit.active_since = time.monotonic()
        else:
            self.give_back()

    def give_back(self) -> None:
        """Let the next writer go. A reservation that was not used costs no slot."""
        try:
            self._give_back_lease()
            if self._reserved is not None:
                self._reserved.cancel()
        finally:
            self._permit.active_since = None
            self._permit.release()

    def _reserve(self, budget: FailOpenBudget, call: Call) -> ReservedCommit:
        from mat_vis_hub.budget.reservation import ReservedCommit

        def wait(reservation: Reservation, asked_at: float) -> bool:
            self._give_back_lease()
            return call.wait_for_reservation(reservation, asked_at)

        return ReservedCommit(budget, self._repository, wait).__enter__()

    def _settle(self, error: BaseException | None) -> None:
        reserved, self._reserved = self._reserved, None
        if reserved is not None:
            reserved.settle(None if self._may_have_landed else error)
        self._may_have_landed = False

    def _give_back_lease(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()


class _Blocks(threading.local):
    """The turns of the blocks that this thread is in."""

    def __init__(self) -> None:
        self.by_repository: dict[Repository, Turn] = {}


_blocks = PerProcess(_Blocks)


def of_block(repository: Repository) -> Turn | None:
    """The turn of a block that this thread is in, if there is one for this repository."""
    return _blocks.value.by_repository.get(repository)


def is_in_block() -> bool:
    """Whether this thread is in any block."""
    return bool(_blocks.value.by_repository)


@contextmanager
def block(caller: Caller, call: Call, repository: Repository) -> Iterator[None]:
    """Hold a turn for the length of a `with` block. Inside another one for the same repository, nothing happens."""
    if of_block(repository) is not None:
        yield
        return
    turn = Turn(caller, repository, is_block=True)
    try:
        turn.take(call)
    except BaseException:
        turn.give_back()
        raise
    _blocks.value.by_repository[repository] = turn
    try:
        yield
    finally:
        if _blocks.value.by_repository.pop(repository, None) is turn:  # a child forked in the block holds nothing
            turn.give_back()
