"""The retry loop, without a network: how long a call waits, when it gives up, how many refusals a window costs."""

from __future__ import annotations

import threading
from time import monotonic

import pytest

from mat_vis_hub import GaveUpEvent, RetryPolicy, ThrottleEvent, WaitCancelled, gate, gave_up
from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._internal.interrupt import Waits
from mat_vis_hub.budget import FailOpenBudget, from_url
from mat_vis_hub.gate import Permit
from mat_vis_hub.hooks import Hooks
from mat_vis_hub.local_hub.limiter import Limiter
from mat_vis_hub.local_hub.messages import COMMIT, quota_refusal
from mat_vis_hub.throttle import Target, Throttle, current
from tests.refusals import Response, commit_quota

TARGET = Target(Repository("https://huggingface.co", "dataset", "you/textures"), "main", "ambientcg")


class Refused(Exception):
    """A refusal. Of huggingface_hub's exception, the loop reads only `response`."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.text)
        self.response = response


class Writer:
    """A caller that commits through the loop and collects the events."""

    source = "ambientcg"
    budget = None

    def __init__(self, call, policy: RetryPolicy | None = None) -> None:
        self.call = call
        self.retry = policy or RetryPolicy(jitter=0)
        self.events: list = []
        self.hooks = Hooks([self.events.append])
        self.waits = Waits()
        self.rewound = 0

    def commit(self, **options):
        return Throttle(self, TARGET).commit(self.call, **options)

    def call_it(self):
        """The same for a call that is not a commit."""
        return Throttle(self, TARGET).run(self.call, self._rewind)

    def _rewind(self) -> None:
        self.rewound += 1


def script(*answers):
    """A function that returns, or raises, the next of `answers` each time it is called."""
    remaining = list(answers)

    def call():
        answer = remaining.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return call


def refused(wait: str = "1 minute") -> Refused:
    return Refused(commit_quota(wait))


class TestRetries:
    def test_a_result_is_returned_without_an_event(self, time):
        writer = Writer(script("done"))
        assert writer.commit() == "done"
        assert (writer.events, writer.rewound, time.waits) == ([], 0, [])

    def test_a_refusal_is_emitted_waited_out_and_retried(self, time):
        error = refused()
        writer = Writer(script(error, "done"))
        assert writer.call_it() == "done"
        assert time.waits == [90]
        assert writer.rewound == 1
        assert writer.events == [
            ThrottleEvent("ambientcg", "you/textures", "dataset", "main", 1, 5, 90.0, 0.0, "body", error, "commits")
        ]

    def test_without_a_hint_the_waits_double(self, time):
        without_hint = [Refused(Response()) for _ in range(5)]
        writer = Writer(script(*without_hint, "done"))
        assert writer.commit() == "done"
        assert time.waits == [30, 60, 120, 120, 120]
        assert [event.retry for event in writer.events] == [1, 2, 3, 4, 5]
        assert [event.elapsed_s for event in writer.events] == [0, 30, 90, 210, 330]

    def test_the_last_refusal_is_raised_itself_with_a_note(self, time):
        refusals = [refused() for _ in range(6)]
        writer = Writer(script(*refusals))
        with pytest.raises(Refused) as caught:
            writer.commit()
        assert caught.value is refusals[-1]
        assert [type(event) for event in writer.events] == [ThrottleEvent] * 5 + [GaveUpEvent]
        if hasattr(caught.value, "add_note"):
            (note,) = caught.value.__notes__
            assert "dataset repository you/textures" in note
            assert "6 calls in 7m30s" in note
            assert "max_retries=5" in note

    def test_a_wait_beyond_max_total_wait_raises_before_sleeping(self, time):
        writer = Writer(script(refused("about 3 hours")))
        with pytest.raises(Refused) as caught:
            writer.commit()
        assert time.waits == []
        if hasattr(caught.value, "add_note"):
            assert "max_total_wait=7200" in caught.value.__notes__[0]

    def test_the_waits_of_one_commit_add_up(self, time):
        writer = Writer(script(*[refused("about 1 hour") for _ in range(6)]))
        with pytest.raises(Refused):
            writer.commit()
        assert time.waits == [2670, 2670]  # a third would make 8010

    def test_a_policy_without_retries_never_waits(self, time):
        for _ in range(2):
            writer = Writer(script(refused("about 1 hour")), RetryPolicy(max_retries=0))
            with pytest.raises(Refused):
                writer.commit()
        assert time.waits == []

    @pytest.mark.parametrize(
        "error",
        [ValueError("bad"), OSError("connection reset"), KeyboardInterrupt(), Refused(Response(status_code=412))],
        ids=repr,
    )
    def test_any_other_exception_is_raised_at_once_and_unchanged(self, time, error):
        writer = Writer(script(error))
        with pytest.raises(type(error)) as caught:
            writer.commit()
        assert caught.value is error
        assert not hasattr(error, "__notes__")
        assert (time.waits, writer.events) == ([], [])


class TestGate:
    def test_a_second_commit_waits_for_the_gate_and_emits_why(self, time):
        first = Writer(script(refused()), RetryPolicy(max_retries=0))
        with pytest.raises(Refused):
            first.commit()
        time.advance(50)
        second = Writer(script("done"))
        assert second.commit() == "done"
        assert len(time.waits) == 1
        (event,) = second.events
        assert event.line.startswith("bake_pace source=ambientcg repo=you/textures reason=gate wait_s=4")

    def test_a_policy_without_retries_does_not_queue_behind_a_commit_that_waits(self, time):
        own = refused("about 1 hour")
        impatient = Writer(script(own), RetryPolicy(max_retries=0))
        raised: list = []

        def commit() -> None:
            try:
                impatient.commit()
            except Refused as error:
                raised.append(error)

        def in_another_thread(event) -> None:
            if isinstance(event, ThrottleEvent):
                thread = threading.Thread(target=commit)
                thread.start()
                thread.join(30)

        waiting = Writer(script(refused("about 1 hour"), "done"))
        waiting.hooks = Hooks([in_another_thread])
        assert waiting.commit() == "done"
        assert raised == [own]

    def test_a_refusal_for_another_action_holds_back_no_other_commit(self, time):
        sentence = (
            "You have exceeded the rate limit for pull requests (10 per hour). You can retry this action in 1 day."
        )
        opens_pr = Writer(script(Refused(Response(text=sentence))), RetryPolicy(max_retries=0))
        opens_pr.budget = FailOpenBudget(from_url("memory://?limit=2&window=60"))
        with pytest.raises(Refused):
            opens_pr.commit()
        plain = Writer(script("one", "two"))
        plain.budget = opens_pr.budget
        assert [plain.commit(), plain.commit()] == ["one", "two"]
        assert time.waits == []

    def test_a_commit_that_may_not_wait_for_the_gate_is_sent_and_refused(self, time):
        with pytest.raises(Refused):
            Writer(script(refused("about 1 hour")), RetryPolicy(max_retries=0)).commit()
        own = refused("about 1 hour")
        with pytest.raises(Refused) as caught:
            Writer(script(own), RetryPolicy(max_total_wait=60)).commit()
        assert caught.value is own
        assert time.waits == []


class TestPatchedSleep:
    """Users patch `time.sleep` in tests. It is called once per wait, and the retry follows without the clock moving."""

    @pytest.fixture
    def slept(self, monkeypatch) -> list[float]:
        slept: list[float] = []
        monkeypatch.setattr("time.sleep", slept.append)
        return slept

    @pytest.fixture(autouse=True)
    def other_repository(self, monkeypatch, request):
        """In real time, gates that are closed stay closed for the next test."""
        repository = TARGET.repository._replace(repo_id=f"you/{request.node.name}")
        monkeypatch.setitem(globals(), "TARGET", TARGET._replace(repository=repository))

    def test_each_wait_is_one_sleep(self, slept):
        writer = Writer(script(refused(), refused("2 minutes"), "done"))
        assert writer.commit() == "done"
        assert slept == [pytest.approx(90, abs=1), pytest.approx(150, abs=1)]

    def test_waiting_for_the_gate_is_one_sleep(self, slept):
        with pytest.raises(Refused):
            Writer(script(refused()), RetryPolicy(max_retries=0, jitter=0)).commit()
        assert Writer(script("done")).commit() == "done"
        assert slept == [pytest.approx(90, abs=1)]

    def test_waiting_for_the_budget_is_one_sleep(self, slept):
        writer = Writer(script("one", "two"))
        writer.budget = FailOpenBudget(from_url("memory://?limit=1&window=60"))
        assert [writer.commit(), writer.commit()] == ["one", "two"]
        assert slept == [pytest.approx(60, abs=1)]

    def test_a_pause_of_the_thread_after_the_budget_has_decided_is_no_further_wait(self, slept):
        budget = from_url("memory://?limit=1&window=60")
        renew = budget.renew

        def renew_and_pause(*args):
            renewed = renew(*args)
            end = monotonic() + 0.05
            while monotonic() < end:
                pass
            return renewed

        budget.renew = renew_and_pause
        writer = Writer(script("one", "two"))
        writer.budget = FailOpenBudget(budget)
        assert [writer.commit(), writer.commit()] == ["one", "two"]
        assert slept == [pytest.approx(60, abs=1)]


class TestCancelling:
    def test_a_cancelled_wait_raises_an_exception_that_says_what_was_tried(self):
        writer = Writer(script(refused("43 minutes")))
        target = TARGET._replace(repository=TARGET.repository._replace(repo_id="you/cancelled"))
        waiting = threading.Event()
        writer.hooks = Hooks([lambda event: waiting.set()])
        raised: list = []

        def commit():
            try:
                Throttle(writer, target).commit(writer.call)
            except WaitCancelled as error:
                raised.append(error)

        thread = threading.Thread(target=commit)
        thread.start()
        assert waiting.wait(30)
        writer.waits.cancel()
        thread.join(30)
        (error,) = raised
        assert isinstance(error.__cause__, Refused)
        assert gave_up(error).calls == 1

    def test_a_commit_that_waits_for_another_one_can_be_cancelled(self):
        target = TARGET._replace(repository=TARGET.repository._replace(repo_id="you/queue"))
        writer = Writer(lambda: None)
        call = Throttle(writer, target)
        raised: list = []

        def commit():
            try:
                call.commit(writer.call)
            except WaitCancelled as error:
                raised.append(error)

        other = Permit(gate.current.value.of(target.repository))
        other.acquire(lambda granted, seconds: True)
        thread = threading.Thread(target=commit)
        thread.start()
        writer.waits.cancel()
        thread.join(30)
        assert len(raised) == 1


def test_a_hook_may_commit_while_its_commit_waits(time):
    other = Writer(script("from the hook"))
    writer = Writer(script(refused(), "done"))
    writer.hooks = Hooks([lambda event: writer.events.append(other.commit())])
    assert writer.commit() == "done"
    assert writer.events == ["from the hook"]


LOCKED = "Another commit operation is in progress for this repository. Please try again later."


class TestContention:
    def test_the_commit_lock_uses_up_no_retry_and_closes_no_gate(self, time):
        locked = [Refused(Response(text=LOCKED, status_code=409)) for _ in range(8)]
        writer = Writer(script(*locked, refused(), "done"))
        assert writer.commit() == "done"
        *contended, throttled = writer.events
        assert [event.line.split()[2:4] for event in contended] == [
            [f"retry={retry}/100", "reason=409"] for retry in range(1, 9)
        ]
        assert {event.limiter for event in contended} == {"lock"}
        assert (throttled.retry, throttled.max_retries, throttled.reason) == (1, 5, 429)
        assert max(time.waits[:8]) <= 8

    def test_it_is_given_up_in_the_end(self, time):
        locked = Refused(Response(text=LOCKED, status_code=409))
        writer = Writer(script(*[locked] * 101))
        with pytest.raises(Refused) as caught:
            writer.commit()
        assert caught.value is locked
        assert writer.events[-1].reason == 409
        assert gave_up(locked).calls == 101

    def test_a_full_queue_of_the_git_backend_is_tried_again_within_seconds(self, time):
        queue = Refused(Response({"RateLimit": '"api";r=949;t=271'}, '{"error": "maximum queue size reached"}'))
        writer = Writer(script(queue, "done"))
        assert writer.commit() == "done"
        assert time.waits[0] <= 8
        assert writer.events[0].limiter == "queue"

    def test_a_budget_counts_the_commit_once(self, time):
        writer = Writer(script(Refused(Response(text=LOCKED, status_code=409)), "one", "two"))
        writer.budget = FailOpenBudget(from_url("memory://?limit=2&window=600"))
        assert [writer.commit(), writer.commit()] == ["one", "two"]
        assert max(time.waits) <= 8

    def test_any_other_conflict_passes_through(self, time):
        other = Refused(Response(text="Reference already exists", status_code=409))
        with pytest.raises(Refused):
            Writer(script(other)).commit()
        assert time.waits == []


class TestGivingUp:
    def test_giving_up_is_emitted_and_can_be_read_from_the_exception(self, time):
        writer = Writer(script(refused("about 3 hours")))
        with pytest.raises(Refused) as caught:
            writer.commit()
        (event,) = writer.events
        assert isinstance(event, GaveUpEvent)
        assert event.line.startswith("bake_gave_up source=ambientcg repo=you/textures retry=0/5 reason=429 ")
        tried = gave_up(caught.value)
        assert (tried.calls, tried.waited_s, tried.retry_in_s) == (1, 0, 8970)
        assert "max_total_wait=7200" in tried.reason

    def test_an_outer_loop_does_not_retry_what_an_inner_one_gave_up_on(self, time):
        inner = Writer(script(refused("about 3 hours")))
        outer = Writer(inner.commit)
        with pytest.raises(Refused):
            outer.call_it()
        assert outer.events == []


def test_current_is_the_call_of_this_thread_alone():
    call = Throttle(Writer(script()), TARGET)
    seen: list = []

    def attempt():
        seen.append(current())
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()

    call.run(attempt, lambda: None)
    assert seen == [call, None]
    assert current() is None


class Hub:
    """The limiter of the local Hub, without a network. Each commit takes `seconds`."""

    def __init__(self, time, model: str, limit: int = 128, window: float = 3600.0, seconds: float = 0.0) -> None:
        self.limiter = Limiter(limit, window, model, time.now)
        self.time, self.seconds = time, seconds
        self.lock = threading.Lock()
        self.landed: list[float] = []
        self.refused: list[float] = []

    def commit(self) -> None:
        with self.lock:
            self.time.advance(self.seconds)
            if self.limiter.take("you/textures"):
                self.landed.append(self.time.now())
                return
            self.refused.append(self.time.now())
            wait = self.limiter.standing("you/textures").reset_in
        raise Refused(Response(text=quota_refusal(COMMIT, self.limiter.limit, self.limiter.window, wait)))

    def optimum(self, commits: int) -> float:
        """Commit n lands floor((n - 1) / limit) windows after the first one at the earliest."""
        return (commits - 1) // self.limiter.limit * self.limiter.window


@pytest.mark.parametrize("model", ["fixed", "sliding"])
@pytest.mark.parametrize("seconds", [0.0, 0.5, 5.0, 15.0], ids=lambda seconds: f"{seconds:g}s-a-commit")
def test_600_commits_of_one_writer_take_at_most_5_percent_more_than_the_optimum(time, model, seconds):
    hub = Hub(time, model, seconds=seconds)
    writer = Writer(hub.commit, RetryPolicy())
    for _ in range(600):
        writer.commit()
    assert len(hub.landed) == 600
    assert hub.landed[-1] <= 1.05 * hub.optimum(600) + 600 % 128 * seconds
    assert len(hub.refused) <= 2 * 4
    assert len(writer.events) == len(hub.refused)


@pytest.mark.parametrize("model", ["fixed", "sliding"])
@pytest.mark.parametrize("limit", [16, 128])
def test_sixteen_threads_get_at_most_two_refusals_per_window(time, model, limit):
    hub = Hub(time, model, limit=limit)

    def work():
        writer = Writer(hub.commit, RetryPolicy(max_retries=20, max_total_wait=1e6))
        for _ in range(6 * limit // 16):
            writer.commit()

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(hub.landed) == 6 * limit
    assert len(hub.refused) <= 2 * 6
    assert hub.landed[-1] <= 1.05 * hub.optimum(6 * limit)
