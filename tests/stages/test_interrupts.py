"""Ctrl-C and a termination end a stage, wherever they strike, and leave nothing half-done."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stages.conftest import ROOT

# Python runs a handler between any two instructions of the main thread; here right after it has taken the lock of one
# of the pool's conditions, the n-th time that it does.
STRUCK = """
    import os, signal, sys, threading, time
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

    def square(number):
        time.sleep(0.01)
        return number * number

    threading.Condition.__enter__ = struck_enter
    os.cpu_count = lambda: 2
    end_on_signals("test")
    num_done = 0
    try:
        with in_threads(square, range(40), ahead=8) as squares:
            for number, found in enumerate(squares):
                assert found == number * number
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
    stages.interrupts.end_on_signals("test")
    while True:
        try:
            print("goes on", flush=True)
            time.sleep(60)
        except (KeyboardInterrupt, SystemExit) as error:
            print(type(error).__name__, flush=True)
"""
SLOW_TO_END = """
    import signal, sys, time
    from stages.interrupts import end_on_signals

    class Slow:
        def __del__(self, sleep=time.sleep):
            sleep(2.5)

    slow = Slow()
    end_on_signals("test")
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        sys.exit(130)
"""
ENDED = "test: ended where it stood; go on with: dvc repro\n"


# The second one reaches another thread than the main one, as if it had come an instant before that began to wait.
UNNOTICED = """
    import signal, threading, time
    from stages.interrupts import AGAIN_SECONDS, end_on_signals

    def work():
        time.sleep(AGAIN_SECONDS + 0.5)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        time.sleep(50)

    end_on_signals("test")
    thread = threading.Thread(target=work)
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        thread.start()
        thread.join()
"""


@contextmanager
def started(script: str, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
    """Yield a process that runs the script, and kill it at the end."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def said(script: str, *arguments: str) -> str:
    """Return what the script said, which must end by itself."""
    with started(script, *arguments) as process:
        text, errors = process.communicate(timeout=40)
        assert errors == ""
        return text.strip()


def stubborn(process: "subprocess.Popen[str]", *lines: str) -> None:
    """Read what the stubborn script says next."""
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in lines] == [f"{line}\n" for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "error"), [("SIGINT", "KeyboardInterrupt"), ("SIGTERM", "SystemExit")])
def test_a_signal_that_strikes_as_a_lock_is_held_leaves_nobody_waiting_for_it(name: str, error: str) -> None:
    # Each of the 40 items is submitted and answered, each of which takes a lock or two.
    lines = [said(STRUCK, str(strike_at), name) for strike_at in (1, 2, 9, 10, 20, 30, 40)]

    assert [line.split()[0] for line in lines] == [error] * len(lines)
    nums_done = [int(line.split()[-1]) for line in lines]
    assert nums_done == sorted(nums_done)
    assert nums_done[0] == 0
    assert 0 < nums_done[-1] < 40


def test_work_that_no_signal_meets_is_done_to_its_end() -> None:
    assert said(STRUCK, "100000", "SIGINT") == "not struck"


@pytest.mark.slow
def test_a_second_ctrl_c_that_wakes_nobody_is_noticed_all_the_same() -> None:
    with started(UNNOTICED) as process:
        text, errors = process.communicate(timeout=30)

    assert (process.returncode, text, errors) == (130, "", ENDED)


@pytest.mark.slow
def test_a_process_that_takes_its_time_to_end_ends_with_its_own_status() -> None:
    with started(SLOW_TO_END) as process:
        text, errors = process.communicate(timeout=30)

    assert (process.returncode, text, errors) == (130, "", "")


def test_ctrl_c_that_is_ignored_in_the_background_stays_ignored() -> None:
    script = """
        import signal
        from stages.interrupts import end_on_signals

        signal.signal(signal.SIGINT, signal.SIG_IGN)
        end_on_signals("test")
        signal.raise_signal(signal.SIGINT)
        print("done")
    """

    assert said(script) == "done"


def test_an_error_in_a_block_that_holds_back_loses_no_signal_and_other_threads_hold_nothing_back() -> None:
    script = """
        import signal, threading
        from stages.interrupts import end_on_signals, held_back

        end_on_signals("test")
        inside, leave = threading.Event(), threading.Event()

        def elsewhere():
            with held_back():
                inside.set()
                leave.wait()

        thread = threading.Thread(target=elsewhere)
        thread.start()
        inside.wait()
        try:
            with held_back():
                signal.raise_signal(signal.SIGINT)
                print("held back")
                raise ValueError
        except KeyboardInterrupt:
            print("struck")
        leave.set()
        thread.join()
    """

    assert said(script) == "held back\nstruck"


def test_a_signal_between_two_renames_strikes_after_them(tmp_path: Path) -> None:
    script = """
        import signal, sys
        from pathlib import Path
        from stages.interrupts import end_on_signals
        from stages.outputs import new_folder

        rename = Path.replace

        def struck(self, target):
            rename(self, target)
            signal.raise_signal(signal.SIGINT)

        end_on_signals("test")
        Path.replace = struck
        try:
            with new_folder(Path(sys.argv[1])) as folder:
                (folder / "new.txt").touch()
        except KeyboardInterrupt:
            print("struck")
    """
    (tmp_path / "out").mkdir()
    (tmp_path / "out/good.txt").touch()

    assert said(script, str(tmp_path / "out")) == "struck"

    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["out", "out/new.txt"]


@pytest.mark.slow
def test_ctrl_c_pressed_again_ends_what_the_first_could_not_but_not_one_that_is_doubled() -> None:
    with started(STUBBORN, "600") as process:
        stubborn(process, "goes on")
        process.send_signal(signal.SIGINT)
        stubborn(process, "KeyboardInterrupt", "goes on")
        process.send_signal(signal.SIGINT)  # as by what forwards it
        time.sleep(1.5)
        assert process.poll() is None

        process.send_signal(signal.SIGINT)

        assert process.wait(40) == 128 + signal.SIGINT
        assert process.stderr is not None
        assert process.stderr.read() == ENDED


@pytest.mark.slow
def test_what_does_not_end_on_a_termination_is_ended_after_a_while() -> None:
    with started(STUBBORN, "3") as process:
        stubborn(process, "goes on")
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        stubborn(process, "SystemExit", "goes on")
        process.send_signal(signal.SIGTERM)  # to its group, once more

        assert process.wait(40) == 128 + signal.SIGTERM
        assert time.monotonic() - began > 2.5
        assert process.stderr is not None
        assert process.stderr.read() == ENDED
