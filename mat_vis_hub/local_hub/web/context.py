"""What a running Hub consists of, and who may do what on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from mat_vis_hub.local_hub.faults import Script
from mat_vis_hub.local_hub.model.errors import HubError, repo_not_found
from mat_vis_hub.local_hub.recorder import Recorder

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from mat_vis_hub.local_hub.limiter import Clock, Limiter
    from mat_vis_hub.local_hub.model.lfs import LfsStore
    from mat_vis_hub.local_hub.model.repos import Registry, Repo

DEFAULT_USER = "local"


@dataclass(frozen=True)
class Access:
    """Who may do what. Without a `token` any token, or none, may write; with one, only that one.

    `owners` are the namespaces the token's user may write to (None: all of them); the first one is the user's name.
    """

    token: str | None = field(default=None, repr=False)
    owners: tuple[str, ...] | None = None

    @property
    def user(self) -> str:
        return self.owners[0] if self.owners else DEFAULT_USER

    def bearer(self, authorization: str | None) -> str | None:
        """The caller's token; None for an anonymous caller; 401 for a token that is not the one."""
        if not authorization:
            return None
        token = authorization.partition(" ")[2]
        if self.token is not None and token != self.token:
            raise HubError(401, "Invalid credentials in Authorization header")
        return token

    def may_write(self, namespace: str) -> bool:
        return self.owners is None or namespace in self.owners


@dataclass(frozen=True)
class HubState:
    repos: Registry
    store: LfsStore
    commit_limit: Limiter
    api_limit: Limiter
    access: Access
    clock: Clock
    multipart_threshold: int
    script: Script = field(default_factory=Script)
    recorder: Recorder = field(default_factory=Recorder)


@dataclass(frozen=True)
class Caller:
    """The sender of one request."""

    state: HubState
    token: str | None = field(repr=False)

    @classmethod
    def of(cls, request: HTTPConnection) -> Caller:
        state = cast("HubState", request.app.state.hub)
        return cls(state, state.access.bearer(request.headers.get("authorization")))

    @property
    def anonymous(self) -> bool:
        return self.token is None

    def require_user(self) -> str:
        """The user's name; 401 if the caller must log in first."""
        if self.anonymous and self.state.access.token is not None:
            raise HubError(401, "Invalid username or password.")
        return self.state.access.user

    def repo(self, repo_type: str, repo_id: str) -> Repo:
        """The repository, to read; as good as missing if it is private and the caller anonymous."""
        repo = self.state.repos.get(repo_type, repo_id)
        hidden = repo is not None and repo.private and (self.anonymous or not self._owns(repo))
        if repo is None or hidden:
            raise repo_not_found(anonymous=self.anonymous)
        return repo

    def require_access(self, repo: Repo) -> None:
        """To the files of a gated repository; there is no way to be admitted here other than to be its owner."""
        if repo.gated and (self.anonymous or not self._owns(repo)):
            message = f"Access to {repo.type} {repo.id} is restricted and you are not in the authorized list."
            raise HubError(401 if self.anonymous else 403, message, "GatedRepo")

    def require_write(self, namespace: str, refusal: str) -> str:
        """The user's name; 401 for a stranger, 403 with the sentence `refusal` for someone without the right."""
        user = self.require_user()
        if not self.state.access.may_write(namespace):
            raise HubError(403, refusal)
        return user

    def _owns(self, repo: Repo) -> bool:
        return self.state.access.may_write(repo.namespace)
