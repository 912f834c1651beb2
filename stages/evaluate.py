"""Judge the model on the test side, unseen in training and in any choice that the pipeline makes; write the report.

Reads data/train (the learner), data/split (the sides), data/prepared (the images); leaves data/eval: metrics.json, the
tables of predictions, confusion, reliability, breeds and confused pairs, doubtful.csv (of all sides, the labels to look
at first), test_logits.npy (what the learner said, for export to compare with), calibration.json, params.json (what this
and the stages before were told), heatmaps/, report.html, and for the bundle published_report.html and shown_images.csv.
The temperature and the threshold for "unsure" are chosen on the valid side.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from stages.descriptions import described, settings_of
from stages.entry import NAMES
from stages.errors import DataError
from stages.imports import import_large
from stages.outputs import new_folder, read_csv, write_json
from stages.params import STRICT
from stages.published_params import published, published_training

if TYPE_CHECKING:
    from stages.findings import Outcome, Side
    from stages.model import Model
    from stages.predictions import Outputs

Sides = Mapping[str, list[dict[str, str]]]


@dataclass(frozen=True, kw_only=True)
class EvaluateParams:
    """What is measured, and how much of it the report shows."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    num_top_losses: Annotated[int, Field(ge=0, description="test images of the greatest loss that the report shows")]
    num_confused_pairs: Annotated[int, Field(ge=0, description="pairs of breeds listed as most confused")]
    num_heatmaps: Annotated[int, Field(ge=0, description="worst mistakes that get a heat map")]
    calibration_bins: Annotated[int, Field(ge=2, le=100, description="bins of confidence in the reliability diagram")]
    unsure_precision: Annotated[
        float,
        Field(
            gt=0,
            lt=1,
            description="share of right answers wished for where the model isn't unsure, even with one mistake more "
            "than was seen",
        ),
    ]
    scratch_baseline: Annotated[
        bool, Field(description="also train the same network from scratch, with the same budget, to compare")
    ]
    seed: Annotated[int, Field(ge=0, lt=2**32, description="seed of the baselines")]


def evaluate(
    params: EvaluateParams, *, prepared: Path, split: Path, train: Path, features: Path, settings: Path, out: Path
) -> None:
    """Judge the model in `train` on the test side; leave numbers, tables, heat maps and the report in `out`.

    `settings` is all of params.yaml, which report and bundle repeat; `features` is where a network's outputs are kept.

    Raises DataError where a side is empty or holds a breed that the model doesn't know, and where an earlier release
    has left less in the stages' descriptions than is read of them.
    """
    _check_descriptions(prepared, split, train)
    import_large("timm", "fastai.vision.all")
    import numpy as np

    from stages import doubts, findings, report
    from stages.model import load
    from stages.predictions import frozen_features
    from stages.rare import rare_labels

    model = load(train)
    sides = {side: read_csv(split / f"{side}.csv") for side in ("train", "valid", "test")}
    breeds = _breeds(model.labels, sides)
    images = {side: [prepared / row["path"] for row in rows] for side, rows in sides.items()}
    valid, test = _predicted(model, sides, images, features)
    choice = findings.chosen(valid, params.unsure_precision)
    said = findings.outcome(test, temperature=choice.temperature)
    numbers = findings.measured(test, choice, breeds, params.calibration_bins)
    seen = frozen_features(train, model, images, features)
    numbers |= _baselines(params, sides, seen, images["test"], prepared=prepared, split=split, train=train)
    with new_folder(out) as folder:
        write_json(folder / "params.json", _sections(settings, train))
        write_json(folder / "metrics.json", numbers)
        calibration = findings.calibration(test, choice, params.calibration_bins)
        write_json(
            folder / "calibration.json", calibration | {"rare_labels": rare_labels(valid, test, list(breeds), choice)}
        )
        np.save(folder / "test_logits.npy", test.logits.astype(np.float32))
        findings.write_tables(
            folder, test, said, breeds, num_bins=params.calibration_bins, num_pairs=params.num_confused_pairs
        )
        doubts.write_doubtful(folder / "doubtful.csv", sides, seen, model.labels)
        _write_heatmaps(folder / "heatmaps", model, test, said, said.worst_mistakes(params.num_heatmaps), prepared)
        report.write_report(folder, prepared=prepared, split=split, train=train)
    _tell(numbers, out)


def _check_descriptions(prepared: Path, split: Path, train: Path) -> None:
    from stages.train import TrainParams

    for path in (prepared / "prepare.json", split / "split.json", train / "preprocess.json"):
        described(path)
    settings_of(train, TrainParams)


def _breeds(labels: Sequence[str], sides: Sides) -> dict[str, str]:
    species = {row["label"]: row["species"] for rows in sides.values() for row in rows}
    unknown = sorted(set(species) - set(labels))
    if unknown:
        raise DataError(f"the model knows no such breed; train it again with `dvc repro train`: {unknown[0]}")
    for side, rows in sides.items():
        if not rows:
            raise DataError(f"no image to judge by; give the side a share in the section split: {side}")
    return {label: species.get(label, "") for label in labels}


def _predicted(
    model: "Model", sides: Sides, images: Mapping[str, Sequence[Path]], features: Path
) -> "tuple[Side, Side]":
    """Return what the model says of the valid side, by the fastest engine, and of the test side, as it was trained."""
    import numpy as np

    from stages.findings import Side
    from stages.predictions import known_logits

    place = {label: number for number, label in enumerate(model.labels)}
    logits = {"valid": known_logits(model, images["valid"], features), "test": model.logits(images["test"])}
    truth = {name: np.array([place[row["label"]] for row in sides[name]], dtype=np.int64) for name in logits}
    valid, test = (Side(rows=sides[name], truth=truth[name], logits=logits[name].astype(np.float64)) for name in logits)
    return valid, test


def _baselines(
    params: EvaluateParams,
    sides: Sides,
    seen: "Outputs",
    test_images: Sequence[Path],
    *,
    prepared: Path,
    split: Path,
    train: Path,
) -> dict[str, float]:
    from stages import baselines
    from stages.scratch import from_scratch

    labels = {side: [row["label"] for row in rows] for side, rows in sides.items()}
    samples = {side: baselines.Sample(seen[side], labels[side]) for side in sides}
    found = {
        "baseline_majority": baselines.majority(labels["train"], labels["test"]),
        "baseline_logistic": baselines.logistic(samples["train"], samples["valid"], samples["test"]),
    }
    if params.scratch_baseline:
        found["baseline_scratch"] = from_scratch(
            train, split=split, prepared=prepared, images=test_images, labels=labels["test"], seed=params.seed
        )
    return {name: round(value, 6) for name, value in found.items()}


def _write_heatmaps(
    folder: Path, model: "Model", test: "Side", said: "Outcome", numbers: Sequence[int], prepared: Path
) -> None:
    from stages.features import network_inputs
    from stages.heatmap import heatmap, overlaid
    from stages.images import model_input

    folder.mkdir()
    method = ""
    for number in numbers:
        path = prepared / test.rows[number]["path"]
        image = network_inputs([path], model.preprocessing)[0].to(model.device)
        heat, method = heatmap(model.network, image, int(said.predicted[number]))
        target = folder / Path(test.rows[number]["path"]).relative_to("images")
        target.parent.mkdir(parents=True, exist_ok=True)
        overlaid(model_input(path, model.preprocessing.image_size), heat).save(target, "JPEG", quality=90)
    if method:
        write_json(folder / "heatmaps.json", {"method": method})


def _sections(settings: Path, train: Path) -> dict[str, dict[str, Any]]:
    """Return the sections of this stage and those before it; train's as the model at hand was trained."""
    trained = described(train / "train.json")["params"]
    sections = published(settings) | {"train": published_training(trained)}
    return {name: sections[name] for name in NAMES[: NAMES.index("evaluate") + 1]}


def _tell(numbers: Mapping[str, float | int], out: Path) -> None:
    interval = f"{numbers['accuracy_low']:.4f} to {numbers['accuracy_high']:.4f}"
    print(
        f"evaluate: accuracy {numbers['accuracy']:.4f} ({interval}) on {numbers['num_test']} test images, "
        f"logistic regression {numbers['baseline_logistic']:.4f}; "
        f"report in {out / 'report.html'}; next: dvc repro export",
        file=sys.stderr,
    )


if __name__ == "__main__":
    from stages.entry import run
    from stages.evaluate import evaluate as stage

    run(stage)
