"""`petmodels` and `python -m petmodels`: the command line, which Ctrl-C ends without a word while it is loading."""

import signal


def main() -> None:
    """Run the command line; until it has its own way with signals, let them end the process as any other's."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from petmodels.main import main as run

    run()


if __name__ == "__main__":
    main()
