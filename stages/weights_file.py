"""Copy a file of weights with notes on what they are: a safetensors file alone names neither network nor temperature.

Reads and leaves one file. safetensors writes such notes in an order that is drawn anew each time; here it is theirs.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path


def copy_with_notes(source: Path, target: Path, notes: Mapping[str, str]) -> None:
    """Copy the tensors of a safetensors file to `target`, with `notes` as its metadata."""
    with source.open("rb") as old, target.open("wb") as new:
        tensors = json.loads(old.read(int.from_bytes(old.read(8), "little")))
        header = json.dumps({**tensors, "__metadata__": dict(notes)}, separators=(",", ":")).encode()
        header += b" " * (-len(header) % 8)  # so that the numbers after it lie where a processor reads them in one go
        new.write(len(header).to_bytes(8, "little") + header)
        shutil.copyfileobj(old, new)
