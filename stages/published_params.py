"""Say of params.yaml what report and bundle may show to anyone.

Reads params.yaml; leaves nothing.
"""

from pathlib import Path
from typing import Any

from stages.addresses import kind_of, shown
from stages.params import all_sections


def published(path: Path) -> dict[str, dict[str, Any]]:
    """Return all sections as they may be shown to anyone.

    The source stands there without the folder of this machine that holds it, and without a signature in its address.
    Raises ParamsError as `all_sections` does for a file that can't be read.
    """
    sections = all_sections(path)
    source = str(sections["download"]["source"])
    told = Path(source).name if kind_of(source) == "path" else shown(source)
    return sections | {"download": sections["download"] | {"source": told}}
