"""What a command line left behind, for the tests that run some; the fixture `run` is in conftest.py."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code, and the lines of its data and of its talk."""

    code: int
    data: list[str]
    talk: list[str]

    @property
    def json(self) -> Any:
        return json.loads("\n".join(self.data))


Command = Callable[..., Done]
