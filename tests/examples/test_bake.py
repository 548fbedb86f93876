"""bake.py: publish photographs or a folder of textures as a release."""

import io
import json
import os
import re
import signal
import subprocess
import sys

import pytest

pytest.importorskip("skimage", reason="the examples compute textures with scikit-image")

from concurrent.futures import ThreadPoolExecutor

import bake
from huggingface_hub import HfApi
from huggingface_hub.utils import tqdm
from PIL import Image

from mat_vis_hub.local_hub import LocalHub

REPO, RELEASE = "me/mat-vis-tst", "v2026.04.2"
SMALL = ("--tier", "128", "--limit", "6", "--batch-size", "2")


def test_a_bake_commits_every_file(program, local_hub, tree):
    outcome = program(bake, *SMALL)
    assert outcome.code == 0, outcome.err
    (done,) = outcome.lines("bake_done")
    assert re.fullmatch(r"\d+m\d+s", done.pop("elapsed"))
    assert done == {"source": "ambientcg", "tier": "128", "materials": "6", "commits": "5"}
    files = set(tree())
    assert len([path for path in files if path.startswith("ambientcg/128/") and path.endswith(".png")]) == 6 * 4
    assert {"release-manifest.json", "ambientcg.json", "ambientcg/128/.tier_complete"} < files


@pytest.mark.local_hub(limit=3)
def test_refusals_change_nothing_but_the_duration(program, local_hub, tree, time):
    outcome = program(bake, *SMALL)
    assert outcome.code == 0, outcome.err
    throttled = outcome.lines("bake_throttle")
    assert len(throttled) == len(local_hub.refusals) >= 1
    assert {line["source"] for line in throttled} == {"ambientcg"}
    with LocalHub(limit=None) as unlimited:  # the same bake without refusals
        assert program(bake, *SMALL, "--endpoint", unlimited.url).code == 0
        entries = HfApi(endpoint=unlimited.url).list_repo_tree(
            REPO, repo_type="dataset", revision=RELEASE, recursive=True
        )
        assert tree() == {entry.path: entry.blob_id for entry in entries if hasattr(entry, "blob_id")}


@pytest.mark.local_hub(limit=4)
def test_two_bakes_at_once_share_the_manifest(local_hub, read, time, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    # tqdm's thread pools delete their lock when they end, even if another thread uses it. Not if it existed before.
    tqdm.get_lock()

    def run(source):
        return bake.main(["--repo", REPO, "--release", RELEASE, "--source", source, *SMALL])

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(run, ["ambientcg", "deviantart"])) == [0, 0]
    tiers = {"128": {"complete": True}}
    assert json.loads(read("release-manifest.json")) == {
        "schema_version": 3,
        "release_tag": RELEASE,
        "sources": {
            "ambientcg": {"catalog": "ambientcg.json", "tiers": tiers},
            "deviantart": {"catalog": "deviantart.json", "tiers": tiers},
        },
    }


def test_a_killed_bake_is_resumed_and_ends_with_the_same_tree(program, local_hub, tree):
    """Kill it with a signal after its first batch."""
    local_hub.delay(3600, on="commit", after=2)  # so that it cannot finish first, however slow this process is
    command = [sys.executable, bake.__file__, "--repo", REPO, "--release", "killed", "--source", "ambientcg"]
    bake_process = subprocess.Popen(
        [*command, "--tier", "128", "--limit", "40", "--batch-size", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "HF_ENDPOINT": local_hub.url, "HF_TOKEN": "hf_test"},
    )
    with bake_process:
        while not bake_process.stdout.readline().startswith("bake_progress"):
            assert bake_process.poll() is None
        bake_process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    assert bake_process.returncode != 0
    local_hub.clear()
    assert "ambientcg/128/.tier_complete" not in tree("killed")

    again = ("--tier", "128", "--limit", "40", "--batch-size", "40")
    resumed = program(bake, "--release", "killed", *again)
    assert resumed.code == 0
    assert int(resumed.lines("bake_plan")[0]["skipped_preflight"]) >= 2
    assert program(bake, "--release", "in-one-go", *again).code == 0
    # The sentinel and the manifest contain the name of the release.
    named = ("release-manifest.json", "ambientcg/128/.tier_complete")
    killed, whole = tree("killed"), tree("in-one-go")
    assert set(killed) == set(whole)
    assert {path for path in killed if killed[path] != whole[path]} == set(named)


def test_a_larger_limit_later_adds_materials(program, read):
    assert program(bake, "--tier", "128", "--limit", "2").code == 0
    outcome = program(bake, "--tier", "128", "--limit", "3")
    assert outcome.lines("bake_plan")[0]["skipped_preflight"] == "2"
    assert len(json.loads(read("ambientcg.json"))) == 3


def test_a_tier_too_large_for_the_photographs_is_rejected(program, local_hub):
    outcome = program(bake, "--tier", "1k")
    assert outcome.code == 2
    assert "512 x 512, too small for tier 1k (1024 x 1024)" in outcome.err
    assert local_hub.requests == []


def test_a_folder_of_your_own_textures(program, tree, read, tmp_path):
    for path, size in {"oak/color": 128, "oak/normal": 200, "slate/color": 512}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        Image.new("RGB", (size, size), (128, 128, 255)).save(tmp_path / f"{path}.png")
    outcome = program(bake, "--source", "mine", "--tier", "128", "--textures", str(tmp_path))
    assert outcome.code == 0, outcome.err
    assert {path for path in tree() if path.startswith("mine/")} == {
        "mine/128/.tier_complete",
        "mine/128/oak/color.png",
        "mine/128/oak/normal.png",
        "mine/128/slate/color.png",
    }
    assert {entry["id"]: entry["maps"] for entry in json.loads(read("mine.json"))} == {
        "oak": ["color", "normal"],
        "slate": ["color"],
    }
    for texture in ("oak/color", "oak/normal", "slate/color"):
        assert Image.open(io.BytesIO(read(f"mine/128/{texture}.png"))).size == (128, 128)


def test_a_bad_folder_is_reported_before_anything_is_uploaded(program, local_hub, tmp_path):
    (tmp_path / "oak").mkdir()
    Image.new("RGB", (128, 128)).save(tmp_path / "oak" / "color.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "oak" / "normal.png")
    outcome = program(bake, "--source", "mine", "--tier", "128", "--textures", str(tmp_path))
    assert outcome.code == 2
    assert outcome.err.endswith("normal.png: 64 x 64, too small for tier 128 (128 x 128)\n")
    assert local_hub.requests == []
