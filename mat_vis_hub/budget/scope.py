"""Whose quota a budget counts: a repository's, an owner's or a token's (`?scope=`)."""

from __future__ import annotations

import hashlib
import logging

from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._hub.tokens import Token, resolved
from mat_vis_hub._internal import clock
from mat_vis_hub._internal.table import Latest
from mat_vis_hub.budget.protocol import Reservation
from mat_vis_hub.retry_after import Cooldown

SCOPES = ("repo", "owner", "token")

_logger = logging.getLogger("mat_vis_hub")

_OUTSIDE = "Either commits were made without this budget, by another writer or before it began, or the Hub counts"
_EXPLANATIONS = {
    "repo": f"{_OUTSIDE} all repositories of the owner, or all commits of the token, together: then try ?scope=owner or"
    " ?scope=token.",
    "owner": f"{_OUTSIDE} all commits of the token together, in repositories of any owner: then try ?scope=token.",
    "token": f"{_OUTSIDE} all commits to the repository or its owner together, whichever token sends them: then try"
    " ?scope=repo or ?scope=owner.",
    "hub": "Either the history does not show all commits, since some were squashed or deleted, or the Hub counts all"
    " repositories of the owner, or all commits of the token, together. hub:// cannot count those; the other budgets"
    " can, with ?scope=owner or ?scope=token.",
}


def name_of(repository: Repository, scope: str = "repo", token: Token = None) -> str:
    """
    The key of a count, the same for all sharers. It is stored and never shown, so nothing in it is redacted.

    Args:
        repository (`Repository`): Where a commit goes.
        scope (`str`, *optional*): One of `SCOPES`.
        token (`str` or `bool`, *optional*): The token of the commit, of which the key contains a hash.
    """
    endpoint = repository.endpoint.rstrip("/")
    if scope == "token":
        return f"{endpoint}/tokens/{_hash(resolved(token))}"
    owner, slash, _ = repository.repo_id.partition("/")
    if scope == "owner" and slash:
        return f"{endpoint}/owners/{owner.lower()}"  # the names of two owners never differ by case alone
    return f"{endpoint}/{repository.repo_type}s/{repository.repo_id}"


def _hash(token: str) -> str:
    """
    What stands for a token in a place that others can read.

    It must be the same in every process, so there can be no random salt, and a key would be one more secret to share.
    Neither is needed: a token is long and random, so nobody finds it by trying. The prefix keeps the hash from being
    equal to one that somebody else has made of the same token.
    """
    return hashlib.sha256(b"mat_vis_hub budget\0" + token.encode()).hexdigest()[:32]


class Surprises:
    """
    Reports refusals that a budget's count does not explain, once per window for each count.

    Args:
        window (`float`): The budget's window in seconds.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._silent_until: Latest[str, float] = Latest()

    def report(
        self,
        name: str,
        repository: Repository,
        reservation: Reservation | None,
        cooldown: Cooldown,
        *,
        scope: str,
        slack: int = 0,
    ) -> None:
        """
        The Hub has refused a commit. That is a surprise if the budget had room for it and has the right quota.

        Args:
            name (`str`): The key of the count.
            repository (`Repository`), reservation (`Reservation`, *optional*): Of the commit.
            cooldown (`Cooldown`): What the refusal asks for. One that names no quota may have any cause.
            scope (`str`): Whose quota is counted, or `"hub"` for what the history shows.
            slack (`int`, *optional*): By how many commits the count may be wrong.
        """
        if reservation is None or reservation.wait > 0 or not (cooldown.limit or cooldown.window):
            return
        limit, now = cooldown.limit or reservation.limit, clock.monotonic()
        if reservation.used >= limit - slack or (cooldown.window or 0) > self._window:
            return
        if now < self._silent_until.get(name, now):
            return
        self._silent_until[name] = now + self._window
        _logger.warning(
            "The Hub refused a commit to %s although its budget counts %d of %d commits. %s",
            *(repository.repo_id, reservation.used, limit, _EXPLANATIONS[scope]),
        )
