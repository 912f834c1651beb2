"""Write report.html: one file that a manager and an engineer can both read, without a network.

Reads what the stages left in data/prepared, data/split, data/train and data/eval, so that the report can't say anything
that the files don't; leaves `report.html` in the last, `published_report.html`, which a bundle gets, and
`shown_images.csv`, the originals of the latter's pictures. Text reaches the page only through Jinja's and markupsafe's
escaping, and the page's own policy forbids any script but the one whose hash it names. What it says of doubtful labels
is for who trains: the published one is rendered without, and no list has its pictures.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from statistics import median
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from stages import album, figures, shares
from stages.outputs import read_csv, write_csv

HERE = Path(__file__).parent
MAX_LISTED = 40  # rejects, conflicts: the CSV files have them all
MAX_DOUBTFUL = 24  # pictures; doubtful.csv has all labels
NUM_SHADES = 9
NUM_DIGITS = 16  # of a sha256, enough to name one image of billions
MAX_CHARTED, NUM_MISTAKEN = 200, 100  # labels in the matrix; beyond so many, those that are mistaken most
MOST_PRINTED = 40  # labels whose matrix is no wider than A4, and whose balance is no longer

Row = dict[str, str]
Page = dict[str, Any]


def write_report(evaluation: Path, *, prepared: Path, split: Path, train: Path) -> None:
    """Write `report.html` into the folder `evaluation`, from the files there and in the folders of the stages before;
    `published_report.html`, the same without the doubtful labels; and `shown_images.csv`, which lists the originals of
    all the pictures in the latter.

    Each picture is embedded once; heat maps are taken from `evaluation/heatmaps`, which mirrors the prepared images'
    paths. The same files give the same bytes.
    """
    page = _page(evaluation, prepared, train, _data(prepared, split, _json(train / "train.json")["labels"]))
    doubts = _doubts(evaluation / "doubtful.csv", prepared, page["training"]["image_size"])
    for name, told in (("report.html", doubts), ("published_report.html", None)):
        (evaluation / name).write_text(_rendered(page | {"doubts": told}), encoding="utf-8")
    numbers = {number for number, _ in (*page["pictures"], *page["heatmaps"])}
    _write_shown(evaluation / "shown_images.csv", split, [page["predictions"][number]["path"] for number in numbers])


def _page(evaluation: Path, prepared: Path, train: Path, data: Page) -> Page:
    predictions = read_csv(evaluation / "predictions.csv")
    training, sections = _json(train / "train.json"), _json(evaluation / "params.json")
    settings, calibration = sections["evaluate"], _json(evaluation / "calibration.json")
    history = read_csv(train / "history.csv")
    pictured = album.chosen(predictions, settings["num_top_losses"])
    charted = _charted(training["labels"], predictions)
    page = {
        "metrics": _json(evaluation / "metrics.json"),
        "calibration": calibration,
        "settings": settings,
        "sections": sections,
        "training": training,
        "preprocess": _json(train / "preprocess.json"),
        "data": data,
        "noun": "breed" if data["species"] else "label",  # kinds of a species are breeds
        "history": history,
        "only_head": [row["phase"] for row in history] == ["probe"],
        "goes_back": bool(sections["train"]["early_stopping"]),
        "best": min(history, key=lambda row: float(row["valid_loss"]), default=None),
        "breeds": read_csv(evaluation / "breeds.csv"),
        "pairs": read_csv(evaluation / "confused_pairs.csv"),
        "charted": charted,
        "most_printed": MOST_PRINTED,
        "place": {label: number for number, label in enumerate(charted)},
        "predictions": predictions,
        "file_names": [album.file_name(row) for row in predictions],
        "losses": album.worst_first(predictions)[: settings["num_top_losses"]],
        "heatmaps": _heatmaps(evaluation / "heatmaps", predictions),
        "heatmap_method": _heatmap_method(evaluation / "heatmaps"),
        "matrix": _matrix(charted, predictions),
        "pictures": [(n, album.thumbnail(prepared / predictions[n]["path"], training["image_size"])) for n in pictured],
        "cells": album.listing(predictions, charted, pictured),
    }
    balance, reliability = figures.balance_table(data["balance"]), figures.reliability_table(calibration)
    page["tables"] = {"balance": balance, "reliability": reliability}
    return page | {"charts": _charts(page, read_csv(train / "learning_rate.csv"))}


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _write_shown(path: Path, split: Path, shown: Sequence[str]) -> None:
    rows = {row["path"]: (row["sha256"], row["group"]) for row in read_csv(split / "test.csv")}
    write_csv(path, ["sha256", "group"], sorted({rows[one] for one in shown}))


def _data(prepared: Path, split: Path, labels: Sequence[str]) -> Page:
    sides = {side: read_csv(split / f"{side}.csv") for side in figures.SIDES}
    counts = {side: Counter(row["label"] for row in sides[side]) for side in sides}
    is_any_known = any(row["species"] for rows in sides.values() for row in rows)
    species = {
        side: Counter(row["species"] or "unknown" for row in rows if is_any_known) for side, rows in sides.items()
    }
    sums = [sum(counts[side][label] for side in sides) for label in labels]
    rejects, conflicts = read_csv(prepared / "rejects.csv"), read_csv(prepared / "conflicts.csv")
    return {
        "prepare": _json(prepared / "prepare.json"),
        "split": _json(split / "split.json"),
        "species": sorted({name for side in species.values() for name in side}),
        "sides": [(side, len(sides[side]), species[side]) for side in sides],
        "balance": {label: [counts[side][label] for side in sides] for label in labels},
        "fewest": min(sums),
        "median": median(sums),
        "most": max(sums),
        "reasons": Counter(row["reason"] for row in rejects).most_common(),
        "rejects": rejects[:MAX_LISTED],
        "num_rejects": len(rejects),
        "conflicts": conflicts[:MAX_LISTED],
        "num_conflicts": len(conflicts),
    }


def _heatmaps(folder: Path, predictions: Sequence[Row]) -> list[tuple[int, str]]:
    found = []
    for number in album.worst_first(predictions):
        path = folder / Path(predictions[number]["path"]).relative_to("images")
        if path.is_file():
            with Image.open(path) as image:
                found.append((number, album.jpeg_address(image.convert("RGB"))))
    return found


def _heatmap_method(folder: Path) -> str:
    facts = folder / "heatmaps.json"
    return str(_json(facts)["method"]) if facts.exists() else ""


def _doubts(path: Path, prepared: Path, image_size: int) -> Page:
    doubtful = read_csv(path)
    shown = [
        {
            "row": row,
            "picture": album.thumbnail(prepared / row["path"], image_size),
            "file_name": album.file_name(row),
            # By its hash, which names one image in any shell.
            "command": f"python -m stages.correct --label {quote(row['suggested'])} {row['sha256'][:NUM_DIGITS]}",
        }
        for row in doubtful[:MAX_DOUBTFUL]
    ]
    return {"num_images": len(doubtful), "images": shown}


def _charted(labels: Sequence[str], predictions: Sequence[Row]) -> list[str]:
    """Return the labels of the matrix, whose cells grow with their square: all, or of very many the most mistaken."""
    if len(labels) <= MAX_CHARTED:
        return list(labels)
    wrong = [row for row in predictions if row["label"] != row["predicted"]]
    mistakes = Counter(row[column] for row in wrong for column in ("label", "predicted"))
    chosen = set(sorted(labels, key=lambda label: -mistakes[label])[:NUM_MISTAKEN])
    return [label for label in labels if label in chosen]


def _matrix(labels: Sequence[str], predictions: Sequence[Row]) -> list[tuple[str, int, list[tuple[int, str]]]]:
    counts = Counter((row["label"], row["predicted"]) for row in predictions)
    sums = Counter(row["label"] for row in predictions)
    return [
        (label, sums[label], [_cell(counts[label, other], sums[label], right=label == other) for other in labels])
        for label in labels
    ]


def _cell(count: int, num_images: int, *, right: bool) -> tuple[int, str]:
    shade = -(-NUM_SHADES * count // num_images) if count else 0
    return count, f"{'right' if right else 'wrong'}-{shade}"


def _charts(page: Page, finder: Sequence[Row]) -> dict[str, Markup | None]:
    history: Sequence[Row] = page["history"]
    if len(page["training"]["labels"]) <= 5:  # the right one is always among five
        history = [{name: value for name, value in row.items() if name != "top_5_accuracy"} for row in history]
    return {
        "baselines": figures.against_baselines(page["metrics"]),
        "balance": figures.balance(page["data"]["balance"]),
        "reliability": figures.reliability(page["calibration"]),
        "believed": figures.believed(page["predictions"], page["calibration"]["unsure_below"]),
        "losses": figures.losses(history),
        "metrics": figures.metrics(history),
        "finder": figures.finder(finder, page["training"]["learning_rate"]),
    }


def _rendered(page: Page) -> str:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=_percent, score=_score, points=_points, plain=_plain, readable=figures.readable)
    script = (HERE / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    style = (HERE / "report.css").read_text(encoding="utf-8")
    template = environment.get_template("report.html.jinja")
    return template.render(page, script=script, script_hash=digest, style=style, baselines=figures.BASELINES)


def _percent(share: float | str, digits: int = 1) -> str:
    return f"{shares.percent(share, digits)}\N{NO-BREAK SPACE}%"


def _score(probability: str) -> str:
    """Write what a model says of one image: no share of images, and no model is quite sure, so 100 hides nothing."""
    return f"{100 * float(probability):.1f}\N{NO-BREAK SPACE}%"


def _points(difference: float) -> str:
    return shares.points(difference).replace("-", "\N{MINUS SIGN}")


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(part) for part in value)
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
