"""Count what the model named rightly on the test side, a label at a time: what later photographs can be held against.

Reads nothing; leaves nothing.
"""

from collections.abc import Iterable, Mapping


def by_label(rows: Iterable[Mapping[str, str]], named: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return how many images of each label were judged, and named rightly; `named` is what each of `rows` was called.

    Of each group of copies only the first image counts, as for the gate: copies all say the same, and whoever compares
    these numbers with others would take them for more than one answer.
    """
    first: dict[str, tuple[str, str]] = {}
    for row, name in zip(rows, named, strict=True):
        first.setdefault(row["group"], (row["label"], name))
    counts: dict[str, dict[str, int]] = {}
    for label, name in sorted(first.values()):
        its = counts.setdefault(label, {"num_images": 0, "num_right": 0})
        its["num_images"] += 1
        its["num_right"] += name == label
    return counts
