"""The answers of a Hub that says no: a status, an `X-Error-Code` and a sentence."""

from __future__ import annotations

from typing import Any


class HubError(Exception):
    """An error answer in the making; the app renders it as JSON and the Hub's error headers."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        *,
        headers: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = headers or {}
        self.body = {"error": message, **(body or {})}


def repo_not_found(*, anonymous: bool) -> HubError:
    """Whether it is missing or private is nobody's business; a stranger is asked to log in first."""
    if anonymous:
        return HubError(401, "Invalid username or password.", "RepoNotFound")
    return HubError(404, "Repository not found", "RepoNotFound")


def revision_not_found(revision: str) -> HubError:
    return HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def entry_not_found(message: str = "Entry not found", *, commit: str | None = None) -> HubError:
    return HubError(404, message, "EntryNotFound", headers={"X-Repo-Commit": commit} if commit else None)
