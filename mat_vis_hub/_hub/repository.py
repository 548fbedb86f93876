"""The identity of a repository."""

from __future__ import annotations

from typing import NamedTuple


class Repository(NamedTuple):
    """
    One repository of one Hub.

    Args:
        endpoint (`str`): The Hub's address, for example `"https://huggingface.co"`.
        repo_type (`str`): `"model"`, `"dataset"` or `"space"`.
        repo_id (`str`): For example `"you/textures"`.
    """

    endpoint: str
    repo_type: str
    repo_id: str
