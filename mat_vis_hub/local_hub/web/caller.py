"""The sender of a request, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from mat_vis_hub.local_hub.model.repository import Repo
from mat_vis_hub.local_hub.web.context import HubContext
from mat_vis_hub.local_hub.web.errors import HubError, repo_not_found


@dataclass(frozen=True)
class Caller:
    context: HubContext
    token: str | None = field(repr=False)

    @classmethod
    def of(cls, request: HTTPConnection) -> Caller:
        context = HubContext.of(request)
        return cls(context, context.access.bearer(request.headers.get("authorization")))

    @property
    def anonymous(self) -> bool:
        return self.token is None

    def require_user(self) -> str:
        """Return the user's name. Raises 401 if the caller has to log in."""
        if self.anonymous and self.context.access.token is not None:
            raise HubError(401, "Invalid username or password.")
        return self.context.access.user

    def require_write(self, namespace: str, refusal: str) -> str:
        """Return the user's name. Raises 401 without a login, and 403 with the sentence `refusal` without the right."""
        user = self.require_user()
        if not self.context.access.may_write(namespace):
            raise HubError(403, refusal)
        return user

    def require_files(self, repo: Repo) -> None:
        """Raise unless the caller may read the files of `repo`. Those of a gated repository are for its owner."""
        if repo.gated and not self._owns(repo):
            message = f"Access to {repo.type} {repo.id} is restricted and you are not in the authorized list."
            raise HubError(401 if self.anonymous else 403, message, "GatedRepo")

    def repo(self, repo_type: str, repo_id: str) -> Repo:
        """Return a repository that the caller may see. Raises 404, or 401 for an anonymous caller."""
        repo = self.context.repos.get(repo_type, repo_id)
        if repo is None or (repo.private and not self._owns(repo)):
            raise repo_not_found(anonymous=self.anonymous)
        return repo

    def _owns(self, repo: Repo) -> bool:
        return not self.anonymous and self.context.access.may_write(repo.namespace)
