"""The demo: the whole of it once, in a hurry, and its death with plain HfApi."""

import re
import sys

import pytest

pytest.importorskip("skimage", reason="the examples compute textures with scikit-image")
pytest.importorskip("uvicorn", reason="the demo runs the local Hub")

import bake
import demo


@pytest.fixture
def run(capfd, monkeypatch):
    """Run the demo with ten commits, small ones; return its exit code and what it printed."""
    monkeypatch.setattr(demo, "BATCH", 3)
    monkeypatch.setattr(demo, "MATERIALS", {tier: count // 10 for tier, count in demo.MATERIALS.items()})
    for variable in ("MAT_VIS_HF_BASE", "NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "")  # the demo sets them, and the client reads its own when it is imported

    def run(*arguments):
        code = demo.main([*arguments])
        return code, capfd.readouterr().out

    yield run
    for module in [name for name in sys.modules if name.startswith("mat_vis_client")]:
        del sys.modules[module]


def rows(output):
    """The closing table: name -> (commits, refusals, last column)."""
    table = re.findall(r"^(bake \S+|derive \S+|the Hub's own count) +(\d+(?: of \d+)?) +(\d+) +(.*)$", output, re.M)
    return {name: (commits, int(refused), last) for name, commits, refused, last in table}


def test_all_is_published_and_verified_through_refusals(run):
    code, out = run()
    assert code == 0, out
    assert "all 48 textures are there, each of its size" in out
    table = rows(out)
    assert [table[name][0] for name in ("bake ambientcg/256", "bake deviantart/256", "derive deviantart/128")] == [
        "4 of 4",
        "3 of 3",
        "3 of 3",
    ]
    throttled = re.findall(r"\| bake_throttle source=\S+ retry=\d/5 reason=429 wait_s=[\d.]+ elapsed=", out)
    commits, refused, lost = table["the Hub's own count"]
    assert (commits, lost) == ("10", "0 lost")
    assert refused == len(throttled) == out.count("hub_refused status=429") >= 1


def test_plain_hfapi_dies_as_foretold(run):
    code, out = run("--plain", "--window", "3600")  # a window that does not reopen while they run
    assert code == 0, out
    assert "bake_throttle" not in out
    assert re.search(r"bake\.py: demo/mat-vis-tst at http\S+: 429 You have exceeded the rate limit", out)
    commits, _, lost = rows(out)["the Hub's own count"]
    assert (commits, lost) == ("5", "5 lost")
    assert re.search(r"Died of HTTP 429: bake (ambientcg|deviantart)/256", out)


def test_a_writer_that_fails_is_no_success(run, monkeypatch):
    monkeypatch.setattr(demo, "RELEASE", "no good")  # which the programs refuse
    code, out = run("--window", "3600")
    assert code == 1
    assert "Failed: bake ambientcg/256, bake deviantart/256." in out


@pytest.fixture
def published(program, monkeypatch):
    monkeypatch.setattr(demo, "MATERIALS", {"ambientcg/128": 2})
    assert program(bake, "--repo", demo.REPO, "--release", demo.RELEASE, "--tier", "128", "--limit", "2").code == 0


def test_without_the_published_client_it_reads_by_plain_http(local_hub, published, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    verdict = demo.verify(local_hub.url, tmp_path)
    assert verdict.good
    assert verdict.text == "Read back with plain HTTP: all 8 textures are there, each of its size."


def test_a_missing_texture_is_no_success(local_hub, published, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    monkeypatch.setitem(demo.MATERIALS, "ambientcg/128", 3)
    assert not demo.verify(local_hub.url, tmp_path).good
