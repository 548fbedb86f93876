"""The log lines are a contract: other people's scrapers read them, and nobody can forge one."""

from __future__ import annotations

import io
import logging
import re
import sys
from types import SimpleNamespace

import pytest

from mat_vis_hub import PaceEvent, RecoveredEvent, ThrottleEvent, log_event, print_line
from mat_vis_hub.events import ConflictEvent, Hooks, elapsed, without_secrets

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
        ("seconds", "words"), [(0, "0m0s"), (59.999, "0m59s"), (725, "12m5s"), (4500, "75m0s"), (-1, "0m0s")]
    )
    def test_elapsed_is_minutes_and_whole_seconds(self, seconds, words):
        assert elapsed(seconds) == words

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


class TestPrintLine:
    def test_prints_one_line_in_one_piece_and_flushes(self, monkeypatch):
        calls: list = []
        stream = SimpleNamespace(encoding="utf-8", write=calls.append, flush=lambda: calls.append("flushed"))
        monkeypatch.setattr(sys, "stdout", stream)
        print_line(throttle())
        assert calls == [throttle().line + "\n", "flushed"]

    def test_a_terminal_of_another_encoding_loses_no_event(self, monkeypatch):
        out = io.TextIOWrapper(raw := io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", out)
        print_line(throttle(source="材质"))
        assert b"source=\\u6750\\u8d28 " in raw.getvalue()

    def test_without_standard_output_it_is_silent(self, monkeypatch):
        monkeypatch.setattr(sys, "stdout", None)
        print_line(throttle())


class TestLogEvent:
    def test_the_line_with_the_fields_in_extra(self, caplog):
        with caplog.at_level(logging.WARNING, "mat_vis_hub"):
            log_event(throttle())
        (record,) = caplog.records
        assert record.name == "mat_vis_hub"
        assert record.getMessage() == throttle().line
        assert (record.source, record.retry, record.wait_s, record.hint) == ("ambientcg", 1, 2670.04, "body")
        assert record.error == "refused"

    def test_a_server_s_text_cannot_begin_a_line_of_its_own(self, caplog):
        with caplog.at_level(logging.WARNING, "mat_vis_hub"):
            log_event(throttle(error=RuntimeError("refused\nbake_done source=evil")))
        assert caplog.records[0].error == "refused bake_done source=evil"


class TestHooks:
    def test_the_default_prints(self, capsys):
        Hooks(None).tell(throttle())
        assert capsys.readouterr().out == throttle().line + "\n"

    def test_none_at_all_is_silence(self, capsys):
        Hooks([]).tell(throttle())
        assert capsys.readouterr() == ("", "")

    def test_one_that_raises_is_reported_once_and_stops_nobody(self, caplog):
        told = []

        def broken(event):
            raise RuntimeError("no disk")

        hooks = Hooks([broken, told.append])
        for _ in range(3):
            hooks.tell(throttle())
        assert len(told) == 3
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "broken" in caplog.text
        assert "no disk" in caplog.text

    def test_ctrl_c_in_one_passes_through(self):
        def interrupted(event):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Hooks([interrupted]).tell(throttle())

    @pytest.mark.parametrize("hooks", [print, 5, ["not a function"]], ids=repr)
    def test_nonsense_is_refused_at_once(self, hooks):
        with pytest.raises(TypeError, match="hook"):
            Hooks(hooks)


def test_secrets_are_blanked_by_value_and_by_look():
    assert without_secrets(f"a {TOKEN} b s3cret c", ["s3cret", None, False, ""]) == "a *** b *** c"
