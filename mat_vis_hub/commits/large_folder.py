"""upload_large_folder, in generations whose workers try again at once what has failed, for ever."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib import import_module

from mat_vis_hub.policy import RetryPolicy

_MOST_RETRIES = 1000


def never_ends() -> bool:
    """Whether the workers of the installed `HfApi.upload_large_folder` go on, however often they have failed."""
    return not hasattr(import_module("huggingface_hub._upload_large_folder"), "MAX_CONSECUTIVE_ERRORS")


def unbounded(policy: RetryPolicy) -> RetryPolicy:
    """A policy that waits as long as it takes: without it, a wait that is too long would become a request at once."""
    return replace(policy, max_retries=max(policy.max_retries, _MOST_RETRIES), max_total_wait=math.inf)
