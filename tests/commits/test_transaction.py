"""A transaction lands only on the state that it was built from, so no other writer's commit is lost."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
from functools import partial

import pytest
from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    constants,
)
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from mat_vis_hub import PaceEvent, RetryPolicy, ThrottledHfApi, ThrottleEvent, WaitCancelled
from mat_vis_hub._internal import clock
from mat_vis_hub.budget import as_budget
from mat_vis_hub.commits.transaction import transact
from mat_vis_hub.events import ConflictEvent
from mat_vis_hub.testing import virtual_time
from tests.refusals import commit_quota
from tests.schedule import schedule

REPO = "you/textures"
WHERE = {"repo_id": REPO, "repo_type": "dataset"}
TOKEN = "hf_" + "s3cret" * 6
NEVER = 100_000.0  # seconds
CONFLICT = {"error": "A commit has happened since. Please refresh and try again."}


@pytest.fixture(autouse=True)
def time(monkeypatch):
    """Virtual time, in which a real sleep fails the test, also in huggingface_hub."""

    def asleep(seconds: float) -> None:
        raise AssertionError(f"slept for {seconds} s")

    with virtual_time() as time, monkeypatch.context() as patched:
        patched.setattr("time.sleep", asleep)
        yield time


@pytest.fixture
def hub(local_hub):
    HfApi(endpoint=local_hub.url, token=TOKEN).create_repo(**WHERE)
    return local_hub


@pytest.fixture
def api(hub, emitted) -> ThrottledHfApi:
    return ThrottledHfApi(endpoint=hub.url, token=TOKEN, retry=RetryPolicy(jitter=0), hooks=[emitted.append])


@pytest.fixture
def run(api, emitted):
    """`transact` on the repository of these tests."""

    def run(build, **kwargs):
        return transact(
            api, REPO, build, **{"repo_type": "dataset", "commit_message": "m", "emit": emitted.append, **kwargs}
        )

    return run


def add(path: str, content: bytes) -> CommitOperationAdd:
    return CommitOperationAdd(path, content)


def write(api: HfApi, path: str, content: bytes, revision: str = "main") -> None:
    """Another writer."""
    api.create_commit(REPO, [add(path, content)], repo_type="dataset", commit_message="theirs", revision=revision)


def increment(snapshot) -> list:
    return [add("number.txt", b"%d" % (int(snapshot.read("number.txt") or 0) + 1))]


def content(run, path: str, **kwargs) -> bytes | None:
    found = []
    run(lambda snapshot: found.append(snapshot.read(path)), **kwargs)
    return found[0]


def seen(hub, endpoint: str) -> int:
    return sum(request.endpoint == endpoint for request in hub.requests)


class TestSnapshot:
    def test_a_missing_file_reads_as_none(self, run):
        assert content(run, "number.txt") is None
        assert isinstance(run(increment), CommitInfo)
        assert content(run, "number.txt") == b"1"

    @pytest.mark.parametrize("payload", [b"", b"text", os.urandom(300_000)], ids=["empty", "text", "large"])
    @pytest.mark.parametrize("path", ["a.txt", "folder/large.bin", "name with #, % and ü.txt"])
    def test_any_file_reads_as_it_was_written(self, run, path, payload):
        run(lambda snapshot: [add(path, payload)])
        assert content(run, path) == payload

    def test_all_reads_see_the_same_commit(self, api, run):
        write(api, "a.txt", b"old")
        write(api, "b.txt", b"old")

        def build(snapshot):
            assert snapshot.read("a.txt") == b"old"
            write(api, "b.txt", b"new")
            write(api, "c.txt", b"new")
            assert (snapshot.read("b.txt"), snapshot.read("c.txt")) == (b"old", None)

        assert run(build) is None

    def test_a_file_is_downloaded_once_and_not_left_on_disk(self, api, hub, run, tmp_path, monkeypatch):
        write(api, "a.txt", b"old")
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        cache = os.path.join(os.environ["HF_HOME"], "hub")

        def build(snapshot):
            reads = [snapshot.read("a.txt"), snapshot.read("missing.txt")]
            before = seen(hub, "resolve")
            assert [snapshot.read("a.txt"), snapshot.read("missing.txt")] == reads
            assert seen(hub, "resolve") == before

        run(build)
        assert list(tmp_path.iterdir()) == []
        assert not os.path.exists(cache) or not any("textures" in name for name in os.listdir(cache))

    def test_the_users_cache_is_not_read(self, api, run, tmp_path, monkeypatch):
        write(api, "a.txt", b"true")
        stale = tmp_path / "datasets--you--textures" / "snapshots" / api.repo_info(**WHERE).sha / "a.txt"
        stale.parent.mkdir(parents=True)
        stale.write_bytes(b"damaged")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        assert content(run, "a.txt") == b"true"

    def test_a_hub_that_does_not_answer_is_not_a_missing_file(self, api, hub, run):
        write(api, "number.txt", b"7")
        hub.answer(403, body={"error": "no"}, on="resolve", times=9)
        with pytest.raises((LocalEntryNotFoundError, HfHubHTTPError)):
            run(increment)
        hub.clear()
        assert content(run, "number.txt") == b"7"

    @pytest.mark.parametrize("path", ["", "/a", "a//b", "../a", "a/../b", "a/"])
    def test_an_invalid_path(self, run, path):
        with pytest.raises(ValueError, match="is not the path of a file"):
            run(lambda snapshot: snapshot.read(path))


class TestCommit:
    def test_its_parent_is_the_snapshot(self, api, hub, run):
        revisions = []
        info = run(lambda snapshot: revisions.append(snapshot.revision) or increment(snapshot))
        history = api.list_repo_commits(**WHERE)
        assert [commit.commit_id for commit in history[:2]] == [info.oid, revisions[0]]

    @pytest.mark.parametrize("nothing", [None, [], ()])
    def test_no_operations_make_no_commit(self, hub, run, nothing):
        assert run(lambda snapshot: nothing) is None
        assert seen(hub, "commit") == 0

    def test_operations_that_change_nothing_make_no_commit(self, api, hub, run):
        write(api, "a.txt", b"same")
        assert run(lambda snapshot: [add("a.txt", b"same")]) is None
        assert len(hub.commits) == 1

    def test_a_generator_of_any_operations(self, api, hub, run):
        write(api, "a.txt", b"a")

        def build(snapshot):
            yield CommitOperationDelete("a.txt")
            yield add("b.txt", snapshot.read("a.txt"))

        run(build, commit_description="why", num_threads=1)
        assert (content(run, "a.txt"), content(run, "b.txt")) == (None, b"a")
        assert api.list_repo_commits(**WHERE)[0].message == "why"

    @pytest.mark.parametrize("early", [True, False], ids=["called", "iterated"])
    def test_what_build_raises_is_raised_unchanged(self, api, hub, run, emitted, early):
        error = RuntimeError("mine")

        def build(snapshot):
            yield add("a.txt", b"a")
            raise error

        with pytest.raises(RuntimeError) as caught:
            run((lambda snapshot: list(build(snapshot))) if early else build)
        assert caught.value is error
        assert (seen(hub, "commit"), emitted) == (0, [])

    def test_a_412_raised_by_build_is_not_retried(self, api, run, emitted):
        def build(snapshot):
            write(api, "a.txt", b"a")
            api.create_commit(
                REPO, increment(snapshot), repo_type="dataset", commit_message="m", parent_commit=snapshot.revision
            )

        with pytest.raises(HfHubHTTPError, match="Please refresh and try again"):
            run(build)
        assert emitted == []

    @pytest.mark.parametrize("status", [400, 403, 404, 500])
    def test_other_errors_are_raised_at_once(self, hub, run, emitted, time, status):
        hub.answer(status, body={"error": "no"}, on="commit")
        with pytest.raises(HfHubHTTPError) as caught:
            run(increment)
        assert caught.value.response.status_code == status
        assert (seen(hub, "commit"), emitted, time.waits) == (1, [], [])

    def test_a_plain_hfapi_works(self, hub, capsys):
        hub.answer(412, body=CONFLICT, on="commit")
        api = HfApi(endpoint=hub.url, token=TOKEN)
        assert transact(api, REPO, increment, repo_type="dataset", commit_message="m", source="polyhaven")
        line = "bake_conflict source=polyhaven repo=you/textures retry=1/6 reason=412 elapsed=0m0s\n"
        assert capsys.readouterr().out == line


class TestBranch:
    def test_a_branch_and_a_pull_request(self, api, hub, run):
        api.create_branch(**WHERE, branch="v2026.04.2")
        number = api.create_pull_request(REPO, title="t", repo_type="dataset", token=TOKEN).num
        for revision in ("v2026.04.2", f"refs/pr/{number}"):
            run(increment, revision=revision)
            assert content(run, "number.txt", revision=revision) == b"1"
        assert content(run, "number.txt") is None

    def test_a_missing_branch(self, run):
        expected = "There is no branch 'v1' in the dataset repository you/textures. Create it first"
        with pytest.raises(HfHubHTTPError, match=expected) as caught:
            run(increment, revision="v1")
        assert type(caught.value).__name__ == "RevisionNotFoundError"

    def test_a_tag_or_a_commit_is_an_error(self, api, hub, run):
        api.create_tag(**WHERE, tag="v1.0")
        oid = api.repo_info(**WHERE).sha
        for revision in ("v1.0", oid):
            with pytest.raises(ValueError, match=f"revision='{revision}'.*a tag or a commit.*name of a branch"):
                run(increment, revision=revision)
        assert seen(hub, "commit") == 0

    def test_a_missing_repository(self, api):
        with pytest.raises(RepositoryNotFoundError):
            transact(api, "you/nothing", increment, commit_message="m")


class TestConflict:
    @pytest.mark.local_hub(commit_time=0)
    def test_the_next_attempt_reads_and_builds_again(self, api, run, emitted, time):
        theirs = iter([b"10", b"20"])

        def build(snapshot):
            operations = increment(snapshot)
            for number in theirs:
                write(api, "number.txt", number)
                break
            return operations

        run(build, source="ambientcg")
        assert content(run, "number.txt") == b"21"
        assert [event.line for event in emitted] == [
            f"bake_conflict source=ambientcg repo=you/textures retry={retry}/6 reason=412 elapsed=0m{elapsed}s"
            for retry, elapsed in ((1, 0), (2, int(time.waits[0])))
        ]
        assert [event.wait_s for event in emitted] == pytest.approx(time.waits)
        assert all(isinstance(event, ConflictEvent) and event.error.response.status_code == 412 for event in emitted)

    def test_the_same_bytes_from_another_writer_are_a_conflict(self, api, run, emitted):
        """Both count from 0 to 1. huggingface_hub sees no change and sends nothing, so one count would be lost."""
        theirs = iter([b"1"])

        def build(snapshot):
            operations = increment(snapshot)
            for number in theirs:
                write(api, "number.txt", number)
            return operations

        run(build)
        assert content(run, "number.txt") == b"2"
        assert len(emitted) == 1

    def test_the_same_copy_by_another_writer_is_not_reported_as_ours(self, api, hub, run, emitted):
        write(api, "a.bin", b"content")
        theirs = iter([CommitOperationCopy("a.bin", "b.bin")])

        def build(snapshot):
            for operation in theirs:
                api.create_commit(REPO, [operation], repo_type="dataset", commit_message="theirs")
            return [CommitOperationCopy("a.bin", "b.bin")]

        assert run(build) is None
        assert [commit.message for commit in hub.commits] == ["theirs", "theirs"]

    def test_operations_can_be_reused_after_a_conflict(self, api, hub, run):
        write(api, "a.txt", b"ours")
        operations = [add("a.txt", b"ours"), add("b.txt", b"new")]
        hub.answer(412, body=CONFLICT, on="commit")
        run(lambda snapshot: operations, emit=lambda event: write(api, "a.txt", b"theirs"))
        assert (content(run, "a.txt"), content(run, "b.txt")) == (b"ours", b"new")

    def test_the_last_conflict_is_raised(self, hub, run, emitted, time):
        hub.answer(412, body=CONFLICT, on="commit", times=9)
        with pytest.raises(HfHubHTTPError, match="A commit has happened since") as caught:
            run(increment)
        assert caught.value.response.status_code == 412
        assert seen(hub, "commit") == 7
        assert [f"{event.retry}/{event.max_retries}" for event in emitted] == [f"{retry}/6" for retry in range(1, 7)]
        assert caught.value is not emitted[-1].error
        if hasattr(caught.value, "add_note"):
            assert re.search(r"branch main of .* you/textures after 7 tries in 0m\d+s", caught.value.__notes__[0])

    def test_without_allowed_conflicts(self, hub, run, emitted, time):
        hub.answer(412, body=CONFLICT, on="commit")
        with pytest.raises(HfHubHTTPError) as caught:
            run(increment, max_conflicts=0)
        assert (emitted, time.waits) == ([], [])
        if hasattr(caught.value, "add_note"):
            assert "after 1 try in" in caught.value.__notes__[0]

    def test_the_range_of_waits_doubles(self, hub, run, emitted, time, monkeypatch):
        monkeypatch.setattr("random.uniform", lambda low, high: high)
        hub.answer(412, body=CONFLICT, on="commit", times=8)
        run(increment, max_conflicts=8)
        assert [event.wait_s for event in emitted] == [0.5, 1, 2, 4, 8, 16, 30, 30]

    def test_a_slow_attempt_widens_the_range(self, hub, run, emitted, time, monkeypatch):
        monkeypatch.setattr("random.uniform", lambda low, high: high)
        hub.answer(412, body=CONFLICT, on="commit", times=2)
        run(lambda snapshot: time.advance(3) or increment(snapshot))
        assert [event.wait_s for event in emitted] == [3, 6]

    def test_a_429_is_waited_out_and_is_no_conflict(self, hub, run, emitted, time):
        hub.answer(429, body=commit_quota("1 minute").text, on="commit")
        assert run(increment, max_conflicts=0)
        assert [type(event) for event in emitted] == [ThrottleEvent]
        assert time.waits == [90]

    def test_tokens_are_redacted(self, hub, run, emitted):
        hub.answer(412, body=CONFLICT, on="commit")
        run(increment, token="short-token", source="short-token")
        assert emitted[0].source == "***"


@pytest.mark.local_hub(limit=None, api_limit=None, commit_time=0)
class TestWriters:
    def test_six_threads_take_turns(self, api, hub, run, emitted):
        def work() -> None:
            for _ in range(5):
                run(increment)

        join([threading.Thread(target=work) for _ in range(6)])
        assert content(run, "number.txt") == b"30"
        assert len(hub.commits) == 30
        assert {type(event) for event in emitted} <= {PaceEvent}  # on a slow machine, they wait for their turn

    def test_six_processes_lose_no_update(self, hub, run, tmp_path):
        program = f"""if True:
            from huggingface_hub import CommitOperationAdd
            from mat_vis_hub import ThrottledHfApi, transact
            from mat_vis_hub.testing import virtual_time
            api = ThrottledHfApi(endpoint={hub.url!r}, token="hf_x", hooks=[])
            def increment(snapshot):
                number = int(snapshot.read("number.txt") or 0) + 1
                return [CommitOperationAdd("number.txt", str(number).encode())]
            with virtual_time():
                for _ in range(5):
                    transact(api, {REPO!r}, increment, repo_type="dataset", commit_message="m", max_conflicts=30)
        """
        processes = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(6)]
        assert [process.wait() for process in processes] == [0] * 6
        assert content(run, "number.txt") == b"30"
        assert len(hub.commits) == 30

    def test_a_thread_that_hangs_delays_others_only_until_the_timeout(self, hub, run, monkeypatch):
        monkeypatch.setattr("mat_vis_hub.gate.LONGEST_COMMIT", 0.05)
        building, go_on = threading.Event(), threading.Event()

        def hang(snapshot):
            building.set()
            assert go_on.wait(timeout=60)
            return increment(snapshot)

        thread = threading.Thread(target=run, args=(hang,))
        thread.start()
        assert building.wait(timeout=60)
        run(increment)
        go_on.set()
        join([thread])
        assert content(run, "number.txt") == b"2"

    def test_a_transaction_inside_another(self, run, monkeypatch):
        monkeypatch.setattr("mat_vis_hub.gate.LONGEST_COMMIT", NEVER)

        def build(snapshot):
            run(lambda inner: [add("log.txt", b"began")] if inner.read("log.txt") is None else None)
            return increment(snapshot)

        join([threading.Thread(target=run, args=(build,), daemon=True)])
        assert content(run, "number.txt") == b"1"

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_forked_process_does_not_wait_for_threads_of_its_parent(self, hub, run, monkeypatch):
        monkeypatch.setattr("mat_vis_hub.gate.LONGEST_COMMIT", NEVER)
        exit_codes = []

        def build(snapshot):
            thread = threading.Thread(target=lambda: exit_codes.append(exit_code_of_child(lambda: run(increment))))
            join([thread])

        run(build)
        assert exit_codes == [0]
        assert content(run, "number.txt") == b"1"


def exit_code_of_child(work) -> int:
    """Run `work` in a forked process: 0 if it returns something, 1 if not. SIGALRM ends a child that hangs."""
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(60)
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        if not thread.is_alive():
            thread.start()
    for thread in threads:
        thread.join(timeout=90)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("arguments", "error", "names"),
    [
        ({"build": [add("a.txt", b"a")]}, TypeError, "build"),
        ({"commit_message": " "}, ValueError, "commit_message"),
        ({"commit_message": None}, ValueError, "commit_message"),
        ({"max_conflicts": -1}, ValueError, "max_conflicts"),
        ({"max_conflicts": True}, ValueError, "max_conflicts"),
        ({"max_conflicts": 1.5}, ValueError, "max_conflicts"),
        ({"repo_type": "datasets"}, ValueError, "repo_type"),
        ({"create_pr": True}, TypeError, "create_pr"),
        ({"run_as_future": True}, TypeError, "run_as_future"),
        ({"parent_commit": "0" * 40}, TypeError, "parent_commit"),
        ({"comit_description": "why"}, TypeError, "comit_description"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_invalid_arguments_are_an_error_before_any_request(hub, run, arguments, error, names):
    before = len(hub.requests)
    with pytest.raises(error, match=names):
        run(**{"build": increment, **arguments})
    assert len(hub.requests) == before


class TestOfThrottledHfApi:
    """The method uses the source and the hooks of its object."""

    def test_a_conflict_is_emitted_with_its_source(self, local_hub, monkeypatch):
        emitted: list = []
        with virtual_time():
            api = ThrottledHfApi(endpoint=local_hub.url, token="hf_x", source="ambientcg", hooks=[emitted.append])
            api.create_repo("you/textures", repo_type="dataset")
            local_hub.answer(
                412, body={"error": "A commit has happened since. Please refresh and try again."}, on="commit"
            )
            info = api.transact(
                "you/textures",
                lambda snapshot: [CommitOperationAdd("a.txt", (snapshot.read("a.txt") or b"") + b"a")],
                repo_type="dataset",
                commit_message="Add",
                source="polyhaven",
            )
        assert info is not None
        assert [event.line.split(" elapsed=")[0] for event in emitted] == [
            "bake_conflict source=polyhaven repo=you/textures retry=1/6 reason=412"
        ]


class TestTurn:
    """A transaction takes its turn before it reads."""

    def test_a_try_that_builds_nothing_costs_no_slot(self, api, run):
        api.budget = as_budget("memory://?limit=8")
        run(lambda snapshot: None)
        assert api.budget_status(**WHERE).used == 0
        run(increment)
        assert api.budget_status(**WHERE).used == 1

    def test_the_wait_for_room_comes_before_the_read_and_is_not_the_length_of_a_try(
        self, api, hub, run, emitted, time, monkeypatch
    ):
        monkeypatch.setattr("random.uniform", lambda low, high: high)
        api.budget = as_budget("memory://?limit=1&window=600")
        write(api, "number.txt", b"1")
        elsewhere, reads, began = HfApi(endpoint=hub.url, token=TOKEN), [], []

        def build(snapshot):
            began.append(time.now())
            if not reads:
                join([threading.Thread(target=write, args=(elsewhere, "other.txt", b""))])
            reads.append(snapshot.read("number.txt"))
            return increment(snapshot)

        run(build)
        conflict = next(event for event in emitted if isinstance(event, ConflictEvent))
        assert conflict.wait_s < 10
        assert began[0] >= 600
        assert reads == [b"1", b"1"]

    def test_the_wait_after_a_conflict_can_be_called_off(self, api, hub, run, emitted):
        hub.answer(412, body=CONFLICT, on="commit")
        with pytest.raises(WaitCancelled):
            run(increment, emit=lambda event: api.cancel_waits())

    @pytest.mark.local_hub(limit=8, window=60, model="sliding", api_limit=None, commit_time=0.5, operation_time=0)
    @pytest.mark.parametrize("in_one", ["process", "machine"])
    def test_beside_four_writers_that_never_pause_each_lands_within_two_windows(self, hub, tmp_path, in_one):
        url = "memory://" if in_one == "process" else f"sqlite:///{tmp_path}/budget.db"
        emitted: list = []
        took: list[float] = []

        def writer_api() -> ThrottledHfApi:
            budget = f"{url}?limit=8&window=60"
            return ThrottledHfApi(endpoint=hub.url, token=TOKEN, budget=budget, hooks=[emitted.append])

        def write_without_pause(number: int) -> None:
            api = writer_api()
            for commit in itertools.count():
                if len(took) == 5:
                    return
                write(api, f"{number}/{commit}.txt", b"")

        def count_up(snapshot):
            clock.wait(2)  # reading takes a while, in which other writers may commit
            return increment(snapshot)

        def transactions() -> None:
            api = writer_api()
            for _ in range(5):
                began = clock.monotonic()
                api.transact(REPO, count_up, repo_type="dataset", commit_message="count")
                took.append(clock.monotonic() - began)

        with schedule() as scheduled:
            for number in range(4):
                job = partial(write_without_pause, number)
                scheduled.start(job, process=None if in_one == "process" else number)
            scheduled.start(transactions, process=None if in_one == "process" else "transactions")
            scheduled.run()
        assert max(took) <= 2 * 60
        assert [event for event in emitted if not isinstance(event, PaceEvent)] == []
        assert sum(commit.message == "count" for commit in hub.commits) == 5
        assert len(hub.refusals) == 0
