"""Ctrl-C and a termination end a stage, wherever they strike."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from tests.stages.conftest import ROOT

# Python runs a handler between any two instructions of the main thread; here right after it has taken the lock of one
# of the pool's conditions, the n-th time that it does.
STRUCK = """
    import os, signal, sys, threading
    from stages.interrupts import end_on_signals
    from stages.threads import in_threads

    enter, taken, strike_at = threading.Condition.__enter__, 0, int(sys.argv[1])

    def struck_enter(self):
        global taken
        got = enter(self)
        if threading.get_ident() == threading.main_thread().ident:
            taken += 1
            if taken == strike_at:
                signal.raise_signal(getattr(signal, sys.argv[2]))
        return got

    threading.Condition.__enter__ = struck_enter
    end_on_signals()
    num_done = 0
    try:
        with in_threads(lambda number: number * number, range(40), ahead=8) as squares:
            for number, square in enumerate(squares):
                assert square == number * number
                num_done += 1
    except BaseException as error:
        print(f"{type(error).__name__} after {num_done}", flush=True)
        sys.exit()
    print("not struck")
"""
STUBBORN = """
    import sys, time
    import stages.interrupts

    stages.interrupts.PATIENCE_SECONDS = int(sys.argv[1])
    stages.interrupts.end_on_signals()
    while True:
        try:
            print("ready", flush=True)
            time.sleep(60)
        except (KeyboardInterrupt, SystemExit) as error:
            print(f"won't end for {type(error).__name__}", flush=True)
"""


def started(script: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def said(script: str, *arguments: str) -> str:
    """Return what the script said, which must end by itself."""
    process = started(script, *arguments)
    try:
        return process.communicate(timeout=60)[0]
    finally:
        process.kill()


@pytest.mark.parametrize(("name", "error"), [("SIGINT", "KeyboardInterrupt"), ("SIGTERM", "SystemExit")])
def test_a_signal_that_strikes_as_a_lock_is_held_leaves_nobody_waiting_for_it(name: str, error: str) -> None:
    # Each of the 40 items is submitted and answered, each of which takes a lock or two.
    lines = [said(STRUCK, str(strike_at), name).strip() for strike_at in (1, 2, 9, 10, 20, 30, 40)]

    assert [line.split()[0] for line in lines] == [error] * len(lines)
    nums_done = [int(line.split()[-1]) for line in lines]
    assert nums_done == sorted(nums_done)
    assert nums_done[0] == 0
    assert 0 < nums_done[-1] < 40


def test_work_that_no_signal_meets_is_done_to_its_end() -> None:
    assert said(STRUCK, "100000", "SIGINT").strip() == "not struck"


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "SystemExit")])
def test_the_second_signal_ends_what_the_first_could_not(number: signal.Signals, error: str) -> None:
    process = started(STUBBORN, "600")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == f"won't end for {error}\n"

    process.send_signal(number)

    assert process.wait(60) == 128 + number
    process.stdout.close()


def test_what_does_not_end_on_a_signal_is_ended_after_a_while() -> None:
    process = started(STUBBORN, "1")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    began = time.monotonic()

    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 128 + signal.SIGTERM
    assert time.monotonic() - began > 0.9
    process.stdout.close()
