"""How long commits take: one per repository at a time, cut off after a minute, and late."""

import asyncio
import threading
import time as real_time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from huggingface_hub import CommitOperationAdd as Add

from mat_vis_hub.local_hub import LocalHub, timeline
from tests.local_hub.conftest import CLOCK, ndjson

SCRATCH = "/api/datasets/you/scratch"
COMMIT = SCRATCH + "/commit/main"
IN_PROGRESS = {"error": "Another commit operation is in progress for this repository. Please try again later."}
FILE = ("file", {"path": "a", "content": "x"})


def seconds(count):
    """The operations of a commit that takes `seconds` by default: 1 s, and 0.05 s for each."""
    return [("file", {"path": f"{number}", "content": "x"}) for number in range(round((count - 1) / 0.05))]


@pytest.fixture
def under_way(ask, monkeypatch):
    """Start a commit, and run the block before its time is over: `with under_way(path, body) as future`."""
    waiting = threading.Semaphore(0)

    async def sleep(seconds, unless):
        waiting.release()
        await unless.wait()

    @contextmanager
    def under_way(path=COMMIT, body=None, time=None):
        with ThreadPoolExecutor(1) as pool:
            with monkeypatch.context() as patch:
                patch.setattr(timeline, "_sleep", sleep)
                future = pool.submit(ask, "POST", path, ndjson() if body is None else body)
                assert waiting.acquire(timeout=60)
            try:
                yield future
            finally:
                time.advance(3600)
                ask("GET", "/api/models")  # the commit lands before any request that comes later

    return under_way


class TestOneAtATime:
    def test_a_second_commit_meanwhile_gets_409(self, local_hub, repo, ask, under_way, time):
        with under_way(time=time) as first:
            second = ask("POST", COMMIT, ndjson())
        assert (first.result().status, second.status) == (200, 409)
        assert second.json == IN_PROGRESS
        assert len(local_hub.commits) == 1
        (refusal,) = local_hub.refusals
        assert (refusal.kind, refusal.endpoint, refusal.repo) == ("lock", "commit", "you/scratch")
        assert ask("POST", COMMIT, ndjson()).status == 200

    def test_a_commit_that_arrives_when_the_first_ones_time_is_over_is_not_refused(
        self, local_hub, repo, ask, under_way, time
    ):
        with under_way(time=time) as first:
            time.advance(1)
            assert ask("POST", COMMIT, ndjson()).status == 200  # although nobody has woken the first one
            assert first.result(60).status == 200
        one, two = local_hub.commits
        assert (one.time, two.time) == pytest.approx((one.time, one.time + 1))

    @pytest.mark.parametrize("path", ["/super-squash/main", "/discussions/1/merge", "/commit/refs%2Fpr%2F1"])
    def test_merges_squashes_and_commits_to_pull_requests_hold_the_repository_too(
        self, commit, ask, under_way, path, time
    ):
        commit(Add("a", b"x"), create_pr=True)
        with under_way(SCRATCH + path, ndjson() if "/commit/" in path else {}, time=time) as first:
            assert ask("POST", COMMIT, ndjson()).status == 409
            assert ask("POST", SCRATCH + "/super-squash/main", {}).status == 409
            assert ask("POST", SCRATCH + "/discussions/1/merge", {}).status == 409
        assert first.result().status == 200

    def test_other_repositories_and_reads_are_not_held(self, api, repo, ask, under_way, time):
        api.create_repo("you/other", repo_type="dataset")
        with under_way(time=time) as first:
            assert ask("GET", SCRATCH).status == 200
            assert ask("POST", SCRATCH + "/branch/b", {}).status == 200
            assert ask("POST", COMMIT.replace("scratch", "other"), ndjson()).status == 200
        assert first.result().status == 200

    @pytest.mark.local_hub(limit=1)
    def test_the_commit_limit_comes_before_the_lock(self, local_hub, repo, ask, under_way, time):
        with under_way(time=time):
            local_hub.spend("you/scratch", repo_type="dataset")
            assert ask("POST", COMMIT, ndjson()).status == 429

    def test_a_failed_commit_gives_the_repository_back(self, repo, ask, time):
        assert ask("POST", COMMIT, ndjson(parentCommit="0" * 40)).status == 412
        assert ask("POST", COMMIT, ndjson(("deletedFile", {"path": "missing"}))).status == 404
        assert ask("POST", COMMIT, ndjson()).status == 200

    def test_a_repository_that_is_deleted_during_a_commit_is_not_found(self, api, repo, under_way, time):
        with under_way(time=time) as commit:
            api.delete_repo(**repo)
        assert commit.result().status == 404


class TestDuration:
    def test_in_virtual_time_a_commit_takes_a_second_and_a_bit_for_each_operation(self, local_hub, repo, ask, time):
        assert ask("POST", COMMIT, ndjson()).status == 200
        assert time.now() == pytest.approx(1)
        assert ask("POST", COMMIT, ndjson(*seconds(3))).status == 200
        assert time.now() == pytest.approx(4)
        assert time.waits == []
        assert local_hub.commits[1].time == pytest.approx(local_hub.commits[0].time + 3)

    @pytest.mark.local_hub(commit_time=0)
    def test_it_can_be_switched_off(self, repo, ask, time):
        assert ask("POST", COMMIT, ndjson(*seconds(61))).status == 200
        assert time.now() == 0

    def test_commits_of_two_repositories_that_begin_together_end_together(self, api, repo, ask, time, monkeypatch):
        begun = []

        async def sleep(seconds, unless):
            begun.append(seconds)
            while len(begun) < 2:
                await asyncio.sleep(0.001)

        monkeypatch.setattr(timeline, "_sleep", sleep)
        api.create_repo("you/other", repo_type="dataset")
        both = [(COMMIT, ndjson(*seconds(11))), (COMMIT.replace("scratch", "other"), ndjson(*seconds(11)))]
        with ThreadPoolExecutor(2) as pool:
            assert [answer.status for answer in pool.map(lambda sent: ask("POST", *sent), both)] == [200, 200]
        assert time.now() == pytest.approx(11)

    @pytest.mark.local_hub(speed=10, commit_time=0.5, operation_time=0)
    def test_in_real_time_it_passes_faster(self, repo, ask):
        start = real_time.monotonic()
        assert ask("POST", COMMIT, ndjson()).status == 200
        assert real_time.monotonic() - start >= 0.05

    @pytest.mark.local_hub(clock=CLOCK.now)
    def test_with_a_clock_of_the_users_it_takes_real_time(self, local_hub, repo, ask):
        start = real_time.monotonic()
        assert ask("POST", COMMIT, ndjson()).status == 200
        assert real_time.monotonic() - start >= 1 / 50
        assert local_hub.commits[0].time == CLOCK.now()

    def test_a_commit_of_virtual_time_lands_when_that_ends(self, local_hub, repo, ask):
        from mat_vis_hub.testing import virtual_time

        with virtual_time():
            local_hub.answer(504, on="commit", lands_in=3600)
            assert ask("POST", COMMIT, ndjson()).status == 504
        assert ask("POST", COMMIT, ndjson()).status == 200
        assert len(local_hub.commits) == 2


class TestTimeout:
    def test_after_60_seconds_the_gateway_answers_with_a_page(self, local_hub, repo, ask, time):
        answer = ask("POST", COMMIT, ndjson(*seconds(61)))
        assert answer.status == 504
        assert time.now() == pytest.approx(60)
        assert answer.headers["Content-Type"].startswith("text/html")
        assert b"<h1>504 Gateway Time-out</h1>" in answer.body
        assert (
            answer.headers["RateLimit"] is answer.headers["X-Request-Id"] is answer.headers["X-Error-Message"] is None
        )
        assert local_hub.commits == []

    def test_the_repository_is_held_until_the_commit_lands(self, local_hub, repo, ask, time):
        began = time.wall()
        ask("POST", COMMIT, ndjson(*seconds(90)))
        assert ask("POST", COMMIT, ndjson()).json == IN_PROGRESS
        assert ask("HEAD", "/datasets/you/scratch/resolve/main/0").status == 404
        time.advance(29.9)
        assert ask("POST", COMMIT, ndjson()).status == 409
        time.advance(600)
        assert ask("HEAD", "/datasets/you/scratch/resolve/main/0").status == 200
        (late,) = local_hub.commits
        assert late.time == pytest.approx(began + 90)
        assert ask("POST", COMMIT, ndjson()).status == 200

    def test_exactly_60_seconds_are_not_too_long(self, repo, ask, time):
        assert ask("POST", COMMIT, ndjson(*seconds(60))).status == 200

    @pytest.mark.local_hub(late="never")
    def test_it_may_never_land(self, local_hub, repo, ask, time):
        ask("POST", COMMIT, ndjson(*seconds(90)))
        assert ask("POST", COMMIT, ndjson()).status == 409
        time.advance(31)
        assert local_hub.commits == []
        assert ask("POST", COMMIT, ndjson()).status == 200

    @pytest.mark.local_hub(late=0.5, commit_time=61)
    def test_it_may_land_by_chance_but_the_same_ones_each_time(self, local_hub, repo, ask, time):
        landed = []
        for _ in range(16):
            before = len(local_hub.commits)
            ask("POST", COMMIT, ndjson())
            time.advance(5)
            landed.append(len(local_hub.commits) - before)
        assert landed == [0, 0, 1, 1, 0, 1, 0, 1, 1, 0, 0, 0, 1, 0, 0, 1]

    @pytest.mark.local_hub(commit_timeout=None, commit_time=600)
    def test_it_can_be_switched_off(self, repo, ask, time):
        assert ask("POST", COMMIT, ndjson()).status == 200

    @pytest.mark.local_hub(limit=1)
    def test_the_quota_is_asked_when_the_commit_arrives_and_counts_it_when_it_lands(self, local_hub, repo, ask, time):
        ask("POST", COMMIT, ndjson(*seconds(90)))
        assert ask("POST", COMMIT, ndjson()).status == 409
        time.advance(1000)
        refused = ask("POST", COMMIT, ndjson())
        assert refused.status == 429
        assert "about 1 hour" not in refused.json["error"]  # 16 minutes of the hour had passed when it was asked again
        assert len(local_hub.commits) == 1

    def test_what_a_late_commit_is_worth_is_decided_when_it_lands(self, local_hub, api, repo, ask, time):
        head = api.repo_info(**repo).sha
        ask("POST", COMMIT, ndjson(*seconds(90), parentCommit=head))
        api.delete_repo(**repo)
        time.advance(31)
        assert local_hub.commits == []  # and nothing is raised
        assert ask("GET", "/api/models").status == 200


class TestLate:
    def test_an_answer_that_was_wrong(self, local_hub, repo, ask, time):
        began = time.wall()
        local_hub.answer(503, on="commit", lands_in=30)
        assert ask("POST", COMMIT, ndjson(FILE)).status == 503
        assert ask("POST", COMMIT, ndjson()).json == IN_PROGRESS
        assert local_hub.commits == []
        time.advance(31)
        (late,) = local_hub.commits
        assert (late.time, late.paths) == (pytest.approx(began + 30), ("a",))
        assert ask("POST", COMMIT, ndjson()).status == 200

    def test_a_connection_that_was_dropped(self, local_hub, repo, ask, time):
        local_hub.drop(on="commit", lands_in=0.5)
        with pytest.raises(ConnectionError):
            ask("POST", COMMIT, ndjson(FILE))
        assert local_hub.commits == []
        time.advance(1)
        assert len(local_hub.commits) == 1

    def test_a_request_that_the_gateway_still_has_holds_nothing(self, local_hub, repo, ask, time):
        local_hub.answer(504, on="commit", lands_in=30, holds=False)
        assert ask("POST", COMMIT, ndjson(FILE, summary="late")).status == 504
        assert ask("POST", COMMIT, ndjson(FILE, summary="sent again")).status == 200
        time.advance(30)
        assert [seen.message for seen in local_hub.commits] == ["sent again", "late"]

    def test_then_it_is_refused_like_any_other(self, local_hub, api, repo, ask, time):
        head = api.repo_info(**repo).sha
        local_hub.answer(504, on="commit", lands_in=30, holds=False)
        ask("POST", COMMIT, ndjson(FILE, summary="late", parentCommit=head))
        ask("POST", COMMIT, ndjson(FILE, summary="sent again", parentCommit=head))
        time.advance(30)
        assert [seen.message for seen in local_hub.commits] == ["sent again"]

    def test_it_may_have_landed_already(self, local_hub, repo, ask, time):
        local_hub.answer(200, body='{"success": tr', on="commit", lands_in=0)
        assert ask("POST", COMMIT, ndjson(FILE)).body == b'{"success": tr'
        assert len(local_hub.commits) == 1

    def test_late_commits_land_in_the_order_of_their_time(self, local_hub, api, repo, ask, time):
        for name in ("b", "c"):
            api.create_repo(f"you/{name}", repo_type="dataset")
        for name, lands_in in (("scratch", 30), ("b", 10), ("c", 20)):
            local_hub.answer(504, on="commit", lands_in=lands_in)
            ask("POST", f"/api/datasets/you/{name}/commit/main", ndjson())
        time.advance(60)
        assert [seen.repo for seen in local_hub.commits] == ["you/b", "you/c", "you/scratch"]

    def test_a_second_one_does_not_land_while_the_first_holds_the_repository(self, local_hub, repo, ask, time):
        local_hub.answer(504, on="commit", times=2, lands_in=30)
        for name in ("first", "second"):
            ask("POST", COMMIT, ndjson(FILE, summary=name))
        time.advance(60)
        assert [seen.message for seen in local_hub.commits] == ["first"]

    def test_any_request_can_be_carried_out_late(self, local_hub, ask, time):
        local_hub.answer(504, on="create-repo", lands_in=5)
        assert ask("POST", "/api/repos/create", {"name": "late", "organization": "you"}).status == 504
        assert ask("GET", "/api/models/you/late").status == 404
        time.advance(5)
        assert ask("GET", "/api/models/you/late").status == 200

    @pytest.mark.local_hub(speed=1e9)
    def test_in_real_time_it_passes_faster(self, local_hub, repo, ask):
        local_hub.answer(504, on="commit", lands_in=10)
        ask("POST", COMMIT, ndjson(FILE))
        assert len(local_hub.commits) == 1

    def test_what_nobody_waited_for_is_in_the_records_of_a_stopped_hub(self, repo, local_hub, ask, time):
        local_hub.answer(504, on="commit", lands_in=10)
        ask("POST", COMMIT, ndjson(FILE))
        time.advance(10)
        local_hub.stop()
        assert len(local_hub.commits) == 1

    def test_a_bug_is_logged_and_hurts_nobody_else(self, local_hub, repo, ask, time, monkeypatch, caplog):
        ask("POST", COMMIT, ndjson(*seconds(61)))
        monkeypatch.setattr("mat_vis_hub.local_hub.model.repository.Repo.commit", lambda *_, **__: 1 / 0)
        time.advance(2)
        assert ask("GET", "/api/models").status == 200
        assert "ZeroDivisionError" in caplog.text


class TestQueue:
    @pytest.mark.local_hub(queue_limit=1)
    def test_commits_may_wait_for_the_repository_but_not_too_many(self, local_hub, repo, ask, under_way, time):
        local_hub.answer(504, on="commit", lands_in=20)
        ask("POST", COMMIT, ndjson())
        with under_way(time=time) as waiting:
            refused = ask("POST", COMMIT, ndjson())
            time.advance(20)
        assert (refused.status, refused.json) == (429, {"error": "maximum queue size reached"})
        assert waiting.result().status == 200
        assert [seen.kind for seen in local_hub.refusals] == ["queue"]
        assert len(local_hub.commits) == 2

    @pytest.mark.local_hub(queue_limit=1, queue_time=30)
    def test_nor_too_long(self, local_hub, repo, ask, time):
        local_hub.answer(504, on="commit", lands_in=31)
        ask("POST", COMMIT, ndjson())
        refused = ask("POST", COMMIT, ndjson())
        assert (refused.status, refused.json) == (429, {"error": "maximum time in concurrency queue reached"})
        assert time.now() == pytest.approx(30)

    @pytest.mark.local_hub(queue_limit=1, limit=1)
    def test_the_quota_is_asked_again_after_the_wait(self, local_hub, repo, ask, time):
        local_hub.answer(504, on="commit", lands_in=20)
        ask("POST", COMMIT, ndjson())
        assert ask("POST", COMMIT, ndjson()).status == 429
        assert [seen.kind for seen in local_hub.refusals] == ["commit"]


class TestRace:
    def test_commits_without_a_parent_can_race_to_a_412(self, local_hub, api, repo, ask, time):
        local_hub.race(2)
        assert ask("POST", COMMIT, ndjson(parentCommit=api.repo_info(**repo).sha)).status == 200
        for _ in range(2):
            lost = ask("POST", COMMIT, ndjson(FILE))
            assert lost.status == 412
            assert lost.json["error"] == (
                "The branch was updated since you opened this page. Please refresh and try again."
            )
        assert ask("POST", COMMIT, ndjson(FILE)).status == 200
        assert len(local_hub.commits) == 2

    @pytest.mark.local_hub(conflict="old")
    def test_the_sentence_of_before_march_2026(self, local_hub, repo, ask, time):
        local_hub.race()
        message = "A commit has happened since. Please refresh and try again."
        assert ask("POST", COMMIT, ndjson()).json["error"] == message

    def test_races_can_be_cleared(self, local_hub, repo, ask, time):
        local_hub.race()
        local_hub.clear()
        assert ask("POST", COMMIT, ndjson()).status == 200
        with pytest.raises(ValueError, match="times is 0"):
            local_hub.race(0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"commit_time": -1}, "commit_time is -1; it is a number of seconds, 0 or more"),
        ({"commit_time": float("nan")}, "commit_time is nan"),
        ({"operation_time": "1"}, "operation_time is '1'"),
        ({"speed": 0}, "speed is 0; it is a number above 0"),
        ({"commit_timeout": 0}, "commit_timeout is 0; it is a number of seconds above 0, or None for no timeout"),
        ({"late": "soon"}, "late is 'soon'; it is 'lands', 'never', or a probability from 0 to 1"),
        ({"late": 1.5}, "late is 1.5"),
        ({"queue_limit": -1}, "queue_limit is -1; it is a whole number"),
        ({"queue_time": -1}, "queue_time is -1"),
        ({"conflict": "newest"}, "conflict is 'newest'; it is one of 'new', 'old'"),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        LocalHub(**arguments)
