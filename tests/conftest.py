"""What holds for every test."""

import os
import signal

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Where several processes test, each and all that it starts compute with one thread: more would be in each other's way.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

# For tests that import onnxruntime themselves, or run DVC before they have told a new project's config.
os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "DVC_NO_ANALYTICS": "1"}


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Let Ctrl-C reach what tests start although pytest may run in the background, where a shell has it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


# The longest, which wait for servers and workers more than they compute: they begin first, each in its own process.
_LONG = {
    "tests/flows/test_retrain.py": "retrain",
    "tests/flows/test_interrupted.py": "interrupted",
    "tests/flows/test_loop.py": "loop",
    "tests/flows/test_stack.py": "loop",
    "tests/flows/test_power_cut.py": "power cut",
    "tests/flows/test_operators_screen.py": "power cut",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first."""
    items.sort(key=lambda item: _scope(item.nodeid) not in _LONG.values())


def _scope(node_id: str) -> str:
    file = node_id.split("::")[0]
    return _LONG.get(file, file)


class _Files(LoadScopeScheduling):
    """A file's tests share what they set up."""

    def _split_scope(self, nodeid: str) -> str:
        return _scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Give a process that is free the next file."""
    config.option.loadscopereorder = False
    return _Files(config, log)
