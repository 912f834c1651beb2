"""Say of params.yaml what report and bundle may show to anyone.

Reads params.yaml; leaves nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.addresses import kind_of, shown
from stages.params import all_sections


def published(path: Path) -> dict[str, dict[str, Any]]:
    """Return all sections as they may be shown to anyone.

    The source stands there without the folder of this machine that holds it, and without a signature in its address; a
    file of weights without its folder too.
    Raises ParamsError as `all_sections` does for a file that can't be read.
    """
    sections = all_sections(path)
    source = str(sections["download"]["source"])
    told = Path(source).name if kind_of(source) == "path" else shown(source)
    return sections | {
        "download": sections["download"] | {"source": told},
        "train": published_training(sections["train"]),
    }


def published_training(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a training as they may be shown to anyone."""
    return {**section, "weights": Path(str(section["weights"])).name}
