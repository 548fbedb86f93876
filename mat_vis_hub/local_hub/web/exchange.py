"""One request and what is known about its answer, from the middleware to the routes and back."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.types import Scope

_KEY = "local_hub.exchange"


@dataclass(frozen=True)
class DeliveredLate:
    """
    A request that is carried out after its client got an answer.

    Args:
        date (`float`): When, in seconds since the epoch.
        accepted (`bool`): Whether the Hub had accepted it before, and held the repository. If not, a gateway held it.
    """

    date: float
    accepted: bool


@dataclass
class Exchange:
    """
    A request that is being processed.

    Args:
        scope (`dict`): The ASGI scope.
        endpoint (`str`): The route's name, or `"unknown"`.
        repo_type (`str`, *optional*): The repository that the request is about.
        repo (`str`, *optional*): Its id.
        caller (`str`): Who is asking, as the API limit counts them: a token or an address. Never recorded.
        address (`str`): Where the request comes from.
        bytes_received (`int`): Of the body, so far.
        refused_by (`str`, *optional*): The limit that refused the request.
        from_gateway (`bool`): Whether the answer is the gateway's, which knows nothing of the Hub's limits.
        delivered_late (`DeliveredLate`, *optional*): Set for a request that is carried out after its answer.
    """

    scope: Scope
    endpoint: str
    repo_type: str | None
    repo: str | None
    caller: str = field(repr=False)
    address: str = ""
    bytes_received: int = 0
    refused_by: str | None = None
    from_gateway: bool = False
    delivered_late: DeliveredLate | None = None

    def __post_init__(self) -> None:
        self.scope[_KEY] = self

    @staticmethod
    def of(scope: Scope) -> Exchange:
        exchange = scope[_KEY]
        assert isinstance(exchange, Exchange)
        return exchange
