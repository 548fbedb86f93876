"""The three kinds of commit: their order, what a refusal, a conflict or a lost answer does to them."""

import json

import pytest

pytest.importorskip("skimage", reason="importing the examples' package asks for all that it computes with")

from baking import publish
from baking.layout import MANIFEST, Material, Tier
from baking.log import Log
from huggingface_hub.errors import HfHubHTTPError

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


def made(hub):
    """The paths of each commit, without the repository's first."""
    return [set(commit.paths) for commit in hub.commits if commit.revision.endswith(RELEASE)]


def test_batches_then_catalog_and_manifest_then_the_sentinel(local_hub, release):
    run(release)
    assert made(local_hub) == [
        {path for material in batch for path in TIER.paths(material)}
        for batch in (MATERIALS[:2], MATERIALS[2:4], MATERIALS[4:])
    ] + [{"ambientcg.json", MANIFEST}, {"ambientcg/256/.tier_complete"}]


def test_the_lines_of_a_run(local_hub, release, capsys):
    run(release)
    assert capsys.readouterr().out.splitlines() == [
        "bake_plan source=ambientcg tier=256 materials=5 skipped_preflight=0 batches=3",
        "bake_progress source=ambientcg tier=256 committed=2/5 files=4 elapsed=0m0s",
        "bake_progress source=ambientcg tier=256 committed=4/5 files=4 elapsed=0m0s",
        "bake_progress source=ambientcg tier=256 committed=5/5 files=2 elapsed=0m0s",
        "bake_done source=ambientcg tier=256 materials=5 commits=5 elapsed=0m0s",
    ]


def test_what_was_committed_can_be_read_back(local_hub, release):
    run(release)
    head = release.head()
    assert release.read("ambientcg/256/m3/normal.png", head) == b"m3 normal"
    assert release.read(TIER.sentinel, head) == b"v2026.04.2\n"
    assert release.read_json(MANIFEST, head, None)["sources"]["ambientcg"]["tiers"] == {"256": {"complete": True}}
    assert len(release.read_json(TIER.catalog, head, None)) == 5


def test_a_second_run_commits_nothing(local_hub, release, capsys):
    run(release)
    before = made(local_hub)
    capsys.readouterr()
    run(release)
    assert made(local_hub) == before
    assert capsys.readouterr().out.splitlines() == [
        "bake_plan source=ambientcg tier=256 materials=5 skipped_preflight=5 batches=0",
        "bake_done source=ambientcg tier=256 materials=5 commits=0 elapsed=0m0s",
    ]


def test_a_material_without_all_its_channels_is_committed_again(local_hub, release):
    run(release)
    release.api.delete_file("ambientcg/256/m3/normal.png", REPO, repo_type="dataset", revision=RELEASE)
    before = len(made(local_hub))
    run(release)
    [commit] = made(local_hub)[before:]
    assert "ambientcg/256/m3/normal.png" in commit <= set(TIER.paths(MATERIALS[3]))


def test_a_batch_is_rendered_only_when_the_one_before_it_is_committed(local_hub, release):
    """So that memory holds one batch."""
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
def test_refused_commits_are_waited_out(local_hub, release, time, capsys):
    run(release)
    assert len(made(local_hub)) == 5
    throttled = [line for line in capsys.readouterr().out.splitlines() if line.startswith("bake_throttle ")]
    assert len(throttled) == len(local_hub.refusals)
    assert sum(time.waits) >= 2 * 3600  # five commits at two an hour: two windows have to pass


COMMITS = 5


@pytest.mark.parametrize("applied", [False, True], ids=["before it is applied", "after it is applied"])
@pytest.mark.parametrize("dying", range(COMMITS))
def test_a_run_that_dies_at_any_commit_loses_at_most_that_one_and_is_resumed(local_hub, release, dying, applied):
    local_hub.drop(on="commit", after=dying, applied=applied)
    with pytest.raises(Exception):  # noqa: B017, PT011  # a lost connection: which class depends on the HTTP library
        run(release)
    assert len(made(local_hub)) == dying + applied
    run(release)
    assert len(made(local_hub)) == COMMITS
    assert release.files("ambientcg") == {path for each in MATERIALS for path in TIER.paths(each)} | {TIER.sentinel}
    assert len(release.read_json(TIER.catalog, release.head(), None)) == 5


def conflict(hub, times):
    """Answer 412 to that many commits of catalog and manifest."""
    hub.answer(412, body={"error": "A commit has happened since."}, on="commit", after=3, times=times)


def test_a_conflict_is_read_again_merged_again_and_tried_again(local_hub, release, capsys):
    """Another program commits its own entry between our reading the manifest and our writing it."""
    other = publish.Release(ThrottledHfApi(local_hub.url, token="hf_x"), REPO, RELEASE)
    head = release.head
    once = [Tier("polyhaven", "1k")]

    def head_then_other_commit():
        sha = head()
        while once:
            publish.commit_index(other, once.pop(), [Material("planks", ("color",))], Log("bake", TIER))
        return sha

    release.head = head_then_other_commit
    run(release)
    assert release.read_json(MANIFEST, head(), None)["sources"].keys() == {"ambientcg", "polyhaven"}
    assert "bake_conflict source=ambientcg retry=1/10 reason=412 wait_s=0.0 elapsed=0m0s" in capsys.readouterr().out


def test_conflicts_without_end_end(local_hub, release):
    conflict(local_hub, times=publish.MAX_CONFLICTS + 1)
    with pytest.raises(HfHubHTTPError) as caught:
        run(release)
    assert caught.value.response.status_code == 412
    assert len(made(local_hub)) == 3  # the batches


def test_as_many_conflicts_as_are_allowed_are_survived(local_hub, release):
    conflict(local_hub, times=publish.MAX_CONFLICTS)
    run(release)
    assert len(made(local_hub)) == COMMITS


def test_a_manifest_that_cannot_be_read_is_an_error_and_not_an_empty_one(local_hub, release):
    """Taking it for empty would delete every other source's entry."""
    run(release)
    local_hub.answer(403, body={"error": "no"}, on="resolve")
    with pytest.raises(HfHubHTTPError):
        run(release, tier=Tier("polyhaven", "1k"))
    assert json.loads(release.read(MANIFEST, release.head()))["sources"].keys() == {"ambientcg"}
