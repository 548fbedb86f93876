"""Commit budgets: one count for all who write to a repository. Each module and driver loads when it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mat_vis_hub.budget.guard import Guarded
    from mat_vis_hub.budget.protocol import LIMIT, WINDOW, BudgetStatus, CommitBudget, Repository, Slot
    from mat_vis_hub.budget.shared import BudgetError
    from mat_vis_hub.budget.url import from_url

__all__ = [
    "LIMIT",
    "WINDOW",
    "BudgetError",
    "BudgetStatus",
    "CommitBudget",
    "Guarded",
    "Repository",
    "Slot",
    "from_url",
]

_MODULES = {
    **dict.fromkeys(("LIMIT", "WINDOW", "BudgetStatus", "CommitBudget", "Repository", "Slot"), "protocol"),
    "BudgetError": "shared",
    "Guarded": "guard",
    "from_url": "url",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"mat_vis_hub.budget.{_MODULES[name]}"), name)
