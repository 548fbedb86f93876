"""Commit budgets: one count of commits for many writers. Each module and driver is loaded when it is first needed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mat_vis_hub._hub.repository import Repository as Repository
    from mat_vis_hub.budget.fail_open import FailOpenBudget as FailOpenBudget
    from mat_vis_hub.budget.protocol import LIMIT as LIMIT
    from mat_vis_hub.budget.protocol import WINDOW as WINDOW
    from mat_vis_hub.budget.protocol import BudgetStatus as BudgetStatus
    from mat_vis_hub.budget.protocol import CommitBudget as CommitBudget
    from mat_vis_hub.budget.protocol import Lease as Lease
    from mat_vis_hub.budget.protocol import LeasingBudget as LeasingBudget
    from mat_vis_hub.budget.protocol import Reservation as Reservation
    from mat_vis_hub.budget.url import as_budget as as_budget
    from mat_vis_hub.budget.url import from_url as from_url
    from mat_vis_hub.errors import BudgetError as BudgetError
    from mat_vis_hub.retry_after import Cooldown as Cooldown
else:
    _MODULES = {
        "LIMIT": "budget.protocol",
        "WINDOW": "budget.protocol",
        "BudgetError": "errors",
        "BudgetStatus": "budget.protocol",
        "CommitBudget": "budget.protocol",
        "Cooldown": "retry_after",
        "FailOpenBudget": "budget.fail_open",
        "Lease": "budget.protocol",
        "LeasingBudget": "budget.protocol",
        "Repository": "_hub.repository",
        "Reservation": "budget.protocol",
        "as_budget": "budget.url",
        "from_url": "budget.url",
    }
    __all__ = list(_MODULES)

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"mat_vis_hub.{_MODULES[name]}"), name)
