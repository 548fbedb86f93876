"""The demo: the whole of it once, in a hurry, and its death with plain HfApi."""

import re
import subprocess
import sys

import pytest

pytest.importorskip("skimage", reason="the examples compute textures with scikit-image")
pytest.importorskip("uvicorn", reason="the demo runs the local Hub")

import bake
import demo


def run(*arguments):
    command = [sys.executable, demo.__file__, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def rows(output):
    """The closing table: name -> (commits, refusals, last column)."""
    table = re.findall(r"^(bake \S+|derive \S+|the Hub's own count) +(\d+(?: of \d+)?) +(\d+) +(.*)$", output, re.M)
    return {name: (commits, int(refused), last) for name, commits, refused, last in table}


def test_all_is_published_and_verified_through_refusals():
    result = run("--window", "4")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "all 480 textures are there, each of its size" in result.stdout
    table = rows(result.stdout)
    assert [table[name][0] for name in ("bake ambientcg/256", "bake deviantart/256", "derive deviantart/128")] == [
        "8 of 8",
        "5 of 5",
        "5 of 5",
    ]
    throttled = re.findall(r"\| bake_throttle source=\S+ retry=\d/5 reason=429 wait_s=[\d.]+ elapsed=", result.stdout)
    commits, refused, lost = table["the Hub's own count"]
    assert (commits, lost) == ("18", "0 lost")
    assert refused == len(throttled) == result.stdout.count("hub_refused status=429") >= 1


def test_plain_hfapi_dies_as_foretold():
    result = run("--plain", "--window", "60")  # a window that does not reopen while they run
    assert result.returncode == 0, result.stdout + result.stderr
    assert "bake_throttle" not in result.stdout
    assert re.search(r"bake\.py: demo/mat-vis-tst at http\S+: 429 You have exceeded the rate limit", result.stdout)
    commits, _, lost = rows(result.stdout)["the Hub's own count"]
    assert (commits, lost) == ("5", "13 lost")
    assert re.search(r"Died of HTTP 429: .*bake ambientcg/256", result.stdout)


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
