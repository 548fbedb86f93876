"""What the tests of commits share."""

from __future__ import annotations

import pytest


@pytest.fixture
def emitted() -> list:
    """The events that were emitted: pass `hooks=[emitted.append]`."""
    return []
