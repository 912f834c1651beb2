"""A long loop says how far it has come, in the way that fits where it is read."""

import io
import sys

import pytest

from stages import progress
from stages.progress import counted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_where_no_terminal_is_a_line_tells_the_count_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0.0)

    assert list(counted("abc", 3, "prepare")) == ["a", "b", "c"]

    assert capsys.readouterr().err == "prepare: 1 of 3\nprepare: 2 of 3\nprepare: 3 of 3\n"


def test_a_short_loop_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(counted("abc", 3, "prepare")) == ["a", "b", "c"]

    assert capsys.readouterr().err == ""


def test_on_a_terminal_it_is_a_bar_that_goes_when_all_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    assert list(counted("abc", 3, "prepare")) == ["a", "b", "c"]

    assert "prepare:   0%" in terminal.getvalue()
    assert "\n" not in terminal.getvalue()
