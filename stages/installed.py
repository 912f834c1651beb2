"""Say which versions of the packages that decide what the stages make are installed here, and of Python.

Reads pins.yaml, for their names, and this environment; leaves nothing.
"""

import platform
from importlib.metadata import version
from pathlib import Path


def installed() -> dict[str, str]:
    """Return the versions by name; Python's is called `python`."""
    import yaml

    pins = yaml.safe_load(Path(__file__).with_name("pins.yaml").read_text(encoding="utf-8"))
    return {name: version(name) for name in pins} | {"python": platform.python_version()}
