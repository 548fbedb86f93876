"""Commit budgets: one count for all who write to a repository. Each module and driver loads when it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mat_vis_hub._hub.repository import Repository
    from mat_vis_hub.budget.fail_open import FailOpenBudget
    from mat_vis_hub.budget.protocol import LIMIT, WINDOW, BudgetStatus, CommitBudget, Reservation
    from mat_vis_hub.budget.stored import BudgetError
    from mat_vis_hub.budget.url import from_url

__all__ = [
    "LIMIT",
    "WINDOW",
    "BudgetError",
    "BudgetStatus",
    "CommitBudget",
    "FailOpenBudget",
    "Repository",
    "Reservation",
    "from_url",
]

_MODULES = {
    **dict.fromkeys(("LIMIT", "WINDOW", "BudgetStatus", "CommitBudget", "Reservation"), "budget.protocol"),
    "Repository": "_hub.repository",
    "BudgetError": "budget.stored",
    "FailOpenBudget": "budget.fail_open",
    "from_url": "budget.url",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"mat_vis_hub.{_MODULES[name]}"), name)
