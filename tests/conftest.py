"""Every test starts from an empty Hugging Face home: no token, no cache, no progress bars of this machine's user."""

import os
import tempfile

import pytest

# huggingface_hub reads its environment once, when it is imported, so this comes before anything imports it.
for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING_FACE_", "HUGGINGFACE_"))]:
    del os.environ[name]
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="mat-vis-hub-tests-")
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

pytest_plugins = ["pytester"]


@pytest.fixture
def time(monkeypatch):
    """Virtual time in which nothing may really sleep, huggingface_hub included."""
    from mat_vis_hub.testing import virtual_time

    def asleep(seconds: float) -> None:
        raise AssertionError(f"slept for {seconds} s")

    monkeypatch.setattr("time.sleep", asleep)
    with virtual_time() as time:
        yield time


@pytest.fixture
def told() -> list:
    """What a hook was told: pass `hooks=[told.append]`."""
    return []
