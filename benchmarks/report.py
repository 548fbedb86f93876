"""Writes the results: tables as Markdown and JSON, pictures as PNG, and each figure beside its target."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import matplotlib
from matplotlib import pyplot
from matplotlib.axes import Axes

STYLE = {
    "figure.figsize": (8, 4.5),
    "figure.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "font.size": 11,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "savefig.bbox": "tight",
}


@dataclass(frozen=True)
class Target:
    """A measured figure and its upper limit."""

    what: str
    measured: float
    at_most: float
    unit: str = ""

    @property
    def met(self) -> bool:
        return self.measured <= self.at_most


class Report:
    """The results of one part: `<part>.md`, `<part>.json` and its pictures."""

    def __init__(self, part: str, title: str, folder: Path) -> None:
        self.part = part
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.targets: list[Target] = []
        self._data: dict[str, Any] = {"measured_with": _environment()}
        self._text = [f"# {title}", f"Measured with {', on '.join(_environment().values())}."]

    def say(self, paragraph: str) -> None:
        print(f"\n{paragraph}")
        self._text.append(paragraph)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add a table. The Markdown rounds its numbers, the JSON does not."""
        self._data[name] = [dict(zip(columns, row, strict=True)) for row in rows]
        lines = [f"| {' | '.join(cells)} |" for cells in ([*columns], ["---"] * len(columns), *map(_cells, rows))]
        self.say("\n".join(lines))

    def target(self, what: str, measured: float, at_most: float, unit: str = "") -> None:
        self.targets.append(Target(what, measured, at_most, unit))

    @contextmanager
    def picture(self, name: str, what_it_shows: str, panels: tuple[int, int] = (1, 1)) -> Iterator[list[Axes]]:
        """Add a picture. Yields the axes of its panels (rows x columns) to draw on."""
        matplotlib.use("agg")
        with pyplot.rc_context(STYLE):
            rows, columns = panels
            size = STYLE["figure.figsize"] if panels == (1, 1) else (4.2 * columns, 3.4 * rows)
            figure, axes = pyplot.subplots(*panels, figsize=size, squeeze=False, layout="constrained")
            yield list(axes.flat)
            figure.savefig(self._folder / f"{name}.png", dpi=150)
            pyplot.close(figure)
        self._text.append(f"![{what_it_shows}]({name}.png)")

    def save(self) -> None:
        if self.targets:
            columns = ["figure", "measured", "at most", "met"]
            rows = [[t.what, t.measured, t.at_most, "yes" if t.met else "**no**"] for t in self.targets]
            self.table("targets", columns, rows)
            self._data["targets"] = [asdict(target) | {"met": target.met} for target in self.targets]
        (self._folder / f"{self.part}.md").write_text("\n\n".join(self._text) + "\n")
        (self._folder / f"{self.part}.json").write_text(json.dumps(self._data, indent=2) + "\n")


def _cells(row: Sequence[Any]) -> list[str]:
    return [_cell(value) for value in row]


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def _environment() -> dict[str, str]:
    machine = f"{os.cpu_count()} cores"
    if hasattr(os, "getloadavg"):
        machine += f" with a load average of {os.getloadavg()[0]:.1f} before"
    return {
        "software": f"Python {platform.python_version()} and huggingface_hub {huggingface_hub.__version__}",
        "machine": machine,
    }
