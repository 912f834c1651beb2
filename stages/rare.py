"""Say how often a rare label is found, by its top probability and by thresholds on its probability.

Reads and leaves nothing. A label is rare by the test side's images. The thresholds are chosen on the valid side, where
each finds a part of the label's images; the test side is only counted.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.balance import is_rare
from stages.findings import DIGITS, Choice, Outcome, Side, interval, outcome
from stages.scores import BoolArray, FloatArray

MAX_LABELS = 3  # the rarest; of more, a page of tables would be read by nobody
SHARES = (0.5, 0.75, 0.9, 1.0)  # of the label's valid images, that a threshold finds at least


def rare_labels(valid: Side, test: Side, labels: Sequence[str], choice: Choice) -> list[dict[str, Any]]:
    """Return what is found of each rare label, the rarest first; of a label without a test image nothing can be said.

    `num_expected` is the sum of the label's probabilities over the test side: as many images it claims to have there.
    `num_missed_surely` are those of the label that are called another one without being unsure.
    """
    counts = np.bincount(test.truth, minlength=len(labels))
    rare = [n for n in range(len(labels)) if counts[n] and is_rare(int(counts[n]), len(test.truth), len(labels))]
    said = {
        "valid": outcome(valid, temperature=choice.temperature),
        "test": outcome(test, temperature=choice.temperature),
    }
    sides = {"valid": valid, "test": test}
    found = []
    for number in sorted(rare, key=lambda n: (counts[n], labels[n]))[:MAX_LABELS]:
        claims = {side: np.exp(said[side].log_probabilities[:, number]) for side in sides}
        named = {side: said[side].predicted == number for side in sides}
        found.append({
            "label": labels[number],
            "num_test": len(test.truth),
            "num_expected": round(float(claims["test"].sum()), 1),
            "num_missed_surely": _missed_surely(test, said["test"], number, choice.unsure_below),
            "as_named": {side: _counted(sides[side], number, named[side]) for side in sides},
            "thresholds": [
                {"at_least": least} | {side: _counted(sides[side], number, claims[side] >= least) for side in sides}
                for least in _thresholds(claims["valid"], valid.truth == number)
            ],
        })  # fmt: skip
    return found


def _missed_surely(test: Side, said: Outcome, number: int, unsure_below: float) -> int:
    missed = (test.truth == number) & ~said.right & (said.confidence >= unsure_below)
    return int(missed.sum())


def _thresholds(claims: FloatArray, is_it: BoolArray) -> list[float]:
    """Return the highest thresholds that find these shares of the label's images, each midway to the next claim below.

    There, a rounding error in a consumer's arithmetic moves nothing across it.
    """
    own = -np.sort(-claims[is_it])
    places = sorted({int(np.ceil(share * len(own))) - 1 for share in SHARES if len(own)})
    least = [float(own[place]) for place in places]
    below = [max([float(claim) for claim in claims if claim < one], default=0.0) for one in least]
    return list(dict.fromkeys(_rounded((one + other) / 2, one, other) for one, other in zip(least, below, strict=True)))


def _rounded(value: float, above: float, below: float) -> float:
    """Return a threshold with as few digits as keep it between the two claims."""
    short = (float(f"{value:.{digits}g}") for digits in range(2, 17))
    return next((one for one in short if below < one <= above), value)


def _counted(side: Side, number: int, named: BoolArray) -> dict[str, float | int]:
    """Return how many images of the label there are, how many of them are named so, and how many images are at all."""
    own = side.truth == number
    counts: dict[str, float | int] = {
        "num_images": int(own.sum()),
        "num_found": int((own & named).sum()),
        "num_named": int(named.sum()),
    }
    if own.any():
        low, high = interval(named[own], [row for row, one in zip(side.rows, own, strict=True) if one])
        counts |= {"recall_low": round(low, DIGITS), "recall_high": round(high, DIGITS)}
    return counts
