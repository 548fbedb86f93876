"""What callers can catch, and what they can ask of an exception."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # at run time this module imports nothing of the package, so that all of it can raise these
    from mat_vis_hub._hub.repository import Repository
    from mat_vis_hub.retry_after import Refusal


class WaitCancelled(Exception):
    """A wait was called off before its end: by [`ThrottledHfApi.cancel_waits`], or because the program is ending."""


class BudgetError(RuntimeError):
    """A budget cannot be used, for one repository or at all. The message says which one, why, and what to do."""

    affects_all = False  # whether its server or file is out of reach, so that it cannot be used for any repository


class GaveUp(NamedTuple):
    """
    What was tried before a refusal was raised. [`gave_up`] reads it from the exception.

    Args:
        calls (`int`): How often the request was sent.
        elapsed_s (`float`): Seconds since the call began.
        waited_s (`float`): Seconds of them spent waiting.
        retry_in_s (`float`): Seconds from then until another try could succeed, as far as the refusal told.
        reason (`str`): Why it was not tried again.
    """

    calls: int
    elapsed_s: float
    waited_s: float
    retry_in_s: float
    reason: str


def gave_up(error: BaseException | None) -> GaveUp | None:
    """
    What was tried before `error` was raised.

    Args:
        error (`BaseException`, *optional*): Any exception. Its chain of `__cause__` is searched as well.

    Returns:
        [`GaveUp`], or `None` if `error` is not a refusal that was retried.

    Example:
    ```python
    >>> from mat_vis_hub import gave_up
    >>> gave_up(OSError("disk full")) is None
    True

    ```
    """
    record = _record(error)
    return None if record is None else record[0]


_RECORD = "_mat_vis_hub_gave_up"


def record_giving_up(error: BaseException, record: GaveUp, repository: Repository | None, until: float) -> None:
    """Remember on `error` what was tried, and until when (on the package's clock) another try is pointless."""
    setattr(error, _RECORD, (record, repository, until))


def is_pointless(error: BaseException | None, repository: Repository, now: float) -> bool:
    """Whether `error`, or what it was raised from or during, gave up on this repository until after `now`."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        record = getattr(error, _RECORD, None)
        if record is not None and record[1] == repository and now < record[2]:
            return True
        error = error.__cause__ or error.__context__
    return False


def _record(error: BaseException | None) -> tuple[GaveUp, Repository | None, float] | None:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        record: tuple[GaveUp, Repository | None, float] | None = getattr(error, _RECORD, None)
        if record is not None:
            return record
        error = error.__cause__
    return None


_REFUSAL = "_mat_vis_hub_refusal"


def treat_as_refusal(error: BaseException, refusal: Refusal) -> None:
    """Have `error` waited out and retried like this refusal, although it is none by itself."""
    setattr(error, _REFUSAL, refusal)


def as_refusal(error: BaseException) -> Refusal | None:
    """The refusal as which `error` is to be treated, if it is none by itself."""
    refusal: Refusal | None = getattr(error, _REFUSAL, None)
    return refusal


def add_note(error: BaseException, note: str) -> None:
    """Add a note, unless it is empty, where Python has them: from 3.11 on."""
    if note and hasattr(error, "add_note"):
        error.add_note(note)
