"""What holds for every test."""

import signal

import pytest


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Let Ctrl-C reach what tests start although pytest may run in the background, where a shell has it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
