"""The identity of a repository."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from huggingface_hub import constants

LONGEST_COMMIT = 75.0  # real seconds; the Hub cuts a commit off after 60, so one that takes longer is not waited for


class Repository(NamedTuple):
    """
    One repository of one Hub. Make it with [`Repository.of`], so that equal repositories compare equal.

    Args:
        endpoint (`str`): The Hub's address, for example `"https://huggingface.co"`.
        repo_type (`str`): `"model"`, `"dataset"` or `"space"`.
        repo_id (`str`): For example `"you/textures"`.
    """

    endpoint: str
    repo_type: str
    repo_id: str

    @classmethod
    def of(cls, endpoint: str, repo_type: str | None, repo_id: str) -> Repository:
        """
        The repository with these names as a caller writes them.

        Args:
            endpoint (`str`): The Hub's address. A trailing slash, a default port and upper case do not matter.
            repo_type (`str`, *optional*): Defaults to `"model"`.
            repo_id (`str`): The repository.

        Example:
        ```python
        >>> from mat_vis_hub._hub.repository import Repository
        >>> Repository.of("https://HuggingFace.co:443/", None, "you/model")
        Repository(endpoint='https://huggingface.co', repo_type='model', repo_id='you/model')

        ```
        """
        return cls(_canonical(endpoint), repo_type or "model", repo_id)


_DEFAULT_PORTS = {"http": 80, "https": 443}


@lru_cache(maxsize=64)
def _canonical(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    try:
        port = parts.port
    except ValueError:
        return endpoint.rstrip("/")
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS.get(parts.scheme):
        host = f"{host}:{port}"
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"


def check_repo_type(repo_type: object) -> None:
    """
    Check the type of a repository before it is used in a request.

    Raises:
        [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
            If the installed huggingface_hub does not know this type.
    """
    known = getattr(constants, "REPO_TYPES_WITH_KERNEL", constants.REPO_TYPES)
    if repo_type not in known:
        raise ValueError(f"repo_type={repo_type!r}: repo_type must be one of {', '.join(map(repr, known))}.")
