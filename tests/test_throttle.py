"""The loop, without a network: what counts as a refusal, how long one commit waits, and what a window costs."""

from __future__ import annotations

import threading

import pytest

from mat_vis_hub import RetryPolicy, ThrottleEvent
from mat_vis_hub.hooks import Hooks
from mat_vis_hub.local_hub.limiter import Limiter
from mat_vis_hub.local_hub.messages import commit_refusal
from mat_vis_hub.throttle import Target, Throttle, refused_response
from tests.refusals import Response, commit_quota

TARGET = Target("https://huggingface.co", "dataset", "you/textures", "main", "ambientcg")


class Refused(Exception):
    """As huggingface_hub raises it, as far as the loop looks."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.text)
        self.response = response


class Writer:
    """Commits through the loop; keeps what it was told."""

    def __init__(self, call, policy: RetryPolicy | None = None) -> None:
        self.call = call
        self.policy = policy or RetryPolicy(jitter=0)
        self.told: list = []
        self.rewound = 0

    def commit(self):
        return Throttle(TARGET, self.policy, Hooks([self.told.append])).run(self.call, before_retry=self._rewind)

    def _rewind(self) -> None:
        self.rewound += 1


def script(*answers):
    """A call that gives one answer after another; exceptions are raised."""
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
    def test_an_answer_is_passed_on_without_a_word(self, time):
        writer = Writer(script("done"))
        assert writer.commit() == "done"
        assert (writer.told, writer.rewound, time.waits) == ([], 0, [])

    def test_a_refusal_is_told_waited_out_and_tried_again(self, time):
        error = refused()
        writer = Writer(script(error, "done"))
        assert writer.commit() == "done"
        assert time.waits == [90]
        assert writer.rewound == 1
        assert writer.told == [
            ThrottleEvent("ambientcg", "you/textures", "dataset", "main", 1, 5, 90.0, 0.0, "body", error)
        ]

    def test_without_a_hint_the_waits_double(self, time):
        nothing_said = [Refused(Response()) for _ in range(5)]
        writer = Writer(script(*nothing_said, "done"))
        assert writer.commit() == "done"
        assert time.waits == [30, 60, 120, 120, 120]
        assert [event.retry for event in writer.told] == [1, 2, 3, 4, 5]
        assert [event.elapsed_s for event in writer.told] == [0, 30, 90, 210, 330]

    def test_the_last_refusal_is_raised_as_the_object_it_is_with_a_note(self, time):
        refusals = [refused() for _ in range(6)]
        writer = Writer(script(*refusals))
        with pytest.raises(Refused) as caught:
            writer.commit()
        assert caught.value is refusals[-1]
        assert len(writer.told) == 5
        if hasattr(caught.value, "add_note"):
            (note,) = caught.value.__notes__
            assert "dataset repository you/textures" in note
            assert "6 calls in 7m30s" in note
            assert "max_retries=5" in note

    def test_a_wait_beyond_max_total_wait_raises_before_sleeping(self, time):
        writer = Writer(script(refused("about 3 hours")))
        with pytest.raises(Refused) as caught:
            writer.commit()
        assert (time.waits, writer.told) == ([], [])
        if hasattr(caught.value, "add_note"):
            assert "max_total_wait=7200" in caught.value.__notes__[0]

    def test_the_waits_of_one_commit_add_up(self, time):
        writer = Writer(script(*[refused("about 1 hour") for _ in range(6)]))
        with pytest.raises(Refused):
            writer.commit()
        assert time.waits == [2670, 2670]  # a third would make 8010

    def test_a_policy_without_retries_raises_the_first_refusal_and_waits_at_no_gate(self, time):
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
    def test_every_other_exception_passes_through_at_once_and_unchanged(self, time, error):
        writer = Writer(script(error))
        with pytest.raises(type(error)) as caught:
            writer.commit()
        assert caught.value is error
        assert not hasattr(error, "__notes__")
        assert (time.waits, writer.told) == ([], [])


class TestWhatCountsAsARefusal:
    def test_one_that_another_exception_was_raised_from(self):
        wrapped = RuntimeError("Error while uploading 'a.bin' to the Hub.")
        wrapped.__cause__ = refused()
        assert refused_response(wrapped) is wrapped.__cause__.response

    def test_not_one_that_something_else_was_made_of(self):
        forbidden = Refused(Response(status_code=403))
        forbidden.__cause__ = refused()
        assert refused_response(forbidden) is None

    def test_not_one_that_merely_came_before(self):
        later = ValueError()
        later.__context__ = refused()
        assert refused_response(later) is None

    def test_a_response_that_counts_as_false_is_still_a_response(self):
        class RequestsLike(Response):
            def __bool__(self) -> bool:
                return False  # as requests has it for every 4xx

        assert refused_response(Refused(RequestsLike())) is not None

    def test_causes_that_go_in_a_circle(self):
        one, other = RuntimeError(), RuntimeError()
        one.__cause__, other.__cause__ = other, one
        assert refused_response(one) is None

    def test_responses_of_other_kinds(self):
        class BotoLike(Exception):
            response = {"Error": {"Code": "429"}}  # noqa: RUF012 - as botocore has it

        assert refused_response(BotoLike()) is None


class TestGate:
    def test_a_second_writer_waits_for_the_reopening_and_is_told_why(self, time):
        first = Writer(script(refused()), RetryPolicy(max_retries=0))
        with pytest.raises(Refused):
            first.commit()
        time.advance(50)
        second = Writer(script("done"))
        assert second.commit() == "done"
        assert len(time.waits) == 1
        (event,) = second.told
        assert event.line.startswith("bake_pace source=ambientcg repo=you/textures reason=gate wait_s=4")

    def test_one_whose_patience_the_gate_exceeds_earns_its_own_refusal(self, time):
        with pytest.raises(Refused):
            Writer(script(refused("about 1 hour")), RetryPolicy(max_retries=0)).commit()
        own = refused("about 1 hour")
        with pytest.raises(Refused) as caught:
            Writer(script(own), RetryPolicy(max_total_wait=60)).commit()
        assert caught.value is own
        assert time.waits == []


class Hub:
    """The local Hub's limiter, asked without a network, each commit taking some time."""

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
        raise Refused(Response(text=commit_refusal(self.limiter.limit, self.limiter.window, wait)))

    def optimum(self, commits: int) -> float:
        """Commit number n can land no earlier than floor((n - 1) / limit) windows after the first."""
        return (commits - 1) // self.limiter.limit * self.limiter.window


@pytest.mark.parametrize("model", ["fixed", "sliding"])
@pytest.mark.parametrize("seconds", [0.0, 0.5, 5.0, 15.0], ids=lambda seconds: f"{seconds:g}s-a-commit")
def test_600_commits_of_a_lone_writer_take_little_more_than_the_optimum(time, model, seconds):
    hub = Hub(time, model, seconds=seconds)
    writer = Writer(hub.commit, RetryPolicy())
    for _ in range(600):
        writer.commit()
    assert len(hub.landed) == 600
    assert hub.landed[-1] <= 1.05 * hub.optimum(600) + 600 % 128 * seconds
    assert len(hub.refused) <= 2 * 4
    assert len(writer.told) == len(hub.refused)


@pytest.mark.parametrize("model", ["fixed", "sliding"])
@pytest.mark.parametrize("limit", [16, 128])
def test_sixteen_threads_pay_about_as_many_refusals_as_one(time, model, limit):
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
    unforeseen = 16 if limit != 128 else 0  # the end of a window of unusual length is met by whoever is under way
    assert len(hub.refused) <= 2 * 6 + unforeseen
    assert hub.landed[-1] <= 1.05 * hub.optimum(6 * limit)
