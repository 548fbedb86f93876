"""Fixtures of all tests. Each run has an empty Hugging Face home: no token, no cache, no settings of the user."""

import os
import tempfile

import pytest

# huggingface_hub reads its environment when it is imported, so this must happen before any import of it.
for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING_FACE_", "HUGGINGFACE_"))]:
    del os.environ[name]
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="mat-vis-hub-tests-")
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_XET_CLIENT_RETRY_MAX_ATTEMPTS"] = "0"  # hf_xet retries a refusal for minutes of real time

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def no_progress_bars():
    """No progress bars, except in tests of them, which turn them on."""
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    disable_progress_bars()
    yield
    enable_progress_bars()


@pytest.fixture
def progress_bars(no_progress_bars):
    """Progress bars are on, as they are by default."""
    from huggingface_hub.utils import enable_progress_bars

    enable_progress_bars()


@pytest.fixture
def time(monkeypatch):
    """Virtual time. A real sleep fails the test, also one of huggingface_hub."""
    from mat_vis_hub.testing import virtual_time

    def asleep(seconds: float) -> None:
        raise AssertionError(f"slept for {seconds} s")

    monkeypatch.setattr("time.sleep", asleep)
    with virtual_time() as time:
        yield time


@pytest.fixture
def events() -> list:
    """The events that were emitted, for an object made with `hooks=[events.append]`."""
    return []
