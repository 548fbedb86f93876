"""Hooks receive every event, and cannot break a commit."""

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

    def test_escapes_what_the_terminal_cannot_encode(self, monkeypatch):
        out = io.TextIOWrapper(raw := io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", out)
        print_line(replace(EVENT, source="材质"))
        assert b"source=\\u6750\\u8d28 " in raw.getvalue()

    def test_does_nothing_without_standard_output(self, monkeypatch):
        monkeypatch.setattr(sys, "stdout", None)
        print_line(EVENT)


class TestLogEvent:
    def test_logs_the_line_with_the_fields_in_extra(self, caplog):
        with caplog.at_level(logging.WARNING, "mat_vis_hub"):
            log_event(EVENT)
        (record,) = caplog.records
        assert record.name == "mat_vis_hub"
        assert record.getMessage() == EVENT.line
        assert (record.source, record.retry, record.wait_s, record.hint) == ("ambientcg", 1, 2670.04, "body")
        assert record.error == "refused"

    def test_text_in_extra_is_on_one_line(self, caplog):
        with caplog.at_level(logging.WARNING, "mat_vis_hub"):
            log_event(replace(EVENT, error=RuntimeError("refused\nbake_done source=evil")))
        assert caplog.records[0].error == "refused bake_done source=evil"

    def test_text_in_extra_holds_no_token(self, caplog, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "corporate-token")
        tokens = [f"hf_{'a' * 34}", f"hf_oauth_{'a' * 40}", f"hf_jwt_{'a' * 40}", "corporate-token"]
        with caplog.at_level(logging.WARNING, "mat_vis_hub"):
            log_event(replace(EVENT, source=tokens[0], error=RuntimeError(" ".join(tokens))))
        assert caplog.records[0].error == "*** *** *** ***"
        assert caplog.records[0].source == "***"


class TestHooks:
    def test_the_default_prints_the_line(self, capsys):
        Hooks(None).emit(EVENT)
        assert capsys.readouterr().out == EVENT.line + "\n"

    def test_an_empty_list_prints_nothing(self, capsys):
        Hooks([]).emit(EVENT)
        assert capsys.readouterr() == ("", "")

    def test_one_that_raises_is_reported_once_and_the_others_are_called(self, caplog):
        received = []

        def broken(event):
            raise RuntimeError("no disk")

        hooks = Hooks([broken, received.append])
        for _ in range(3):
            hooks.emit(EVENT)
        assert len(received) == 3
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "broken" in caplog.text
        assert "no disk" in caplog.text

    def test_ctrl_c_in_one_is_raised(self):
        def interrupted(event):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Hooks([interrupted]).emit(EVENT)

    @pytest.mark.parametrize("hooks", [print, 5, ["not a function"]], ids=repr)
    def test_what_is_no_list_of_callables_is_a_type_error(self, hooks):
        with pytest.raises(TypeError, match="hook"):
            Hooks(hooks)
