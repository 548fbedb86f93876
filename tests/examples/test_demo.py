"""The demo: a shortened run in each mode, the Hub's clock, and the ways in which it must fail."""

import re
import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("skimage", reason="the examples compute textures with scikit-image")
pytest.importorskip("uvicorn", reason="the demo runs the local Hub")

import bake
import demo
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

WRITERS = ("bake ambientcg/256", "bake deviantart/256", "derive deviantart/128")


@pytest.fixture
def run(capfd, monkeypatch):
    """Run the demo with ten small commits; return its exit code and its output."""
    monkeypatch.setattr(demo, "BATCH", 3)
    monkeypatch.setattr(demo, "MATERIALS", {tier: count // 10 for tier, count in demo.MATERIALS.items()})
    for variable in ("MAT_VIS_HF_BASE", "NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "")  # the demo sets these, so restore them afterwards

    def run(*arguments):
        code = demo.main([*arguments])
        return code, capfd.readouterr().out

    forget_client()
    yield run
    forget_client()


def forget_client():
    """mat_vis_client reads MAT_VIS_HF_BASE when it is imported, so each test needs a new import."""
    for module in [name for name in sys.modules if name.startswith("mat_vis_client")]:
        del sys.modules[module]


def rows(output):
    """The closing table: name -> (commits, refusals, last column)."""
    table = re.findall(r"^(bake \S+|derive \S+|the Hub's own count) +(\d+(?: of \d+)?) +(\d+) +(.*)$", output, re.M)
    return {name: (commits, int(refused), last) for name, commits, refused, last in table}


def test_refusals_are_shown_and_everything_is_published(run):
    code, out = run("--window", "1")  # shorter than any writer needs for five commits
    assert code == 0, out
    assert "all 48 textures are there, each of its size" in out
    table = rows(out)
    assert [table[name][0] for name in WRITERS] == ["4 of 4", "3 of 3", "3 of 3"]
    throttled = re.findall(r"\| bake_throttle source=\S+ retry=\d/5 reason=429 wait_s=[\d.]+ elapsed=", out)
    commits, refused, lost = table["the Hub's own count"]
    assert (commits, lost) == ("10", "0 lost")
    assert refused == len(throttled) == out.count("hub_refused status=429") >= 1
    assert len(re.findall(r"\| bake_recovered source=\S+ repo=demo/mat-vis-tst oid=\w{40}$", out, re.M)) == 1


def test_plain_writers_die_of_429_once_the_window_is_spent(run):
    code, out = run("--plain", "--window", "1")  # the window stays closed however long they take
    assert code == 0, out
    assert "bake_throttle" not in out
    assert re.search(r"bake\.py: demo/mat-vis-tst at http\S+: 429 You have exceeded the rate limit", out)
    table = rows(out)
    commits, _, lost = table["the Hub's own count"]
    assert (commits, lost) == ("5", "5 lost")
    (verdict,) = re.findall(r"^Died of HTTP 429: .*$", out, re.M)
    for name in WRITERS:
        made, planned = table[name][0].split(" of ")
        assert (name in verdict) == (made != planned)


def test_a_demo_without_a_refusal_fails(run, monkeypatch):
    monkeypatch.setattr(demo, "LIMIT", 100)
    code, out = run()
    assert code == 1
    assert "Failed: expected at least 1 refused commits, saw 0." in out


def test_a_plain_demo_without_a_refusal_fails(run, monkeypatch):
    monkeypatch.setattr(demo, "LIMIT", 100)
    code, out = run("--plain")
    assert code == 1
    assert "Plain HfApi should have died of HTTP 429." in out


def test_a_demo_with_a_failed_writer_fails(run, monkeypatch):
    monkeypatch.setattr(demo, "RELEASE", "no good")  # not a valid branch name
    code, out = run()
    assert code == 1
    assert "Failed: bake ambientcg/256, bake deviantart/256." in out


def test_a_plain_demo_fails_if_a_writer_dies_of_something_else(run, monkeypatch):
    monkeypatch.setattr(demo, "RELEASE", "no good")
    code, out = run("--plain")
    assert code == 1
    assert "Failed, but not of HTTP 429: bake ambientcg/256, bake deviantart/256." in out


class TestWindowClock:
    """The Hub's clock, beside a real one that the test sets."""

    @pytest.fixture
    def real(self):
        return SimpleNamespace(now=0.0)

    @pytest.fixture
    def clock(self, real):
        return demo.WindowClock(limit=2, window=6, real=lambda: real.now)

    @pytest.fixture
    def hub(self, request, clock):
        request.node.add_marker(pytest.mark.local_hub(limit=2, window=6, clock=clock))
        return request.getfixturevalue("local_hub")

    @pytest.fixture
    def commit(self, hub):
        """Commit, and return whether the Hub accepted it."""
        api = HfApi(endpoint=hub.url, token="hf_any")
        api.create_repo("me/x-tst")

        def commit():
            before = len(hub.commits)
            operation = CommitOperationAdd("number.txt", str(before).encode())
            try:
                api.create_commit("me/x-tst", [operation], commit_message="x")
            except HfHubHTTPError as error:
                if error.response.status_code != 429:
                    raise
            return len(hub.commits) == before + 1

        return commit

    def test_a_slow_writer_is_refused_after_each_spent_window(self, hub, commit, clock, real):
        clock.watch(hub)
        for _ in range(3):
            for _ in range(2):
                assert commit()
                real.now += 3600
            assert not commit()
            real.now += 6

    def test_the_window_reopens_after_its_length_in_real_time(self, hub, commit, clock, real):
        clock.watch(hub)
        assert [commit(), commit(), commit()] == [True, True, False]
        real.now += 5.9
        assert not commit()
        real.now += 0.1
        assert commit()

    def test_the_window_reopens_for_a_writer_that_comes_back_much_later(self, hub, commit, clock, real):
        clock.watch(hub)
        assert [commit(), commit(), commit()] == [True, True, False]
        real.now += 1000
        assert [commit(), commit(), commit()] == [True, True, False]

    def test_it_stands_still_without_a_hub_to_watch(self, commit, clock, real):
        before = clock()
        assert [commit(), commit(), commit()] == [True, True, False]
        real.now += 3600
        assert not commit()
        assert clock() == before


@pytest.fixture
def published(program, monkeypatch):
    monkeypatch.setattr(demo, "MATERIALS", {"ambientcg/128": 2})
    assert program(bake, "--repo", demo.REPO, "--release", demo.RELEASE, "--tier", "128", "--limit", "2").code == 0


def test_without_mat_vis_client_it_reads_by_plain_http(local_hub, published, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    verdict = demo.verify(local_hub.url, tmp_path)
    assert verdict.good
    assert verdict.text == "Read back with plain HTTP: all 8 textures are there, each of its size."


def test_a_missing_texture_fails_the_verification(local_hub, published, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    monkeypatch.setitem(demo.MATERIALS, "ambientcg/128", 3)
    assert not demo.verify(local_hub.url, tmp_path).good
