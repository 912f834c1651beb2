"""Choose the test pictures that the report shows, and make each small enough to travel inside it.

Reads data/prepared's images as the model saw them; leaves nothing itself.
"""

import base64
import io
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from PIL import Image

from stages.figures import readable
from stages.images import model_input

MAX_PICTURES = 1200  # at about 6 kB each they leave half of a 15 MB report to spare
MAX_MISTAKES_IN_CELL = 24
MAX_RIGHT_IN_CELL = 4
SIDE = 128  # pixels
QUALITY = 72

Row = dict[str, str]


def cells(predictions: Sequence[Row]) -> dict[tuple[str, str], list[int]]:
    """Return the numbers of the test images of each cell of the confusion matrix, the greatest loss first."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number in worst_first(predictions):
        found[predictions[number]["label"], predictions[number]["predicted"]].append(number)
    return dict(found)


def worst_first(predictions: Sequence[Row]) -> list[int]:
    """Return the numbers of the test images in the order of their loss, the greatest first."""
    return sorted(range(len(predictions)), key=lambda number: -float(predictions[number]["loss"]))


def chosen(predictions: Sequence[Row], num_top_losses: int) -> list[int]:
    """Return the numbers of the images worth a picture: the top losses, then a fair share of every cell.

    Each cell gives its worst image before any gives its second, and mistakes come before right answers.
    """
    mistakes, right = [], []
    for (label, predicted), numbers in cells(predictions).items():
        if label == predicted:
            right.append(numbers[:MAX_RIGHT_IN_CELL])
        else:
            mistakes.append(numbers[:MAX_MISTAKES_IN_CELL])
    in_turn = chain(*zip_longest(*mistakes), *zip_longest(*right))
    ordered = dict.fromkeys(chain(worst_first(predictions)[:num_top_losses], in_turn))
    ordered.pop(None, None)
    return sorted(list(ordered)[:MAX_PICTURES])


def thumbnail(path: Path, image_size: int) -> str:
    """Return the part of a prepared image that the model sees as a small JPEG in a data: address."""
    image = Image.fromarray(model_input(path, image_size))
    return jpeg_address(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0))


def jpeg_address(image: Image.Image) -> str:
    """Return an image as a JPEG in a data: address, the same bytes on every run."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def listing(predictions: Sequence[Row], labels: Sequence[str], pictured: Sequence[int]) -> dict[str, Any]:
    """Return what the page's script needs to show the pictures of a cell `<row>-<column>` of a matrix of labels."""
    place = {label: number for number, label in enumerate(labels)}
    embedded = set(pictured)
    content = {
        f"{place[label]}-{place[predicted]}": [_entry(predictions[n], n) for n in numbers if n in embedded]
        for (label, predicted), numbers in cells(predictions).items()
        if label in place and predicted in place
    }
    return {"labels": [readable(label) for label in labels], "cells": content}


def file_name(row: Row) -> str:
    """Return the name, without its folders, under which an image came."""
    return row["source"].rsplit("/", 1)[-1]


def _entry(row: Row, number: int) -> dict[str, Any]:
    return {
        "picture": number,
        "source": file_name(row),
        "said": float(row["probability"]),
        "loss": float(row["loss"]),
    }
