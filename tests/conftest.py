"""What holds for every test."""

import signal

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Let Ctrl-C reach what tests start although pytest may run in the background, where a shell has it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class _Files(LoadScopeScheduling):
    """A file's tests share what they set up, and the flows' stacks would keep each other waiting."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return "flows" if file.startswith("tests/flows/") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Give a process that is free the next file, or all of the flows' tests."""
    return _Files(config, log)
