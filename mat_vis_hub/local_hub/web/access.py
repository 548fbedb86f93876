"""Who may write what: tokens and namespaces."""

from __future__ import annotations

from dataclasses import dataclass, field

from mat_vis_hub.local_hub.web.errors import HubError

DEFAULT_USER = "local"


@dataclass(frozen=True)
class Access:
    """
    The token that may write, and where.

    Args:
        token (`str`, *optional*):
            The only token that may write. Defaults to any token, or none.
        owners (`tuple` of `str`, *optional*):
            The namespaces that may be written to; the first one is the user's name. Defaults to all.
    """

    token: str | None = field(default=None, repr=False)
    owners: tuple[str, ...] | None = None

    @property
    def user(self) -> str:
        return self.owners[0] if self.owners else DEFAULT_USER

    def bearer(self, authorization: str | None) -> str | None:
        """Return the token of an `Authorization` header, None without one. Raises 401 for a wrong token."""
        if not authorization:
            return None
        token = authorization.partition(" ")[2]
        if self.token is not None and token != self.token:
            raise HubError(401, "Invalid credentials in Authorization header")
        return token

    def may_write(self, namespace: str) -> bool:
        return self.owners is None or namespace in self.owners
