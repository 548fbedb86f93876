"""Which request of the Hub's API a method and an address are."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from mat_vis_hub._hub.repository import Repository


class Route(NamedTuple):
    """
    A request to the Hub.

    Args:
        kind (`str`): `"commit"`, `"creation"` (of a repository), `"whoami"`, `"api"` or `"download"`.
        url (`str`): Its address.
    """

    kind: str
    url: str

    @property
    def endpoint(self) -> str:
        """The scheme and the host of its address."""
        return "/".join(self.url.split("/", 3)[:3])

    @property
    def buckets(self) -> tuple[str, ...]:
        """The buckets that count it, by the names of the `RateLimit` header. `whoami` has a stricter one of its own."""
        return {"download": ("resolvers",), "whoami": ("whoami", "api")}.get(self.kind, ("api",))

    def about(self) -> tuple[Repository | None, str]:
        """The repository that its address names, if any, and the branch of a commit."""
        match = re.match(_COMMIT, self.url) or re.match(_ABOUT, self.url)
        if match is None:
            return None, ""
        repository = Repository.of(match["endpoint"], match["type"].removesuffix("s"), unquote(match["id"]))
        revision = match.groupdict().get("revision") or ("main" if self.kind == "commit" else "")
        return repository, unquote(revision)


# Patterns are compiled by the first request, and then kept by `re`.
#
# `gpt2` and other old models have no namespace, so the second part may belong to the route instead.
_ROUTES = (
    "revision|tree|commits|refs|preupload|paths-info|discussions|settings|branch|tag|commit|super-squash|xet-[a-z-]+"
)
_REPOSITORY = (
    r"(?P<endpoint>https?://[^?#]*?)/api/(?P<type>models|datasets|spaces|kernels)"
    rf"/(?P<id>[^/?#]+(?:/(?!(?:{_ROUTES})(?:[/?#]|$))[^/?#]+)?)"
)
# A merged pull request is one commit more on its branch, and the Hub counts it like any other.
_COMMIT = _REPOSITORY + r"/(?:commit/(?P<revision>[^/?#]+)|discussions/[0-9]+/merge)/?(?:[?#]|$)"
_ABOUT = _REPOSITORY + r"(?:[/?#]|$)"
_SPECIAL = r"https?://[^?#]*?/api/(?:(?P<whoami>whoami-v2)|(?P<creation>repos/create))/?(?:[?#]|$)"
# Whichever comes first in the path decides: a file may lie in a folder `api` or `resolve`.
_FIRST = r"https?://[^?#]*?(?:(/api/|\.git/info/lfs/)|/resolve/)"


@lru_cache(maxsize=128)  # a job sends the same two requests for each commit
def route_of(method: str, url: str) -> Route | None:
    """
    The route of a request, or `None` if it is not one of the Hub's that can be refused.

    Args:
        method (`str`): The HTTP method.
        url (`str`): The address, percent-encoded as it is sent.

    Example:
    ```python
    >>> from mat_vis_hub._hub.routes import route_of
    >>> route = route_of("POST", "https://huggingface.co/api/datasets/you/textures/commit/refs%2Fpr%2F1?create_pr=1")
    >>> route.kind
    'commit'
    >>> repository, revision = route.about()
    >>> repository.repo_id, revision
    ('you/textures', 'refs/pr/1')
    >>> route_of("PUT", "https://storage.example.com/bucket/part?partNumber=1") is None
    True

    ```
    """
    if method == "POST" and re.match(_COMMIT, url):
        return Route("commit", url)
    first = re.match(_FIRST, url)
    if first is None:
        return None
    if not first[1]:
        return Route("download", url)
    special = re.match(_SPECIAL, url)
    return Route((special and special.lastgroup) or "api", url)
