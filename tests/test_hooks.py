"""Who is told of events, and that nobody who is told can break a commit."""

from __future__ import annotations

import io
import logging
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from mat_vis_hub import ThrottleEvent, log_event, print_line
from mat_vis_hub.hooks import Hooks

EVENT = ThrottleEvent(
    source="ambientcg",
    repo_id="you/textures",
    repo_type="dataset",
    revision="v2026.04.2",
    retry=1,
    max_retries=5,
    wait_s=2670.04,
    elapsed_s=725.9,
    hint="body",
    error=RuntimeError("refused"),
)


class TestPrintLine:
    def test_prints_one_line_in_one_piece_and_flushes(self, monkeypatch):
        calls: list = []
        stream = SimpleNamespace(encoding="utf-8", write=calls.append, flush=lambda: calls.append("flushed"))
        monkeypatch.setattr(sys, "stdout", stream)
        print_line(EVENT)
        assert calls == [EVENT.line + "\n", "flushed"]

    def test_a_terminal_of_another_encoding_loses_no_event(self, monkeypatch):
        out = io.TextIOWrapper(raw := io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", out)
        print_line(replace(EVENT, source="材质"))
        assert b"source=\\u6750\\u8d28 " in raw.getvalue()

    def test_without_standard_output_it_is_silent(self, monkeypatch):
        monkeypatch.setattr(sys, "stdout", None)
        print_line(EVENT)


class TestLogEvent:
    def test_the_line_with_the_fields_in_extra(self, caplog):
        with caplog.at_level(logging.WARNING, "mat_vis_hub"):
            log_event(EVENT)
        (record,) = caplog.records
        assert record.name == "mat_vis_hub"
        assert record.getMessage() == EVENT.line
        assert (record.source, record.retry, record.wait_s, record.hint) == ("ambientcg", 1, 2670.04, "body")
        assert record.error == "refused"

    def test_a_server_s_text_cannot_begin_a_line_of_its_own(self, caplog):
        with caplog.at_level(logging.WARNING, "mat_vis_hub"):
            log_event(replace(EVENT, error=RuntimeError("refused\nbake_done source=evil")))
        assert caplog.records[0].error == "refused bake_done source=evil"


class TestHooks:
    def test_the_default_prints(self, capsys):
        Hooks(None).emit(EVENT)
        assert capsys.readouterr().out == EVENT.line + "\n"

    def test_none_at_all_is_silence(self, capsys):
        Hooks([]).emit(EVENT)
        assert capsys.readouterr() == ("", "")

    def test_one_that_raises_is_reported_once_and_stops_nobody(self, caplog):
        told = []

        def broken(event):
            raise RuntimeError("no disk")

        hooks = Hooks([broken, told.append])
        for _ in range(3):
            hooks.emit(EVENT)
        assert len(told) == 3
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "broken" in caplog.text
        assert "no disk" in caplog.text

    def test_ctrl_c_in_one_passes_through(self):
        def interrupted(event):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Hooks([interrupted]).emit(EVENT)

    @pytest.mark.parametrize("hooks", [print, 5, ["not a function"]], ids=repr)
    def test_nonsense_is_refused_at_once(self, hooks):
        with pytest.raises(TypeError, match="hook"):
            Hooks(hooks)
