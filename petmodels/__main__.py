"""`petmodels` and `python -m petmodels`: the command line, which Ctrl-C ends without a word while it is loading."""

import os
import signal


def main() -> None:
    """Run the command line; until it has its own way with signals, let them end the process as any other's."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # numpy's OpenBLAS interrupts a process that can't start its threads; no command computes by it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from petmodels.main import main as run

    run()


if __name__ == "__main__":
    main()
