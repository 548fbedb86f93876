"""The three kinds of commit: their order, and their behaviour at a refusal, a conflict or a lost response."""

import json
import re

import pytest

pytest.importorskip("skimage", reason="the examples' package needs its extra")

from huggingface_hub.errors import HfHubHTTPError

from baking import publish
from baking.layout import MANIFEST, Material, Tier
from baking.log import Log
from mat_vis_hub import ThrottledHfApi

REPO, RELEASE = "me/mat-vis-tst", "v2026.04.2"
TIER = Tier("ambientcg", "256")
MATERIALS = [Material(f"m{number}", ("color", "normal")) for number in range(5)]


def render(material):
    return {channel: f"{material.id} {channel}".encode() for channel in material.channels}


@pytest.fixture
def release(local_hub):
    release = publish.Release(ThrottledHfApi(local_hub.url, token="hf_x", source=TIER.source), REPO, RELEASE)
    release.create()
    return release


def run(release, *, tier=TIER, materials=MATERIALS, render=render, batch_size=2):
    release.commits = 0
    publish.publish(release, tier, materials, render, batch_size=batch_size, log=Log("bake", tier))


def lines(capsys):
    """The printed lines, without the elapsed time."""
    return re.sub(r"elapsed=\d+m\d+s$", "elapsed=#", capsys.readouterr().out, flags=re.M).splitlines()


def read_json(release, path):
    return json.loads(release.read(path, release.head()))


def made(hub):
    """The paths of each commit, without the initial commit of the repository."""
    return [set(commit.paths) for commit in hub.commits if commit.revision.endswith(RELEASE)]


def test_batches_then_catalog_and_manifest_then_the_sentinel(local_hub, release):
    run(release)
    assert made(local_hub) == [
        {path for material in batch for path in TIER.paths(material)}
        for batch in (MATERIALS[:2], MATERIALS[2:4], MATERIALS[4:])
    ] + [{"ambientcg.json", MANIFEST}, {"ambientcg/256/.tier_complete"}]


def test_a_batch_with_many_files_is_one_commit(local_hub, release):
    materials = [Material(f"m{number}", ("color", "normal", "roughness", "ao")) for number in range(30)]
    run(release, materials=materials, batch_size=28)
    assert [len(paths) for paths in made(local_hub)] == [28 * 4, 2 * 4, 2, 1]


def test_the_lines_of_a_run(local_hub, release, capsys):
    run(release)
    assert lines(capsys) == [
        "bake_plan source=ambientcg tier=256 materials=5 skipped_preflight=0 batches=3",
        "bake_progress source=ambientcg tier=256 committed=2/5 files=4 elapsed=#",
        "bake_progress source=ambientcg tier=256 committed=4/5 files=4 elapsed=#",
        "bake_progress source=ambientcg tier=256 committed=5/5 files=2 elapsed=#",
        "bake_done source=ambientcg tier=256 materials=5 commits=5 elapsed=#",
    ]


def test_committed_files_can_be_read_back(local_hub, release):
    run(release)
    head = release.head()
    assert release.read("ambientcg/256/m3/normal.png", head) == b"m3 normal"
    assert release.read(TIER.sentinel, head) == b"v2026.04.2\n"
    assert read_json(release, MANIFEST)["sources"]["ambientcg"]["tiers"] == {"256": {"complete": True}}
    assert len(read_json(release, TIER.catalog)) == 5


def test_a_second_run_commits_nothing(local_hub, release, capsys):
    run(release)
    before = made(local_hub)
    capsys.readouterr()
    run(release)
    assert made(local_hub) == before
    assert lines(capsys) == [
        "bake_plan source=ambientcg tier=256 materials=5 skipped_preflight=5 batches=0",
        "bake_done source=ambientcg tier=256 materials=5 commits=0 elapsed=#",
    ]


def test_a_material_without_all_its_channels_is_committed_again(local_hub, release):
    run(release)
    release.api.delete_file("ambientcg/256/m3/normal.png", REPO, repo_type="dataset", revision=RELEASE)
    before = len(made(local_hub))
    run(release)
    [commit] = made(local_hub)[before:]
    assert "ambientcg/256/m3/normal.png" in commit <= set(TIER.paths(MATERIALS[3]))


def test_a_batch_is_rendered_after_the_previous_one_is_committed(local_hub, release):
    """Memory then holds one batch."""
    commits_before = {}

    def watched(material):
        commits_before[material.id] = len(made(local_hub))
        return render(material)

    run(release, render=watched)
    assert commits_before == {"m0": 0, "m1": 0, "m2": 1, "m3": 1, "m4": 2}


def test_two_writers_of_a_new_repository_may_create_it_at_once(local_hub, release):
    publish.Release(release.api, REPO, RELEASE).create()
    assert release.head()


@pytest.mark.local_hub(limit=2, window=3600)
def test_the_run_waits_for_refused_commits(local_hub, release, time, capsys):
    run(release)
    assert len(made(local_hub)) == 5
    throttled = [line for line in capsys.readouterr().out.splitlines() if line.startswith("bake_throttle ")]
    assert len(throttled) == len(local_hub.refusals)
    assert sum(time.waits) >= 2 * 3600  # five commits at two per hour take two more windows


COMMITS = 5


@pytest.mark.parametrize("applied", [False, True], ids=["before it is applied", "after it is applied"])
@pytest.mark.parametrize("dying", range(COMMITS))
def test_a_run_that_dies_at_any_commit_is_resumed_and_loses_at_most_that_commit(local_hub, release, dying, applied):
    local_hub.drop(on="commit", after=dying, applied=applied)
    with pytest.raises(Exception):  # noqa: B017, PT011  # a lost connection: which class depends on the HTTP library
        run(release)
    assert len(made(local_hub)) == dying + applied
    run(release)
    assert len(made(local_hub)) == COMMITS
    assert release.files("ambientcg") == {path for each in MATERIALS for path in TIER.paths(each)} | {TIER.sentinel}
    assert len(read_json(release, TIER.catalog)) == 5


def test_after_a_conflict_the_manifest_is_read_merged_and_committed_again(local_hub, release, time, capsys):
    """Another program commits its own entry after we read the manifest and before we write it."""
    planks = [Material("planks", ("color",))]

    class Interrupted(ThrottledHfApi):
        def create_commit(self, *args, parent_commit=None, **kwargs):
            if parent_commit and planks:
                publish.commit_index(release, Tier("polyhaven", "1k"), [planks.pop()])
            return super().create_commit(*args, parent_commit=parent_commit, **kwargs)

    run(publish.Release(Interrupted(local_hub.url, token="hf_x"), REPO, RELEASE))
    assert read_json(release, MANIFEST)["sources"].keys() == {"ambientcg", "polyhaven"}
    assert "bake_conflict source=ambientcg repo=me/mat-vis-tst retry=1/6 reason=412 elapsed=#" in lines(capsys)


def test_endless_conflicts_raise_in_the_end(local_hub, release, time):
    local_hub.answer(412, body={"error": "A commit has happened since."}, on="commit", after=3, times=100)
    with pytest.raises(HfHubHTTPError) as caught:
        run(release)
    assert caught.value.response.status_code == 412
    assert len(made(local_hub)) == 3  # the batches


def test_an_unreadable_manifest_is_not_treated_as_empty(local_hub, release):
    """That would delete the entries of all other sources."""
    run(release)
    local_hub.answer(403, body={"error": "no"}, on="resolve", times=100)
    with pytest.raises((HfHubHTTPError, FileNotFoundError)):  # huggingface_hub wraps the one in the other
        publish.commit_index(release, Tier("polyhaven", "1k"), MATERIALS)
    local_hub.clear()
    assert read_json(release, MANIFEST)["sources"].keys() == {"ambientcg"}
