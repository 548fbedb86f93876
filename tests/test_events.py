"""The log lines are a contract: other people's programs parse them, and no field can forge one."""

from __future__ import annotations

import dataclasses
import re
from typing import get_args

import pytest

from mat_vis_hub import ConflictEvent, Event, GaveUpEvent, PaceEvent, RecoveredEvent, ThrottleEvent, WaitingEvent
from mat_vis_hub._internal import sanitize

CONTRACT = re.compile(
    r"^bake_throttle source=(\S+) retry=(\d+)/(\d+) reason=(\d{3}) wait_s=([\d.]+) elapsed=(\d+m\d+s)$"
)
TOKEN = "hf_" + "a" * 34

WHERE = {"source": "ambientcg", "repo_id": "you/textures", "repo_type": "dataset", "revision": "v2026.04.2"}
ERROR = RuntimeError("refused")

EVENTS = [
    ThrottleEvent(**WHERE, retry=1, max_retries=5, wait_s=2670.04, elapsed_s=725.9, hint="body", error=ERROR),
    PaceEvent(**WHERE, reason="gate", wait_s=12.34, elapsed_s=0.0),
    WaitingEvent(**WHERE, reason="429", wait_s=2370.04, elapsed_s=1025.9),
    ConflictEvent(**WHERE, retry=1, max_retries=6, wait_s=0.31, elapsed_s=3.2, error=ERROR),
    RecoveredEvent(**WHERE, oid="0" * 40),
    GaveUpEvent(
        **WHERE,
        retries=5,
        max_retries=5,
        elapsed_s=4500.0,
        waited_s=4400.0,
        reason=429,
        error=ERROR,
        why="max_retries=5 allows no further retry",
    ),
]
THROTTLE, PACE, WAITING, CONFLICT, RECOVERED, GAVE_UP = EVENTS


def test_the_examples_are_of_all_kinds():
    assert {type(event) for event in EVENTS} == set(get_args(Event))


class TestLine:
    @pytest.mark.parametrize(
        ("event", "line"),
        [
            (THROTTLE, "bake_throttle source=ambientcg retry=1/5 reason=429 wait_s=2670.0 elapsed=12m5s"),
            (PACE, "bake_pace source=ambientcg repo=you/textures reason=gate wait_s=12.3 elapsed=0m0s"),
            (
                dataclasses.replace(PACE, reason="budget", used=128, limit=128),
                "bake_pace source=ambientcg repo=you/textures reason=budget used=128/128 wait_s=12.3 elapsed=0m0s",
            ),
            (WAITING, "bake_waiting source=ambientcg repo=you/textures reason=429 wait_s=2370.0 elapsed=17m5s"),
            (CONFLICT, "bake_conflict source=ambientcg repo=you/textures retry=1/6 reason=412 elapsed=0m3s"),
            (RECOVERED, f"bake_recovered source=ambientcg repo=you/textures oid={'0' * 40}"),
            (GAVE_UP, "bake_gave_up source=ambientcg repo=you/textures retry=5/5 reason=429 elapsed=75m0s"),
        ],
        ids=lambda value: value.split()[0] if isinstance(value, str) else "",
    )
    def test_is(self, event, line):
        assert event.line == line

    def test_of_a_throttle_event_keeps_its_contract(self):
        assert CONTRACT.match(THROTTLE.line).groups() == ("ambientcg", "1", "5", "429", "2670.0", "12m5s")

    @pytest.mark.parametrize("status", [409, 412, 503])
    def test_of_a_throttle_event_names_the_status_that_is_retried(self, status):
        assert f" reason={status} " in dataclasses.replace(THROTTLE, reason=status).line

    def test_of_a_throttle_event_says_000_where_there_was_no_answer(self):
        line = dataclasses.replace(THROTTLE, reason=0).line
        assert CONTRACT.match(line)[4] == "000"
        assert " reason=000 " in dataclasses.replace(GAVE_UP, reason=0).line

    def test_keeps_names_in_any_script(self):
        assert " source=材质库 " in dataclasses.replace(THROTTLE, source="材质库").line


class TestForgery:
    @pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
    @pytest.mark.parametrize(
        "value",
        [
            "two words",
            "a wait_s=0.0",
            "a\nbake_throttle source=evil retry=1/5 reason=429 wait_s=1.0 elapsed=0m0s",
            "x\nbake_done source=forged",
            "a\r\nb",
            "a\x85b\u2028c\u2029d\x0be\x0cf\x1cg",
            "\x1b[2Khidden",
            "a\u202eb\u2066c",
            "a\u3164bake_done\u2800b",
            "a\x00b",
            "\ud800",
            "",
            "x" * 100_000,
            TOKEN,
            f"hf_oauth_{'a' * 40}",
            f"hf_jwt_{'a' * 40}",
            "whatever-HF_TOKEN-holds",
            "x" * 190 + TOKEN,
        ],
        ids=lambda value: ascii(value)[:20],
    )
    def test_no_text_forges_a_line_or_a_field_or_shows_a_token(self, event, value, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "whatever-HF_TOKEN-holds")
        strings = [field.name for field in dataclasses.fields(event) if isinstance(getattr(event, field.name), str)]
        line = dataclasses.replace(event, **dict.fromkeys(strings, value)).line
        assert [word.partition("=")[0] for word in line.split(" ")] == [
            word.partition("=")[0] for word in event.line.split(" ")
        ]
        assert len(line.splitlines()) == 1
        assert len(line) < 800
        assert line.isprintable()
        assert "hf_" not in line
        assert "HF_TOKEN" not in line
        if event is THROTTLE:
            assert CONTRACT.match(line)


def test_the_fields_keep_what_was_said():
    event = dataclasses.replace(THROTTLE, source=TOKEN, repo_id=f"you/{TOKEN}")
    assert (event.source, event.repo_id) == (TOKEN, f"you/{TOKEN}")


def test_a_registered_token_of_any_form_is_not_shown(monkeypatch):
    monkeypatch.setattr(sanitize, "_secrets", {})
    sanitize.register_secret("corporate.token")
    assert " source=by-*** " in dataclasses.replace(THROTTLE, source="by-corporate.token").line
