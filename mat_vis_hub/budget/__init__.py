"""Commit budgets: one count of commits for many writers. A place's module and its driver are loaded when it is used."""

from mat_vis_hub._hub.repository import Repository
from mat_vis_hub.budget.fail_open import FailOpenBudget
from mat_vis_hub.budget.protocol import (
    LIMIT,
    WINDOW,
    BudgetStatus,
    CommitBudget,
    Lease,
    LeasingBudget,
    Reservation,
    ScopedBudget,
)
from mat_vis_hub.budget.url import as_budget, from_url
from mat_vis_hub.errors import BudgetError
from mat_vis_hub.retry_after import Cooldown

__all__ = [
    "LIMIT",
    "WINDOW",
    "BudgetError",
    "BudgetStatus",
    "CommitBudget",
    "Cooldown",
    "FailOpenBudget",
    "Lease",
    "LeasingBudget",
    "Repository",
    "Reservation",
    "ScopedBudget",
    "as_budget",
    "from_url",
]
