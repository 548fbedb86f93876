"""Commit to the Hugging Face Hub without dying of HTTP 429."""

from mat_vis_hub.api import ThrottledHfApi
from mat_vis_hub.events import Event, PaceEvent, ThrottleEvent, log_event, print_line
from mat_vis_hub.policy import RetryPolicy
from mat_vis_hub.retry_after import RetryAfter, parse_retry_after

__version__ = "0.1.0"

__all__ = [
    "Event",
    "PaceEvent",
    "RetryAfter",
    "RetryPolicy",
    "ThrottleEvent",
    "ThrottledHfApi",
    "log_event",
    "parse_retry_after",
    "print_line",
]
