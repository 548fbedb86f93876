"""The log lines are a contract: other people's scrapers read them, and nobody can forge one."""

from __future__ import annotations

import re

import pytest

from mat_vis_hub import ConflictEvent, PaceEvent, RecoveredEvent, ThrottleEvent

CONTRACT = re.compile(r"^bake_throttle source=(\S+) retry=(\d+)/(\d+) reason=429 wait_s=([\d.]+) elapsed=(\d+m\d+s)$")
TOKEN = "hf_" + "a" * 34


def throttle(**changes) -> ThrottleEvent:
    values = {
        "source": "ambientcg",
        "repo_id": "you/textures",
        "repo_type": "dataset",
        "revision": "v2026.04.2",
        "retry": 1,
        "max_retries": 5,
        "wait_s": 2670.04,
        "elapsed_s": 725.9,
        "hint": "body",
        "error": RuntimeError("refused"),
    }
    return ThrottleEvent(**{**values, **changes})


def pace(**changes) -> PaceEvent:
    values = {"source": "ambientcg", "repo_id": "you/textures", "repo_type": "dataset", "revision": "main"}
    return PaceEvent(**{**values, "reason": "gate", "wait_s": 12.34, "elapsed_s": 0.0, **changes})


def conflict(**changes) -> ConflictEvent:
    values = {"source": "ambientcg", "repo_id": "you/textures", "repo_type": "dataset", "revision": "main"}
    values |= {"retry": 1, "max_retries": 6, "wait_s": 0.31, "elapsed_s": 3.2, "error": RuntimeError("moved")}
    return ConflictEvent(**{**values, **changes})


class TestLine:
    def test_throttle(self):
        assert throttle().line == "bake_throttle source=ambientcg retry=1/5 reason=429 wait_s=2670.0 elapsed=12m5s"
        assert CONTRACT.match(throttle().line).groups() == ("ambientcg", "1", "5", "2670.0", "12m5s")

    def test_pace(self):
        assert pace().line == "bake_pace source=ambientcg repo=you/textures reason=gate wait_s=12.3 elapsed=0m0s"

    def test_conflict(self):
        line = "bake_conflict source=ambientcg repo=you/textures retry=1/6 reason=412 elapsed=0m3s"
        assert conflict().line == line

    def test_pace_of_a_budget(self):
        line = pace(reason="budget", used=128, limit=128).line
        assert line == (
            "bake_pace source=ambientcg repo=you/textures reason=budget used=128/128 wait_s=12.3 elapsed=0m0s"
        )

    def test_recovered(self):
        event = RecoveredEvent("ambientcg", "you/textures", "dataset", "main", "0" * 40)
        assert event.line == f"bake_recovered source=ambientcg repo=you/textures oid={'0' * 40}"

    @pytest.mark.parametrize(
        "source",
        [
            "two words",
            "a\nbake_throttle source=evil retry=1/5 reason=429 wait_s=1.0 elapsed=0m0s",
            "a\r\nb",
            "a\x85b\u2028c\u2029d\x0be\x0cf\x1cg",
            "\x1b[2Khidden",
            "a\u202eb",
            "a\x00b",
            "\ud800",
            "",
            "x" * 100_000,
            TOKEN,
        ],
        ids=ascii,
    )
    def test_no_source_can_forge_a_line_or_show_a_token(self, source):
        lines = [event(source=source, repo_id=source).line for event in (throttle, pace, conflict)]
        for line in lines:
            assert len(line.splitlines()) == 1
            assert len(line) < 600
            assert line.isprintable()
            assert TOKEN not in line
        assert CONTRACT.match(throttle(source=source).line)

    def test_names_in_any_script_stay_readable(self):
        assert "source=材质库" in throttle(source="材质库").line
