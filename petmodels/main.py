"""The command line. Exit codes: 0 done; 1 a request that can't be met; 2 a command that can't be understood; 3 not
found; 4 access refused; 5 the store failed or somebody else was quicker; 6 bytes that must not be used; 7 some images
could not be read; 8 the store can't be written safely; 9 this machine lacks something; 130 interrupted, 143
terminated.
"""

import atexit
import errno
import io
import os
import signal
import sys
import time
import warnings
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

import petmodels
from petmodels.commands_predict import predict
from petmodels.commands_read import diff, find, history, list_versions, show_version
from petmodels.commands_transfer import copy, mirror, pull, repair, verify
from petmodels.commands_write import keygen, promote, prune, publish, rollback, withdraw
from petmodels.doctor import doctor
from petmodels.errors import MachineError, PetmodelsError
from petmodels.machine import LACKS_MEMORY, NO_THREADS
from petmodels.terminal import lead_nowhere, say, show

_ENDING = (signal.SIGTERM, signal.SIGINT)
_PATIENCE_SECONDS = 60

app = typer.Typer(
    name="petmodels",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Versioned image classifiers: publish, pull, verify and predict.",
    epilog="PETMODELS_REGISTRY and the other settings are described in docs/consumer.md. Exit codes: 0 done, "
    "1 can't be met, 2 not understood, 3 not found, 4 access refused, 5 store failed, "
    "6 bytes not to be used, 7 some images unread, 8 store can't be written safely, 9 machine lacks something, "
    "130 interrupted, 143 terminated.",
)


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        show(f"petmodels {petmodels.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Answer what is asked of the program itself."""


for command in (
    publish, promote, rollback, history, pull, predict, verify, repair, diff, find, copy, mirror, withdraw, prune,
    keygen, doctor,
):  # fmt: skip
    app.command()(command)
app.command("list")(list_versions)
app.command("show")(show_version)


def main() -> None:
    """Run the command line; a person's mistake costs one line and an exit code, only a bug shows a traceback."""
    _set_up_streams()
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as it is in the background of a shell's script
            signal.signal(number, _interrupted)
    warnings.filterwarnings("ignore", module=r"PIL\b")  # of large and odd files; predict answers or refuses each
    try:
        try:
            app(standalone_mode=True)
        finally:
            sys.stdout.flush()
    except PetmodelsError as error:
        say(f"petmodels: {error}")
        sys.exit(error.exit_code)
    except MemoryError:
        say(f"petmodels: {LACKS_MEMORY} for this")
        sys.exit(MachineError.exit_code)
    except RuntimeError as error:
        if str(error) != "can't start new thread":
            raise
        say(f"petmodels: {NO_THREADS}")
        sys.exit(MachineError.exit_code)
    except BrokenPipeError:
        lead_nowhere(sys.stdout)
        sys.exit(1)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EIO}:
            raise
        lead_nowhere(sys.stdout)
        say(f"petmodels: the output can't be written: {error.strerror}")
        sys.exit(MachineError.exit_code)


def _set_up_streams() -> None:
    """Let names that are no text be printed, and talk get lost where stderr is closed; without a stdout there's no use.

    Exits with MachineError's code where stdout is closed: what was found out would be lost without a word.
    """
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    if sys.stdout is None:
        say("petmodels: the output can't be written, stdout is closed; to throw it away: >/dev/null")
        sys.exit(MachineError.exit_code)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may hold bytes that are no text


def _interrupted(number: int, _frame: FrameType | None) -> NoReturn:
    """End, and tidy up first; on a second signal, or when that takes too long, end on the spot, which loses nothing."""
    end = time.monotonic() + _PATIENCE_SECONDS
    for ending in _ENDING:
        signal.signal(ending, lambda *_: os._exit(128 + number))
    if hasattr(signal, "SIGALRM"):
        # One that comes in the instant in which this thread begins to wait for another one wakes it no more: so it is
        # woken now and then, and Python runs what is due.
        signal.signal(signal.SIGALRM, lambda *_: os._exit(128 + number) if time.monotonic() > end else None)
        signal.setitimer(signal.ITIMER_REAL, 1.0, 1.0)
        # At its very end Python handles no signal any more, and each would kill the process.
        atexit.register(lambda: signal.setitimer(signal.ITIMER_REAL, max(end - time.monotonic(), 1.0)))
    say("petmodels: interrupted; run it again to go on")
    sys.exit(128 + number)
