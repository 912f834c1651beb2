"""Name the labels to look at first: an image that a head which never saw it calls by another label than its own.

Reads nothing; leaves doubtful.csv in a folder it is given. A model that was trained on a wrong label has learned it, so
its losses on the train side are silent about it; probabilities from outside of the fold aren't (C. Northcutt, L. Jiang,
I. Chuang, Confident Learning, JAIR 70, 2021).
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stages import scores
from stages.outputs import write_csv

NUM_FOLDS = 5
# The optimum takes some fifty, a third of the time; with fifteen the same labels came first.
_MAX_STEPS = 30
_DIGITS = 6

Rows = Sequence[Mapping[str, str]]
Features = npt.NDArray[np.float32]


class Doubt(NamedTuple):
    """An image by its number, the label that the head names instead, and how likely it calls that and its own."""

    image: int
    suggested: int
    suggested_probability: float
    label_probability: float
    loss: float


def write_doubtful(
    path: Path, sides: Mapping[str, Rows], features: Mapping[str, Features], labels: Sequence[str]
) -> None:
    """Write doubtful.csv: the images of all sides whose label is doubtful, the greatest loss first.

    `features` are those of a body that has seen no label, side by side: images x channels.
    """
    rows = [(side, row) for side in sides for row in sides[side]]
    place = {label: number for number, label in enumerate(labels)}
    given = np.array([place[row["label"]] for _, row in rows], dtype=np.int64)
    groups = [row.get("group") or row["path"] for _, row in rows]
    found = doubts(np.concatenate([features[side] for side in sides]), given, groups, len(labels))
    columns = ["path", "label", "side", "suggested", "label_probability", "suggested_probability", "loss"]
    write_csv(
        path,
        [*columns, "sha256", "source"],
        (
            [row["path"], row["label"], side, labels[one.suggested], _short(one.label_probability),
             _short(one.suggested_probability), _short(one.loss), row["sha256"], row["source"]]
            for one in found for side, row in [rows[one.image]]
        ),
    )  # fmt: skip


def doubts(features: Features, given: scores.IntArray, groups: Sequence[str], num_labels: int) -> list[Doubt]:
    """Return the images whose label is doubtful, the greatest loss first.

    An image whose label no other group has is never doubtful: the head that didn't see it doesn't know its label.
    """
    fold_of = folds(given, groups)
    found = []
    for fold in range(NUM_FOLDS):
        held = fold_of == fold
        judged = np.flatnonzero(held & np.isin(given, given[~held]))
        if not len(judged):
            continue
        known = scores.log_probabilities(_logits(features[~held], given[~held], features[judged], num_labels))
        for image, said in zip(judged, known, strict=True):
            suggested = int(said.argmax())
            if suggested != given[image]:
                loss = -float(said[given[image]])
                found.append(Doubt(int(image), suggested, float(np.exp(said[suggested])), float(np.exp(-loss)), loss))
    return sorted(found, key=lambda one: (-one.loss, one.image))


def folds(given: scores.IntArray, groups: Sequence[str]) -> scores.IntArray:
    """Return each image's fold, one for all copies of a picture; a label of more groups than one is in several folds.

    Neither the order of the images nor any path decides it.
    """
    images = defaultdict[str, list[int]](list)
    for image, group in enumerate(groups):
        images[group].append(image)
    sums, dealt, sizes = Counter(given.tolist()), Counter[tuple[int, int]](), Counter[int]()
    fold_of = np.zeros(len(given), dtype=np.int64)
    for group in sorted(images, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        its = Counter(given[images[group]].tolist())
        # Where the smallest share of its labels lies, and of equal folds the emptiest.
        filled = [(sum(dealt[n, label] / sums[label] for label in its), sizes[n], n) for n in range(NUM_FOLDS)]
        fold = min(filled)[-1]
        fold_of[images[group]] = fold
        dealt.update({(fold, label): number for label, number in its.items()})
        sizes[fold] += len(images[group])
    return fold_of


def _logits(seen: Features, given: scores.IntArray, unseen: Features, num_labels: int) -> npt.NDArray[np.float32]:
    import torch

    from stages import probe

    # No number is drawn for it, which would move those that others draw afterwards.
    layer: torch.nn.Linear = torch.nn.utils.skip_init(  # type: ignore[no-untyped-call]
        torch.nn.Linear, seen.shape[1], num_labels
    )
    probe.fit(layer, seen, given, max_steps=_MAX_STEPS)
    with torch.inference_mode():
        logits: npt.NDArray[np.float32] = layer(torch.from_numpy(unseen)).numpy()
    return logits


def _short(value: float) -> float:
    return round(value, _DIGITS)
