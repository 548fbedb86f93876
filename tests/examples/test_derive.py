"""derive.py: publish a smaller tier of a finished one; mat-vis-client reads both."""

import io
import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("skimage", reason="the examples compute textures with scikit-image")

import bake
import derive
import numpy as np
from PIL import Image

from baking import textures

REPO, RELEASE = "me/mat-vis-tst", "v2026.04.2"
LARGE = ("--tier", "256", "--limit", "4", "--batch-size", "2")
SMALLER = ("--from-tier", "256", "--tier", "128", "--batch-size", "2")


def test_a_derived_tier_is_the_larger_one_resized(program, local_hub, tree, read):
    assert program(bake, *LARGE).code == 0
    outcome = program(derive, *SMALLER)
    assert outcome.code == 0, outcome.err
    assert [line.split()[0] for line in outcome.out] == [
        "derive_plan",
        "derive_progress",
        "derive_progress",
        "derive_done",
    ]
    large = {path.removeprefix("ambientcg/256/") for path in tree() if path.startswith("ambientcg/256/")}
    small = {path.removeprefix("ambientcg/128/") for path in tree() if path.startswith("ambientcg/128/")}
    assert small == large
    assert len(small) == 4 * 4 + 1
    for channel in ("color", "normal", "roughness", "ao"):
        before, after = (read(f"ambientcg/{tier}/gravel_r00_c00/{channel}.png") for tier in ("256", "128"))
        assert after == textures.shrink(before, channel, 128)
        assert Image.open(io.BytesIO(after)).size == (128, 128)


def test_derived_normals_are_unit_vectors(program, local_hub, read):
    assert program(bake, *LARGE).code == 0
    assert program(derive, *SMALLER).code == 0
    vectors = textures.decode(read("ambientcg/128/gravel_whole/normal.png"), "normal") * 2 - 1
    assert np.allclose(np.linalg.norm(vectors, axis=2), 1, atol=0.01)


def test_the_catalog_and_the_manifest_have_both_tiers(program, local_hub, read):
    assert program(bake, *LARGE).code == 0
    before = json.loads(read("ambientcg.json"))
    assert program(derive, *SMALLER, "--limit", "3").code == 0
    after = json.loads(read("ambientcg.json"))
    assert [entry["available_tiers"] for entry in after] == [["256", "128"]] * 3 + [["256"]]
    strip = [{**entry, "available_tiers": None} for entry in before]
    assert [{**entry, "available_tiers": None} for entry in after] == strip
    manifest = json.loads(read("release-manifest.json"))
    assert manifest["sources"]["ambientcg"]["tiers"] == {"256": {"complete": True}, "128": {"complete": True}}


@pytest.mark.local_hub(limit=3)
def test_refusals_change_nothing_but_the_duration(program, local_hub, time):
    assert program(bake, *LARGE).code == 0
    outcome = program(derive, *SMALLER)
    assert outcome.code == 0, outcome.err
    assert len(outcome.lines("bake_throttle")) >= 1
    assert outcome.lines("derive_done")[0]["commits"] == "4"


def test_a_second_derive_commits_nothing(program, local_hub):
    assert program(bake, *LARGE).code == 0
    assert program(derive, *SMALLER).code == 0
    before = len(local_hub.commits)
    outcome = program(derive, *SMALLER)
    assert outcome.lines("derive_plan")[0]["skipped_preflight"] == "4"
    assert outcome.lines("derive_done")[0]["commits"] == "0"
    assert len(local_hub.commits) == before


def test_an_incomplete_tier_is_rejected(program, local_hub):
    local_hub.answer(403, on="commit", after=3)  # two batches, catalog and manifest, but no sentinel
    assert program(bake, *LARGE).code == 1
    before = len(local_hub.commits)
    outcome = program(derive, *SMALLER)
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert "tier 256 of source ambientcg is not complete (no ambientcg/256/.tier_complete); bake" in outcome.err
    assert len(local_hub.commits) == before


def test_a_missing_release_and_a_missing_repository_are_reported(program, local_hub):
    outcome = program(derive, *SMALLER)
    assert outcome.code == 1
    assert "me/mat-vis-tst" in outcome.err
    assert "no such repository, or HF_TOKEN may not see it" in outcome.err
    assert program(bake, *LARGE).code == 0
    outcome = program(derive, *SMALLER, "--release", "v1999.01.0")
    assert outcome.code == 1
    assert "no release v1999.01.0" in outcome.err


@pytest.mark.parametrize("tier", ["256", "512"])
def test_the_derived_tier_must_be_smaller(program, tier):
    outcome = program(derive, "--from-tier", "256", "--tier", tier)
    assert outcome.code == 2
    assert f"--from-tier 256 is not larger than --tier {tier}" in outcome.err


CLIENT = """
import io, json, sys
from mat_vis_client import MatVisClient
from PIL import Image

client = MatVisClient(tag=sys.argv[1], cache=False)
print(json.dumps({
    f"{source}/{tier}": {
        material: {
            channel: Image.open(io.BytesIO(png)).size
            for channel, png in client.fetch_all_textures(source, material, tier).items()
        }
        for material in client.materials(source, tier)
    }
    for source in client.sources()
    for tier in client.tiers(source)
} | {"categories": client.categories(), "found": len(client.search("stone", source="ambientcg", tier="128"))}))
"""


def test_mat_vis_client_reads_both_tiers(program, local_hub):
    pytest.importorskip("mat_vis_client", reason="needs mat-vis-client")
    assert program(bake, *LARGE).code == 0
    assert program(derive, *SMALLER).code == 0
    base = f"{local_hub.url}/datasets/{REPO}/resolve"
    found = subprocess.run(
        [sys.executable, "-c", CLIENT, RELEASE],
        env={**os.environ, "MAT_VIS_HF_BASE": base, "MAT_VIS_NO_UPDATE_CHECK": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    materials = ("brick_r00_c00", "brick_whole", "gravel_r00_c00", "gravel_whole")
    channels = ("ao", "color", "normal", "roughness")
    assert json.loads(found.stdout) == {
        f"ambientcg/{size}": {material: {channel: [size, size] for channel in channels} for material in materials}
        for size in (256, 128)
    } | {"categories": ["ceramic", "stone"], "found": 2}
