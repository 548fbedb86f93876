"""The layout of a release: its tiers, channels and paths, its manifest and its catalogs.

    release-manifest.json                       which tiers of which sources are complete
    <source>.json                               the catalog: a list of materials
    <source>/<tier>/<material_id>/<channel>.png the textures
    <source>/<tier>/.tier_complete              the sentinel, committed last: the tier is complete

Pure functions, no I/O. Several programs write the manifest and the catalogs, so the merges only ever add to them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

MANIFEST = "release-manifest.json"
SCHEMA_VERSION = 3
CHANNELS = ("color", "normal", "roughness", "metalness", "ao", "displacement", "emission")
TIERS = {"8k": 8192, "4k": 4096, "2k": 2048, "1k": 1024, "512": 512, "256": 256, "128": 128}

# Names become path segments and values in log lines, so they contain no separators and no spaces.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Material:
    """A material in the catalog: its id, its channels, and its other fields."""

    id: str
    channels: tuple[str, ...]
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tier:
    """One source at one resolution, and the paths of its files in the repository."""

    source: str
    name: str

    @property
    def size(self) -> int:
        """The width and height of its textures, in pixels."""
        return TIERS[self.name]

    @property
    def folder(self) -> str:
        return f"{self.source}/{self.name}"

    @property
    def sentinel(self) -> str:
        return f"{self.folder}/.tier_complete"

    @property
    def catalog(self) -> str:
        return catalog_path(self.source)

    def texture(self, material_id: str, channel: str) -> str:
        return f"{self.folder}/{material_id}/{channel}.png"

    def paths(self, material: Material) -> list[str]:
        return [self.texture(material.id, channel) for channel in material.channels]


def catalog_path(source: str) -> str:
    return f"{source}.json"


def merge_manifest(manifest: dict[str, Any], release: str, tier: Tier) -> dict[str, Any]:
    """Return `manifest` with `tier` marked complete and all other entries unchanged."""
    sources = dict(manifest.get("sources", {}))
    entry = dict(sources.get(tier.source, {}))
    entry["catalog"] = tier.catalog
    entry["tiers"] = {**entry.get("tiers", {}), tier.name: {"complete": True}}
    sources[tier.source] = entry
    return {**manifest, "schema_version": SCHEMA_VERSION, "release_tag": release, "sources": sources}


def merge_catalog(catalog: list[dict[str, Any]], tier: Tier, materials: list[Material]) -> list[dict[str, Any]]:
    """Return `catalog` with `materials` available at `tier`, sorted by id. Other materials and tiers stay."""
    entries = {entry["id"]: entry for entry in catalog}
    for material in materials:
        known = entries.get(material.id, {})
        tiers = {*known.get("available_tiers", []), tier.name}
        entries[material.id] = {
            **known,
            **material.about,
            "id": material.id,
            "source": tier.source,
            "maps": sorted({*known.get("maps", []), *material.channels}),
            "available_tiers": [name for name in TIERS if name in tiers],
        }
    return [entries[key] for key in sorted(entries)]


def materials_at(catalog: list[dict[str, Any]], tier: Tier) -> list[Material]:
    """Return the materials that `catalog` lists at `tier`, sorted by id."""
    own = ("id", "source", "maps", "available_tiers")
    return [
        Material(
            entry["id"],
            tuple(entry["maps"]),
            {key: value for key, value in entry.items() if key not in own},
        )
        for entry in sorted(catalog, key=lambda entry: str(entry["id"]))
        if tier.name in entry.get("available_tiers", [])
    ]


def to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
