"""The notebook runs from top to bottom in a process of its own, and is stored without outputs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("skimage", reason="demo.py computes textures with scikit-image")
pytest.importorskip("uvicorn", reason="the notebook starts the local Hub")

import demo

NOTEBOOK = json.loads((Path(demo.HERE) / "first_commit.ipynb").read_text())
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
COMMAND = '[sys.executable, "-m", "mat_vis_hub.local_hub", "--port", "0", "--limit", "3",'

# The notebook's command, with the demo's clock: however slow the machine, the fourth commit of a window is refused.
HUB = """
import sys
from demo import WindowClock
from mat_vis_hub import local_hub
from mat_vis_hub.local_hub.__main__ import main


class Hub(local_hub.LocalHub):
    def __init__(self, limit, window, **options):
        self.clock = WindowClock(limit, window)
        super().__init__(limit, window, clock=self.clock, **options)

    def start(self):
        super().start()
        self.clock.watch(self)
        return self


local_hub.LocalHub = Hub
sys.exit(main())
"""


def test_it_shows_the_refusal_the_wait_and_the_files(tmp_path):
    script = tmp_path / "hub.py"
    script.write_text(HUB)
    source = "\n".join("".join(cell["source"]) for cell in CODE)
    for before, after in {
        COMMAND: COMMAND.replace('"-m", "mat_vis_hub.local_hub"', repr(str(script))),
        "WINDOW = 10\n": "WINDOW = 2\n",
    }.items():
        assert before in source
        source = source.replace(before, after)
    result = subprocess.run(
        [sys.executable, "-c", f"{source}\nprint(files)"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(demo.HERE), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("committed")] == [f"committed {number}" for number in range(7)]
    assert "You have exceeded the rate limit for repository commits (3 per 2 seconds)." in result.stdout
    assert any(line.startswith("bake_throttle source=notebook retry=1/5 reason=429 wait_s=") for line in lines)
    assert lines[-1] == str([f"{number}.txt" for number in range(7)])


def test_it_is_stored_without_outputs():
    assert [(cell["outputs"], cell["execution_count"]) for cell in CODE] == [([], None)] * len(CODE)
