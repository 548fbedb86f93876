"""Downloads of a whole snapshot, in generations whose `HfApi` does not pass its headers to their threads."""

from __future__ import annotations

import inspect
from typing import Any

import huggingface_hub
from huggingface_hub import HfApi


def forwards_headers() -> bool:
    """Whether the installed `HfApi.snapshot_download` puts the object's headers on its requests."""
    return "headers" in inspect.unwrap(HfApi.snapshot_download).__code__.co_names


def snapshot_download(api: HfApi, *args: Any, **kwargs: Any) -> str:
    """As `HfApi.snapshot_download`, with the headers of `api`."""
    arguments = inspect.signature(HfApi.snapshot_download).bind(api, *args, **kwargs).arguments
    arguments.pop("self")
    if arguments.get("token") is None:
        arguments["token"] = api.token
    folder: str = huggingface_hub.snapshot_download(
        **arguments,
        endpoint=api.endpoint,
        library_name=api.library_name,
        library_version=api.library_version,
        user_agent=api.user_agent,
        headers=api.headers,
    )
    return folder
