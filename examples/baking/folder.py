"""Read a folder of the user's own textures, one subfolder per material, and check it before any upload."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from baking import textures
from baking.layout import CHANNELS, NAME, Material, Tier


class FolderError(ValueError):
    """The problems of a folder, one per line."""


def read_folder(folder: Path, tier: Tier) -> list[Material]:
    """Check every texture in `folder` and return its materials, sorted by id.

    Every file is decoded, one at a time, so that a damaged file is found before the bake starts.

    Raises:
        FolderError: If files cannot be published at `tier`. The message names each of them and says why.
    """
    if not folder.is_dir():
        raise FolderError(f"{folder}: no such folder")
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not subfolders:
        raise FolderError(f"{folder}: no subfolders; expected one per material, with one PNG per channel")
    problems: list[str] = []
    materials = [_read_material(subfolder, tier, problems) for subfolder in subfolders]
    if problems:
        raise FolderError("\n".join(problems))
    return materials


def render(folder: Path, material: Material, tier: Tier) -> dict[str, bytes | Path]:
    """Return a material's textures at `tier`: the file itself if it has the right size, else a smaller copy."""
    return {
        channel: _fit(path, channel, tier.size)
        for path in _visible(folder / material.id)
        for channel in [_channel(path)]
    }


def _read_material(subfolder: Path, tier: Tier, problems: list[str]) -> Material:
    if not NAME.fullmatch(subfolder.name):
        problems.append(f"{subfolder}: a material's name consists of letters, digits, '.', '_' and '-'; rename it")
    files = _visible(subfolder)
    if not files:
        problems.append(f"{subfolder}: no files; expected one PNG per channel ({', '.join(CHANNELS)})")
    channels: set[str] = set()
    for path in files:
        problem = _problem(path, tier)
        if _channel(path) in channels:
            problem = f"the second file for channel {_channel(path)}; keep one"
        channels.add(_channel(path))
        if problem:
            problems.append(f"{path}: {problem}")
    return Material(subfolder.name, tuple(_channel(path) for path in files), _about(subfolder.name))


def _problem(path: Path, tier: Tier) -> str | None:
    if _channel(path) not in CHANNELS:
        return f"unknown channel {_channel(path)!r}; the channels are {', '.join(CHANNELS)}"
    try:
        with Image.open(path) as image:
            if image.format != "PNG":
                return f"not a PNG but {image.format}; convert it"
            width, height = image.size
            image.load()
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError and others
        return _unreadable(path, error)
    if path.suffix.lower() != ".png":
        return "a PNG with the wrong suffix; rename it to " + path.with_suffix(".png").name
    if width != height:
        return f"not square ({width} x {height}); crop it"
    if width < tier.size:
        return f"{width} x {height}, too small for tier {tier.name} ({tier.size} x {tier.size})"
    return None


def _unreadable(path: Path, error: Exception) -> str:
    if path.is_dir():
        return "a folder inside a material; expected one PNG per channel"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a PNG"
    return f"cannot be read ({error})"


def _fit(path: Path, channel: str, size: int) -> bytes | Path:
    with Image.open(path) as image:
        if image.size == (size, size):
            return path
    return textures.shrink(path, channel, size)


def _visible(subfolder: Path) -> list[Path]:
    return sorted(path for path in subfolder.iterdir() if not path.name.startswith("."))


def _channel(path: Path) -> str:
    return path.stem


def _about(name: str) -> dict[str, dict[str, str]]:
    return {"mat_vis": {"name": name, "category": "other"}}
