"""How a flow ends: what is told on the run, and what never is."""

import traceback

import pytest

from flows.outcome import settled

PLANTED = "a-value-like-a-key"


def test_a_bug_stays_one_and_tells_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PLANTED)

    @settled
    def flow() -> str:
        try:
            raise KeyError(f"key {PLANTED}")
        except KeyError as error:
            raise RuntimeError(f"no answer with {PLANTED}", 7) from error

    with pytest.raises(RuntimeError) as raised:
        flow()

    told = "".join(traceback.format_exception(raised.value))
    assert raised.value.args == ("no answer with ***", 7)
    assert "KeyError: 'key ***'" in told
    assert PLANTED not in told


def test_exceptions_that_lead_to_each_other_come_to_an_end() -> None:
    first, second = ValueError("one"), ValueError("two")
    first.__context__, second.__context__ = second, first

    @settled
    def flow() -> str:
        raise first

    with pytest.raises(ValueError, match="one"):
        flow()
