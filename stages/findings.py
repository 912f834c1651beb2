"""Turn the logits of the valid and the test side into the numbers and tables of data/eval.

Reads nothing; leaves the CSV files in a folder it is given. What is chosen (the temperature, the threshold for
"unsure") is chosen on the valid side; on the test side everything is only measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages import scores
from stages.outputs import write_csv

DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class Side:
    """The images of one side: their rows of the split, the index of each one's breed, and the model's logits."""

    rows: Sequence[Mapping[str, str]]
    truth: scores.IntArray
    logits: scores.FloatArray


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen on the valid side, for which share of right answers, and how well it did there."""

    temperature: float
    unsure_precision: float
    unsure_below: float
    valid_unsure_share: float
    valid_sure_accuracy: float
    valid_reckoned_accuracy: float  # with one mistake more, as the threshold's choice counts


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the model says of each image at some temperature, how confidently, whether it is right, and the loss."""

    log_probabilities: scores.FloatArray
    predicted: scores.IntArray
    confidence: scores.FloatArray
    right: scores.BoolArray
    losses: scores.FloatArray

    def worst_mistakes(self, num: int) -> list[int]:
        """Return the numbers of the `num` misnamed images of the greatest loss, the worst first."""
        order = np.argsort(-self.losses, kind="stable")
        return [int(number) for number in order if not self.right[number]][:num]


def outcome(side: Side, *, temperature: float = 1.0) -> Outcome:
    """Return what the model says of a side's images when its logits are divided by `temperature`."""
    log_probabilities = scores.log_probabilities(side.logits, temperature=temperature)
    predicted = log_probabilities.argmax(axis=1)
    return Outcome(
        log_probabilities=log_probabilities,
        predicted=predicted,
        confidence=np.exp(log_probabilities.max(axis=1)),
        right=predicted == side.truth,
        losses=-log_probabilities[np.arange(len(side.truth)), side.truth],
    )


def chosen(valid: Side, unsure_precision: float) -> Choice:
    """Return the temperature and the threshold that the valid side asks for."""
    temperature = round(scores.temperature(valid.logits, valid.truth), DIGITS)
    said = outcome(valid, temperature=temperature)
    # Not rounded: it lies between two confidences, which may differ in their last digits only.
    unsure_below = scores.unsure_threshold(said.confidence, said.right, unsure_precision)
    sure = said.confidence >= unsure_below
    return Choice(
        temperature=temperature,
        unsure_precision=unsure_precision,
        unsure_below=unsure_below,
        valid_unsure_share=round(float(1 - sure.mean()), DIGITS),
        valid_sure_accuracy=round(float(said.right[sure].mean()), DIGITS),
        valid_reckoned_accuracy=round(scores.reckoned_accuracy(said.right[sure]), DIGITS),
    )


def measured(test: Side, choice: Choice, breeds: Mapping[str, str], num_bins: int) -> dict[str, float | int]:
    """Return the test side's numbers, flat, for metrics.json; one that the data can't give (species) is left out.

    `breeds` maps each label, in the logits' order, to its species ('' if unknown). Copies of one picture say the same
    once more: the interval is that of the effective number of images.
    """
    said, raw = outcome(test, temperature=choice.temperature), outcome(test)
    low, high = interval(said.right, test.rows)
    sure = said.confidence >= choice.unsure_below
    numbers = {
        "accuracy": said.right.mean(),
        "accuracy_low": low,
        "accuracy_high": high,
        "macro_recall": scores.macro_recall(test.truth, said.predicted, len(breeds)),
        "min_recall": scores.min_recall(test.truth, said.predicted, len(breeds)),
        "top_5_accuracy": scores.top_k_accuracy(said.log_probabilities, test.truth, 5),
        "log_loss": said.losses.mean(),
        "species_accuracy": scores.species_accuracy(*_species(test, said, list(breeds.values()))),
        "ece": scores.calibration_error(scores.reliability(said.confidence, said.right, num_bins)),
        "ece_uncalibrated": scores.calibration_error(scores.reliability(raw.confidence, raw.right, num_bins)),
        "temperature": choice.temperature,
        "unsure_below": choice.unsure_below,
        "unsure_share": 1 - sure.mean(),
        "sure_accuracy": said.right[sure].mean() if sure.any() else None,
    }
    return {
        **{name: round(float(value), DIGITS) for name, value in numbers.items() if value is not None},
        "num_test": len(said.right),
    }


def calibration(test: Side, choice: Choice, num_bins: int) -> dict[str, Any]:
    """Return calibration.json: what was chosen, and the test side's bins before and after the temperature.

    `ece_by_chance` is the ECE that a perfectly calibrated model would show on as many images; `test_sure` says of how
    many test images the model is sure, and what share of these answers is right, null where there are none.
    """
    raw, said = outcome(test), outcome(test, temperature=choice.temperature)
    return {
        "temperature": choice.temperature,
        "unsure_precision": choice.unsure_precision,
        "unsure_below": choice.unsure_below,
        "valid_unsure_share": choice.valid_unsure_share,
        "valid_sure_accuracy": choice.valid_sure_accuracy,
        "valid_reckoned_accuracy": choice.valid_reckoned_accuracy,
        "test_sure": _sure(test, said, choice.unsure_below),
        "ece_by_chance": _short(scores.chance_calibration_error(said.confidence, num_bins)),
        "bins_uncalibrated": [_bin(b) for b in scores.reliability(raw.confidence, raw.right, num_bins)],
        "bins_calibrated": [_bin(b) for b in scores.reliability(said.confidence, said.right, num_bins)],
    }


def write_tables(
    folder: Path, test: Side, said: Outcome, breeds: Mapping[str, str], *, num_bins: int, num_pairs: int
) -> None:
    """Write predictions.csv, confusion.csv, reliability.csv, breeds.csv and confused_pairs.csv into `folder`."""
    labels, species = list(breeds), list(breeds.values())
    actual, guesses = [labels[n] for n in test.truth], [labels[n] for n in said.predicted]
    numbers = zip(said.confidence, said.losses, said.predicted, strict=True)
    write_csv(
        folder / "predictions.csv",
        ["path", "label", "predicted", "probability", "loss", "species", "predicted_species", "source"],
        (
            [row["path"], label, guess, _short(claim), _short(loss), row["species"], species[n], row["source"]]
            for row, label, guess, (claim, loss, n) in zip(test.rows, actual, guesses, numbers, strict=True)
        ),
    )
    write_csv(folder / "confusion.csv", ["actual", "predicted"], zip(actual, guesses, strict=True))
    bins = scores.reliability(said.confidence, said.right, num_bins)
    write_csv(folder / "reliability.csv", ["confidence", "accuracy", "count"], (list(_bin(b).values()) for b in bins))
    table = scores.breed_scores(test.truth, said.predicted, len(labels))
    write_csv(
        folder / "breeds.csv",
        ["label", "precision", "recall", "f1", "images", "recall_low", "recall_high"],
        (
            [label, *map(_short_or_empty, row[:3]), row[3], *_recall_interval(test, said, number)]
            for number, (label, row) in enumerate(zip(labels, table, strict=True))
        ),
    )
    pairs = scores.confused_pairs(test.truth, said.predicted)[:num_pairs]
    write_csv(
        folder / "confused_pairs.csv",
        ["actual", "predicted", "count"],
        ([labels[pair.actual], labels[pair.predicted], pair.num_images] for pair in pairs),
    )


def interval(right: scores.BoolArray, rows: Sequence[Mapping[str, str]]) -> tuple[float, float]:
    """Return the 95 % interval of the share of right answers, in which copies of one picture count once."""
    groups = [row.get("group") or row["path"] for row in rows]
    return scores.wilson_interval(float(right.mean()), scores.effective_number(groups))


def _recall_interval(test: Side, said: Outcome, number: int) -> tuple[float | str, float | str]:
    own = test.truth == number
    if not own.any():
        return "", ""
    low, high = interval(said.right[own], [row for row, one in zip(test.rows, own, strict=True) if one])
    return _short(low), _short(high)


def _sure(test: Side, said: Outcome, unsure_below: float) -> dict[str, float | int] | None:
    sure = said.confidence >= unsure_below
    if not sure.any():
        return None
    right, rows = said.right[sure], [row for row, one in zip(test.rows, sure, strict=True) if one]
    low, high = interval(right, rows)
    return {
        "num_images": len(rows),
        "num_right": int(right.sum()),
        "accuracy_low": _short(low),
        "accuracy_high": _short(high),
    }


def _species(test: Side, said: Outcome, species: Sequence[str]) -> tuple[list[str], list[str]]:
    return [row["species"] for row in test.rows], [species[number] for number in said.predicted]


def _bin(its: scores.Bin) -> dict[str, float | int]:
    return {"confidence": _short(its.confidence), "accuracy": _short(its.accuracy), "count": its.num_images}


def _short(value: float) -> float:
    return round(float(value), DIGITS)


def _short_or_empty(value: float | None) -> float | str:
    return "" if value is None else _short(value)
