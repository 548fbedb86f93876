"""The layout of a release: paths, manifest and catalog."""

import json

import pytest

pytest.importorskip("skimage", reason="the examples' package needs its extra")

from baking import layout
from baking.layout import Material, Tier

TIER = Tier("ambientcg", "256")
BRICK = Material("brick", ("color", "normal"), {"mat_vis": {"name": "Brick"}})


def test_paths():
    assert TIER.size == 256
    assert TIER.catalog == "ambientcg.json"
    assert TIER.sentinel == "ambientcg/256/.tier_complete"
    assert TIER.paths(BRICK) == ["ambientcg/256/brick/color.png", "ambientcg/256/brick/normal.png"]


def test_the_first_manifest():
    assert layout.merge_manifest({}, "v2026.04.2", TIER) == {
        "schema_version": 3,
        "release_tag": "v2026.04.2",
        "sources": {"ambientcg": {"catalog": "ambientcg.json", "tiers": {"256": {"complete": True}}}},
    }


def test_a_manifest_keeps_the_entries_of_other_writers():
    others = {
        "schema_version": 3,
        "release_tag": "v2026.04.2",
        "note": "kept",
        "sources": {
            "ambientcg": {"catalog": "ambientcg.json", "mtlx": "x.json", "tiers": {"1k": {"complete": True}}},
            "polyhaven": {"catalog": "polyhaven.json", "tiers": {"1k": {"complete": True}}},
        },
    }
    before = json.dumps(others)
    merged = layout.merge_manifest(others, "v2026.04.2", TIER)
    assert merged["note"] == "kept"
    assert merged["sources"]["polyhaven"] == others["sources"]["polyhaven"]
    assert merged["sources"]["ambientcg"] == {
        "catalog": "ambientcg.json",
        "mtlx": "x.json",
        "tiers": {"1k": {"complete": True}, "256": {"complete": True}},
    }
    assert json.dumps(others) == before


def test_a_catalog_entry():
    assert layout.merge_catalog([], TIER, [BRICK]) == [
        {
            "id": "brick",
            "source": "ambientcg",
            "maps": ["color", "normal"],
            "available_tiers": ["256"],
            "mat_vis": {"name": "Brick"},
        }
    ]


def test_a_catalog_grows_by_tiers_and_by_materials_and_never_shrinks():
    catalog = layout.merge_catalog([], TIER, [BRICK, Material("gravel", ("color",))])
    catalog = layout.merge_catalog(catalog, Tier("ambientcg", "128"), [BRICK])
    catalog = layout.merge_catalog(catalog, TIER, [Material("asphalt", ("color",))])
    assert {entry["id"]: entry["available_tiers"] for entry in catalog} == {
        "asphalt": ["256"],
        "brick": ["256", "128"],
        "gravel": ["256"],
    }
    assert [entry["id"] for entry in catalog] == ["asphalt", "brick", "gravel"]


def test_merging_twice_changes_nothing():
    catalog = layout.merge_catalog([], TIER, [BRICK])
    manifest = layout.merge_manifest({}, "v1", TIER)
    assert layout.merge_catalog(catalog, TIER, [BRICK]) == catalog
    assert layout.merge_manifest(manifest, "v1", TIER) == manifest


def test_materials_are_read_back_from_a_catalog():
    catalog = layout.merge_catalog([], TIER, [BRICK])
    assert layout.materials_at(catalog, TIER) == [BRICK]
    assert layout.materials_at(catalog, Tier("ambientcg", "128")) == []


def test_json_is_deterministic_and_readable():
    assert layout.to_json({"b": "ü", "a": 1}) == '{\n  "a": 1,\n  "b": "ü"\n}\n'.encode()
