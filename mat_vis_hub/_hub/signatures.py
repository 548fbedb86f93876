"""Signatures of the installed huggingface_hub."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def as_installed(plain: Callable[..., Any]) -> Callable[[F], F]:
    """
    Decorate an override so that `help()`, `inspect.signature` and completion show what the installed version takes.

    The parameters are those of `plain`, in its order, and then the override's own `source`.

    Args:
        plain (`Callable`): The method of the installed `HfApi`.
    """

    def decorate(override: F) -> F:
        ours = inspect.signature(override)
        theirs = inspect.signature(plain).parameters
        parameters = [ours.parameters.get(name, parameter) for name, parameter in theirs.items()]
        if "source" in ours.parameters:
            parameters.append(ours.parameters["source"])
            parameters.sort(key=lambda parameter: parameter.kind)  # a mock may take **kwargs, which come last
        override.__signature__ = ours.replace(parameters=parameters)  # type: ignore[attr-defined]  # what `inspect` reads
        return override

    return decorate
