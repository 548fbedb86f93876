"""The notebook runs from top to bottom, in a process of its own, and is kept without outputs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the notebook starts the local Hub")

NOTEBOOK = json.loads((Path(__file__).parents[2] / "examples" / "first_commit.ipynb").read_text())
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_it_runs_and_shows_the_refusal_the_wait_and_the_files():
    source = "\n".join("".join(cell["source"]) for cell in CODE)
    assert "WINDOW = 20\n" in source
    hurried = source.replace("WINDOW = 20\n", "WINDOW = 6\n")  # a short wait, and still longer than four commits take
    result = subprocess.run(
        [sys.executable, "-c", f"{hurried}\nprint(files)"], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("committed")] == [f"committed {number}" for number in range(6)]
    assert "You have exceeded the rate limit for repository commits (3 per 6 seconds)." in result.stdout
    assert any(line.startswith("bake_throttle source=notebook retry=1/5 reason=429 wait_s=") for line in lines)
    assert lines[-1] == str([f"{number}.txt" for number in range(6)])


def test_it_is_kept_without_outputs():
    assert [(cell["outputs"], cell["execution_count"]) for cell in CODE] == [([], None)] * len(CODE)
