"""Exactly once: after a lost answer, find out whether the commit has landed before sending it again.

It works on the finished request, so it covers every way to make a commit. Each commit has a unique mark in its
description. Before it is sent a second time, whatever the reason, the history is searched for the mark.

What is certain. A commit names the branch's newest commit as its parent, read just before sending, if its caller named
none. Of all attempts that name the same parent the Hub accepts one, and once the branch has moved it accepts none of
them. So an attempt that a gateway delivers late, even after the next one, lands only if that one has not.

What is likely. Pull requests have no such parent, and neither has a commit whose parent could not be read, or that lost
three races against writers who commit without pause. After a lost answer, such a commit is sent again only if it has
not shown up for 90 seconds (the Hub cuts a request off after 60). If the first attempt lands later than that, there are
two.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from mat_vis_hub import errors
from mat_vis_hub._hub.commit_request import CommitRequest
from mat_vis_hub._hub.errors import (
    causes,
    is_lost,
    is_of_no_commit,
    refusal_error,
    refused_response,
    status_of,
    was_cut_off,
)
from mat_vis_hub._hub.history import Commit, commits
from mat_vis_hub._hub.routes import Route
from mat_vis_hub._internal import clock
from mat_vis_hub._internal.observer import current as current_observer
from mat_vis_hub.retry_after import Refusal, RetryAfter, parse_retry_after

if TYPE_CHECKING:
    from mat_vis_hub.throttle import Throttle

T = TypeVar("T")

_HISTORY = 500  # commits to search, if the one from which on they are ours is not known
_PULL_REQUESTS = 50  # pull requests to search, and commits in each
_SETTLED = 90.0  # seconds after which an attempt without a parent counts as not landed
_RACES = 3  # races to lose before a commit goes without a parent
_FAILED_READS = 5  # failures to read the parent before a commit goes without
_CONFLICT = 412
_LOST = (500, 502, 503, 504)


class Recovery:
    """
    One commit that is sent as often as it takes to know that it landed once. Called for each attempt.

    Args:
        call (`Throttle`): The call that it belongs to, which waits between the attempts.
        commit (`CommitRequest`): What is sent.
        send (`Callable`): Sends a request once.
    """

    def __init__(self, call: Throttle, commit: CommitRequest, send: Callable[[Any], Any]) -> None:
        self._call = call
        self._commit = commit
        self._send = send
        self._api = commit.api()
        self._mark = f"Mat-Vis-Hub-Commit: {uuid.uuid4().hex}"
        self._is_sent = False
        self._races = 0
        self._failed_reads = 0
        self._head: str | None = None  # the branch's newest commit when it was last read
        # Our commit is above this commit of the branch. It is the number of a discussion for a pull request.
        self._base: str | int | None = None if commit.opens_pull_request else commit.parent
        self._lost: Exception | None = None  # the latest loss
        self._open: set[str | None] = set()  # the parents of lost attempts that may still land
        self._settled_at = clock.monotonic()  # until then, one of them without a parent is not sent again

    @classmethod
    def of(cls, call: Throttle, request: Any, route: Route, send: Callable[[Any], Any]) -> Recovery | None:
        """The recovery of the commit that this request makes. `None` if it makes none, as a merge does."""
        commit = CommitRequest.of(request, route)
        return None if commit is None else cls(call, commit, send)

    def __call__(self) -> Any:
        """
        Look whether the commit has landed, and send it if it has not.

        Returns:
            The response, or one like that which was lost.

        Raises:
            After a lost answer, what the HTTP library or huggingface_hub raises for it. It is to be treated as a
            refusal, that is, waited out. Any refusal unchanged.
        """
        if self._is_sent or self._needs_base():
            landed = self._look()
            if landed is not None:
                return landed
        if None in self._open and clock.monotonic() < self._settled_at:
            self._wait(self._lost)
        return self._attempt()

    # ---- sending ---------------------------------------------------------------------------------------

    def _attempt(self) -> Any:
        parent = self._parent()
        self._is_sent = True
        try:
            response = self._send(self._commit.with_header(mark=self._mark, parent=parent))
        except Exception as error:
            if refused_response(error) is None and is_lost(error):
                return self._find_or_wait(error, parent)
            raise
        status = response.status_code
        if status in _LOST:
            return self._find_or_wait(refusal_error(response), parent, _named_wait(response))
        if status == _CONFLICT and self._commit.parent is None:
            self._races += 1
            raise _as_refusal(refusal_error(response), Refusal(None, limiter="lock"))
        if status < 400:
            try:
                response.json()["commitOid"]
            except (ValueError, TypeError, KeyError) as error:
                return self._find_or_wait(error, parent)
            self._resolve()
        elif self._open:  # for example, a file that this attempt was to delete has been deleted by an earlier one
            landed = self._look()
            return response if landed is None else landed
        return response

    def _parent(self) -> str | None:
        """The parent to name."""
        if self._commit.parent is not None or self._commit.opens_pull_request:
            return self._commit.parent
        if self._races >= _RACES and not self._open:
            return None
        return self._head

    def _needs_base(self) -> bool:
        """Whether to read the head before the first attempt. Without a second one, there is no need to."""
        return self._base is None and self._call.caller.retry.max_retries > 0 and self._failed_reads < _FAILED_READS

    # ---- after a loss ----------------------------------------------------------------------------------

    def _find_or_wait(self, error: Exception, parent: str | None, named: RetryAfter | None = None) -> Any:
        """After a lost answer: return one like it if the commit has landed, and otherwise have it waited out."""
        self._lost = error
        if self._commit.opens_pull_request or parent is None:
            self._open.add(None)
            self._settled_at = clock.monotonic() + _SETTLED
        else:
            self._open.add(parent)
        where = f"{self._commit.page}/" + (
            "discussions" if self._commit.opens_pull_request else f"commits/{self._commit.revision}"
        )
        self._call.unresolved = (
            f"It is unknown whether the commit has landed: look for '{self._mark}' in {where} before you send it again."
        )
        if named is None:
            try:
                landed = self._read()
            except Exception as failure:
                if not (_may_pass(failure) or status_of(failure)):
                    raise
                landed = None  # the next attempt looks again
            if landed is not None:
                return landed
        observer = current_observer()
        if observer is not None and observer.splits and was_cut_off(error):
            raise error  # it goes on with a part of the commit, which takes less time
        return self._wait(error, named)

    def _wait(self, error: Exception | None, named: RetryAfter | None = None) -> NoReturn:
        assert error is not None
        raise _as_refusal(error, Refusal(named, lost=True))

    def _look(self) -> Any | None:
        """As [`Recovery._read`]. What keeps us from looking is waited out, if it may be over later."""
        try:
            return self._read()
        except Exception as failure:
            is_answer = status_of(failure) is not None and refused_response(failure) is None
            if not (is_answer or _may_pass(failure)):
                errors.add_note(failure, self._call.unresolved)
                raise
            if _may_pass(failure):
                self._failed_reads += 1
                if self._is_sent or self._failed_reads < _FAILED_READS:
                    self._wait(self._lost if self._open else failure, _named_wait(getattr(failure, "response", None)))
            elif self._open:
                assert self._lost is not None
                self._call.give_up(self._lost, 0.0, f"the history cannot be read ({status_of(failure)})", failure)
            return None

    def _read(self) -> Any | None:
        """The answer to our commit, if it has landed. Otherwise remember what is now known about the branch."""
        with self._call.as_current():
            landed = self._in_pull_requests() if self._commit.opens_pull_request else self._in_history()
        if landed is not None:
            self._resolve()
            self._call.emit_recovered(landed[0])
            return self._commit.answer(*landed)
        self._open &= {None, self._head}  # the branch has moved, so the Hub refuses all that name another parent
        if not self._open:
            self._resolve()
        return None

    def _resolve(self) -> None:
        self._open.clear()
        self._call.unresolved = ""

    # ---- reading ---------------------------------------------------------------------------------------

    def _in_history(self) -> tuple[str, str | None] | None:
        """The oid of our commit, if the branch has it."""
        newest = self._history(self._commit.revision)
        if self._base is None and not self._is_sent:
            newest = itertools.islice(newest, 1)
        head = None
        for commit in newest:
            head = head or commit.id
            if self._mark in commit.message:
                return commit.id, None
            if isinstance(self._base, str) and commit.id.startswith(self._base):
                break
        self._head = head
        if self._base is None and not self._is_sent:
            self._base = head
        return None

    def _in_pull_requests(self) -> tuple[str, str | None] | None:
        """The oid of our commit and the address of its pull request, if there is one."""
        where = self._commit.repository
        discussions = self._api.get_repo_discussions(where.repo_id, repo_type=where.repo_type)
        if self._base is None and not self._is_sent:
            self._base = next((discussion.num for discussion in discussions), 0)
            return None
        for discussion in itertools.islice(discussions, _PULL_REQUESTS):  # newest first
            if isinstance(self._base, int) and discussion.num <= self._base:
                break
            if discussion.is_pull_request:
                history = itertools.islice(self._history(f"refs/pr/{discussion.num}"), _PULL_REQUESTS)
                for commit in history:
                    if self._mark in commit.message:
                        return commit.id, f"{self._commit.page}/discussions/{discussion.num}"
        return None

    def _history(self, revision: str) -> Iterator[Commit]:
        where = self._commit.repository
        newest = commits(self._api, where.repo_id, repo_type=where.repo_type, revision=revision)
        return itertools.islice(newest, _HISTORY)


def with_recovery(attempt: Callable[[], T]) -> Callable[[], T]:
    """
    `attempt`, whose requests are waited out and retried if their answers are lost, except that of the commit itself.

    That one has been retried already. The others only read, or upload what may be uploaded twice.
    """

    def recovering() -> T:
        try:
            return attempt()
        except Exception as error:
            if errors.gave_up(error) is None and any(is_lost(link) and is_of_no_commit(link) for link in causes(error)):
                _as_refusal(error, Refusal(_named_wait(getattr(error, "response", None)), lost=True))
            raise

    return recovering


def _may_pass(failure: Exception) -> bool:
    """Whether the history could not be read for a reason that may be over later: also an answer of the wrong shape."""
    return is_lost(failure) or isinstance(failure, (ValueError, TypeError, KeyError))


def _as_refusal(error: Exception, refusal: Refusal) -> Exception:
    errors.treat_as_refusal(error, refusal)
    return error


class _Headers:
    """The two headers that say when a server that is busy wants to be asked again. Its body is not about that."""

    text = ""

    def __init__(self, response: Any) -> None:
        self.headers = {name: value for name in ("Retry-After", "Date") if (value := response.headers.get(name))}


def _named_wait(response: Any | None) -> RetryAfter | None:
    """The wait that a response names in its `Retry-After`."""
    return None if response is None else parse_retry_after(_Headers(response))
