"""Compute materials from the CC0 photographs that scikit-image ships, 512 x 512 pixels each.

According to scikit-image's docstrings, `brick` and `gravel` come from ambientCG (then called CC0Textures) and `grass`
from DeviantArt. The sources are named after these sites.

Each photograph becomes one material that shows all of it (`brick_whole`, up to tier 512) and 64 materials that show
overlapping patches of 256 x 256 pixels (`brick_r00_c00` to `brick_r07_c07`, up to tier 256). A material shows the same
patch at every tier. The grey value serves as the height, because deep areas get little light. For the brick wall, whose
mortar is deep but pale, the height is inverted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from skimage import data

from baking import textures
from baking.layout import TIERS, Material, Tier

PHOTOGRAPH_SIZE = 512
PATCH_SIZE = 256
GRID = 8
STRIDE = (PHOTOGRAPH_SIZE - PATCH_SIZE) // (GRID - 1)
CHANNELS = ("ao", "color", "normal", "roughness")


@dataclass(frozen=True)
class Photograph:
    """One photograph: its origin, and the constants that turn it into a material."""

    name: str
    source: str
    url: str
    author: str
    category: str
    shade: textures.RGB
    light: textures.RGB
    relief: float
    roughness: tuple[float, float]
    dark_is_high: bool = False


PHOTOGRAPHS = (
    Photograph(
        "brick",
        source="ambientcg",
        url="https://cc0textures.com/view.php?tex=Bricks25",
        author="ambientCG",
        category="ceramic",
        shade=(42, 20, 16),
        light=(236, 170, 142),
        relief=6.0,
        roughness=(0.72, 0.95),
        dark_is_high=True,
    ),
    Photograph(
        "gravel",
        source="ambientcg",
        url="https://cc0textures.com/view.php?tex=Gravel04",
        author="ambientCG",
        category="stone",
        shade=(20, 19, 18),
        light=(214, 208, 198),
        relief=8.0,
        roughness=(0.60, 0.90),
    ),
    Photograph(
        "grass",
        source="deviantart",
        url="https://www.deviantart.com/linolafett/art/Grass-01-434853879",
        author="linolafett",
        category="organic",
        shade=(10, 18, 6),
        light=(170, 206, 96),
        relief=8.0,
        roughness=(0.55, 0.85),
    ),
)
SOURCES = tuple(dict.fromkeys(photograph.source for photograph in PHOTOGRAPHS))


@dataclass(frozen=True)
class Patch:
    """The square of a photograph that a material shows."""

    photograph: Photograph
    row: int
    column: int
    size: int
    id: str

    def grey(self, tier: Tier) -> np.ndarray:
        pixels = _pixels(self.photograph.name)
        patch = pixels[self.row : self.row + self.size, self.column : self.column + self.size]
        return textures.resize(patch, tier.size)


def patches(tier: Tier) -> list[Patch]:
    """Return the patches of a source that are large enough for `tier`, alternating between its photographs.

    Raises:
        ValueError: If there is no photograph of that source, or none is large enough.
    """
    photographs = [photograph for photograph in PHOTOGRAPHS if photograph.source == tier.source]
    if not photographs:
        raise ValueError(
            f"source {tier.source}: scikit-image ships photographs from {' and '.join(SOURCES)}; "
            "choose one of them, or use your own textures with --textures DIR"
        )
    if tier.size > PHOTOGRAPH_SIZE:
        fitting = ", ".join(name for name, size in TIERS.items() if size <= PHOTOGRAPH_SIZE)
        raise ValueError(
            f"the photographs that scikit-image ships are {PHOTOGRAPH_SIZE} x {PHOTOGRAPH_SIZE}, too small for "
            f"tier {tier.name} ({tier.size} x {tier.size}): choose one of {fitting}, or use your own textures with "
            "--textures DIR"
        )
    found = [Patch(each, 0, 0, PHOTOGRAPH_SIZE, f"{each.name}_whole") for each in photographs]
    if tier.size <= PATCH_SIZE:
        found += [
            Patch(each, row * STRIDE, column * STRIDE, PATCH_SIZE, f"{each.name}_r{row:02}_c{column:02}")
            for row in range(GRID)
            for column in range(GRID)
            for each in photographs
        ]
    return found


def material(patch: Patch) -> Material:
    """Return the catalog entry of a patch, with the `mat_vis` block that mat-vis-client searches."""
    photograph = patch.photograph
    low, high = np.array(photograph.shade) / 255, np.array(photograph.light) / 255
    about = {
        "name": patch.id.replace("_", " "),
        "category": photograph.category,
        "tags": [photograph.name, "photograph"],
        "description": (
            f"Pixels {patch.column},{patch.row} to {patch.column + patch.size},{patch.row + patch.size} of "
            f"scikit-image's photograph {photograph.name}; the maps are computed from it."
        ),
        "physical": {"dimensions_m": None, "max_resolution_px": [patch.size, patch.size]},
        "pbr": {
            "color_rgb": [round(float(value), 3) for value in (low + high) / 2],
            "roughness": round(sum(photograph.roughness) / 2, 3),
            "metalness": 0.0,
            "ior": None,
            "specular_f0": None,
            "transmission": None,
            "complex_ior": None,
        },
        "attribution": {
            "authors": [photograph.author],
            "license_spdx": "CC0-1.0",
            "source_url": photograph.url,
        },
        "dates": {"published": None, "updated": None},
        "upstream_id": photograph.name,
    }
    return Material(patch.id, CHANNELS, {"mat_vis": about})


def render(patch: Patch, tier: Tier) -> dict[str, bytes]:
    """Return all channels of one material at one tier, as PNGs."""
    photograph, grey = patch.photograph, patch.grey(tier)
    height = 1 - grey if photograph.dark_is_high else grey
    pitch = patch.size / tier.size
    lo, hi = photograph.roughness
    maps = {
        "ao": textures.ao_map(height, pitch=pitch),
        "color": textures.color_map(grey, shade=photograph.shade, light=photograph.light),
        "normal": textures.normal_map(height, relief=photograph.relief, pitch=pitch),
        "roughness": textures.roughness_map(height, lo=lo, hi=hi, pitch=pitch),
    }
    return {channel: textures.encode(image) for channel, image in maps.items()}


@cache
def _pixels(name: str) -> np.ndarray:
    return getattr(data, name)() / 255
