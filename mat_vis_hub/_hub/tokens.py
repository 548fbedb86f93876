"""The token with which a request is sent."""

from __future__ import annotations

from collections.abc import Mapping

from huggingface_hub.utils import build_hf_headers

Token = str | bool | None
"""As `HfApi` takes it: `None` for the one of the environment or this machine, `False` for none."""


def resolved(token: Token) -> str:
    """
    The token that huggingface_hub sends if it is given this one; empty if it sends none.

    Raises:
        [`LocalTokenNotFoundError`](https://huggingface.co/docs/huggingface_hub/package_reference/utilities#huggingface_hub.errors.LocalTokenNotFoundError):
            If it is `True` and there is none.
    """
    return token if isinstance(token, str) else sent_in(build_hf_headers(token=token))


def sent_in(headers: Mapping[str, str]) -> str:
    """The token in the headers of a request; empty if there is none."""
    return (headers.get("authorization") or "").removeprefix("Bearer ")
