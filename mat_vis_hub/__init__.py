"""Commits to the Hugging Face Hub that wait when it refuses them: `ThrottledHfApi`, a drop-in for `HfApi`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mat_vis_hub import testing
    from mat_vis_hub.api import ThrottledHfApi
    from mat_vis_hub.budget import BudgetError, BudgetStatus, CommitBudget
    from mat_vis_hub.commits.batch import CommitBatch
    from mat_vis_hub.commits.transaction import Snapshot, transact
    from mat_vis_hub.errors import GaveUp, WaitCancelled, gave_up
    from mat_vis_hub.events import (
        ConflictEvent,
        Event,
        GaveUpEvent,
        PaceEvent,
        RecoveredEvent,
        ThrottleEvent,
        WaitingEvent,
    )
    from mat_vis_hub.hooks import log_event, print_line
    from mat_vis_hub.policy import RetryPolicy
    from mat_vis_hub.retry_after import RetryAfter, parse_retry_after

__version__ = "0.1.0"

__all__ = [
    "BudgetError",
    "BudgetStatus",
    "CommitBatch",
    "CommitBudget",
    "ConflictEvent",
    "Event",
    "GaveUp",
    "GaveUpEvent",
    "PaceEvent",
    "RecoveredEvent",
    "RetryAfter",
    "RetryPolicy",
    "Snapshot",
    "ThrottleEvent",
    "ThrottledHfApi",
    "WaitCancelled",
    "WaitingEvent",
    "gave_up",
    "log_event",
    "parse_retry_after",
    "print_line",
    "testing",
    "transact",
]

_MODULES = {
    "ThrottledHfApi": "api",
    "CommitBatch": "commits.batch",
    "BudgetError": "errors",
    "BudgetStatus": "budget.protocol",
    "CommitBudget": "budget.protocol",
    "ConflictEvent": "events",
    "Event": "events",
    "GaveUpEvent": "events",
    "PaceEvent": "events",
    "RecoveredEvent": "events",
    "ThrottleEvent": "events",
    "WaitingEvent": "events",
    "GaveUp": "errors",
    "gave_up": "errors",
    "WaitCancelled": "errors",
    "log_event": "hooks",
    "print_line": "hooks",
    "RetryPolicy": "policy",
    "RetryAfter": "retry_after",
    "parse_retry_after": "retry_after",
    "Snapshot": "commits.transaction",
    "transact": "commits.transaction",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: pytest loads the plugin, and so this module, in every run."""
    if name == "testing":
        return import_module("mat_vis_hub.testing")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"mat_vis_hub.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
