"""Commit budgets: one count for all who write to a repository. A driver loads with the budget that needs it."""

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
