"""Folders such as the stages before evaluate leave, with drawn pictures and invented logits: a report in a second."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from PIL import Image, ImageDraw

from stages import doubts, findings
from stages.outputs import write_csv, write_json
from stages.rare import rare_labels
from tests.stages.settings import params_yaml

SETTINGS = {
    "num_top_losses": 6,
    "num_confused_pairs": 5,
    "num_heatmaps": 2,
    "calibration_bins": 10,
    "unsure_precision": 0.95,
    "scratch_baseline": False,
    "seed": 42,
}
TRAINED = {"epochs": 2, "metrics": ["accuracy", "top_5_accuracy"], "early_stopping": None, "balance": "auto"}
COLUMNS = [
    "path",
    "label",
    "species",
    "width",
    "height",
    "sha256",
    "phash",
    "group",
    "official",
    "arrival",
    "arrived",
    "source",
]
SIZE = 64


def write_data(
    data: Path, labels: Sequence[str], *, num_images: int = 6, skill: float = 3.0, untested: str = "", seed: int = 0
) -> None:
    """Leave prepared, split, train and eval (without its report) under `data`, with `num_images` a breed and side.

    The model's logits are noise plus `skill` for the right breed and half of it for the next one. The test side has no
    image of the breed `untested`.
    """
    species = {label: ("cat", "dog")[number % 2] for number, label in enumerate(labels)}
    sides = {side: _rows(data, side, species, num_images) for side in ("train", "valid", "test")}
    sides["test"] = [row for row in sides["test"] if row["label"] != untested]
    _write_prepared(data / "prepared", [row for side in sides.values() for row in side], len(labels))
    _write_split(data / "split", sides)
    _write_train(data / "train", labels)
    draw = np.random.default_rng(seed)
    valid, test = (_side(sides[name], list(labels), skill, draw) for name in ("valid", "test"))
    write_evaluation(data / "eval", valid, test, species)
    _write_doubtful(data / "eval", sides, list(labels))
    sections = yaml.safe_load(params_yaml()) | {"train": TRAINED, "evaluate": SETTINGS}
    write_json(data / "eval" / "params.json", sections)


def write_evaluation(folder: Path, valid: findings.Side, test: findings.Side, breeds: dict[str, str]) -> None:
    """Leave what evaluate writes before its report, for these logits."""
    folder.mkdir(parents=True)
    choice = findings.chosen(valid, 0.95)
    numbers = findings.measured(test, choice, breeds, 10)
    write_json(folder / "metrics.json", numbers | {"baseline_majority": 0.1, "baseline_logistic": 0.4})
    rare = rare_labels(valid, test, list(breeds), choice)
    write_json(folder / "calibration.json", findings.calibration(test, choice, 10) | {"rare_labels": rare})
    said = findings.outcome(test, temperature=choice.temperature)
    findings.write_tables(folder, test, said, breeds, num_bins=10, num_pairs=5)
    for number in said.worst_mistakes(2):
        path = folder / "heatmaps" / Path(test.rows[number]["path"]).relative_to("images")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (SIZE, SIZE), "orange").save(path)
    if (folder / "heatmaps").exists():
        write_json(folder / "heatmaps" / "heatmaps.json", {"method": "Invented for a test."})


def _write_doubtful(folder: Path, sides: dict[str, list[dict[str, str]]], labels: list[str]) -> None:
    """Leave the list of doubtful labels as if the features of each side's first image were those of the next label."""
    place = {label: number for number, label in enumerate(labels)}
    features = {side: np.eye(len(labels), dtype=np.float32)[[place[row["label"]] for row in rows]] * 9
                for side, rows in sides.items()}  # fmt: skip
    for rows in features.values():
        rows[0] = np.roll(rows[0], 1)
    doubts.write_doubtful(folder / "doubtful.csv", sides, features, labels)


def draw_pet(path: Path, *, kind: int, variant: int) -> None:
    """Draw a blob whose colour and shape depend on the breed, and whose place and light on the image."""
    draw = np.random.default_rng([kind, variant])
    image = Image.new("RGB", (SIZE + 16, SIZE), tuple(int(v) for v in draw.integers(90, 200, 3)))
    x, y = (int(v) for v in draw.integers(0, 14, 2))
    colour = tuple(int(v) for v in np.random.default_rng(kind).integers(0, 255, 3))
    pen = ImageDraw.Draw(image)
    (pen.ellipse if kind % 2 else pen.rectangle)((14 + x, 8 + y, 44 + x, 38 + y), fill=colour)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "JPEG")


def _rows(data: Path, side: str, species: dict[str, str], num_images: int) -> list[dict[str, str]]:
    rows = []
    for kind, label in enumerate(species):
        for number in range(num_images):
            variant = number + num_images * ("train", "valid", "test").index(side)
            digest = f"{kind:08x}{variant:08x}" * 4
            path = f"images/{kind}/{side}_{number}-{digest[:12]}.jpg"
            draw_pet(data / "prepared" / path, kind=kind, variant=variant)
            source = f"source/{label}_{variant}.jpg"
            values = [path, label, species[label], "80", "64", digest, digest, digest, "", "0", "", source]
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def _write_prepared(folder: Path, rows: list[dict[str, str]], num_labels: int) -> None:
    write_csv(folder / "index.csv", COLUMNS, (row.values() for row in rows))
    write_csv(folder / "rejects.csv", ["source", "reason"], [["source/page.jpg", "not an image"]])
    write_csv(folder / "conflicts.csv", ["group", "labels", "sources"], [])
    counts = {"num_images": len(rows), "num_rejected": 1, "num_groups": len(rows), "num_duplicates": 0}
    facts = {"short_side": SIZE, "filter": "lanczos", **counts, "num_conflicts": 0, "labels": num_labels}
    write_json(folder / "prepare.json", facts)


def _write_split(folder: Path, sides: dict[str, list[dict[str, str]]]) -> None:
    folder.mkdir()
    for side, rows in sides.items():
        write_csv(folder / f"{side}.csv", COLUMNS, (row.values() for row in rows))
    counts = {side: len(rows) for side, rows in sides.items()}
    write_json(folder / "split.json", {"method": "stable", "seed": 42, **counts})


def _write_train(folder: Path, labels: Sequence[str]) -> None:
    folder.mkdir()
    facts = {
        "architecture": "resnet18",
        "weights": "imagenet",
        "weights_sha256": "c" * 64,
        "method": "fine_tune",
        "image_size": SIZE,
        "labels": list(labels),
        "seed": 42,
        "num_train": 6 * len(labels),
        "num_valid": 6 * len(labels),
        "learning_rate": 0.002,
        "device": "cpu",
        "precision": "none",
        "params": TRAINED,
        "versions": {"torch": "2.0", "fastai": "2.8"},
    }
    write_json(folder / "train.json", facts)
    resize = {"short_side": SIZE, "filter": "lanczos"}
    crop = {"kind": "center", "width": SIZE, "height": SIZE}
    write_json(folder / "preprocess.json", {"format": 1, "color": "RGB", "resize": resize, "crop": crop})
    columns = ["epoch", "phase", "train_loss", "valid_loss", "accuracy", "top_5_accuracy", "learning_rate"]
    epochs = [
        [1, "frozen", 2.1, 1.6, 0.5, 0.8, 0.002],
        [2, "frozen", 1.4, 1.2, 0.6, 0.9, 0.002],
        [3, "unfrozen", 1.0, 1.1, 0.7, 0.9, 0.001],
    ]
    write_csv(folder / "history.csv", columns, epochs)
    rates = [10 ** (-6 + power / 10) for power in range(50)]
    write_csv(
        folder / "learning_rate.csv",
        ["learning_rate", "loss"],
        ([r, 3 - 0.4 * np.log10(r * 1e6) + (9 * r) ** 2] for r in rates),
    )


def _side(rows: list[dict[str, str]], labels: list[str], skill: float, draw: np.random.Generator) -> findings.Side:
    truth = np.array([labels.index(row["label"]) for row in rows])
    logits = draw.normal(size=(len(rows), len(labels))) * 1.5
    logits[np.arange(len(rows)), truth] += skill
    logits[np.arange(len(rows)), (truth + 1) % len(labels)] += skill / 2
    return findings.Side(rows=rows, truth=truth, logits=logits)


def read_json(path: Path) -> dict[str, object]:
    """Return a JSON file's mapping."""
    content: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return content


def change_json(path: Path, values: Mapping[str, object]) -> None:
    """Set keys of a JSON file, or those below another; None takes one away, as an earlier release has left it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for key, value in values.items():
        above, _, last = key.rpartition(".")
        place = content[above] if above else content
        place[last] = value
        if value is None:
            del place[last]
    write_json(path, content)
