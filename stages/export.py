"""Make the folder that a consumer gets: the model as ONNX, and all that is needed to use and to judge it.

Reads data/train, data/eval, data/split and data/prepared. Leaves data/bundle: model.onnx, weights.safetensors,
learner.pkl, labels.json, preprocess.json, card.json, card.md, params.yaml, metrics.json, report.html, seen_images.csv,
shown_images.csv, self_test.json and self_test/. Nothing in it depends on the clock, the host or the path; the card
names the packages that are installed, and Python.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from stages.descriptions import described
from stages.errors import DataError
from stages.imports import import_large
from stages.outputs import new_folder, read_csv, write_csv, write_json
from stages.params import STRICT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# What params.yaml says of the pets, and the end of their archive's address.
_PETS, _PETS_ARCHIVE = "Oxford-IIIT Pet Dataset", "oxford-iiit-pet.tgz"


@dataclass(frozen=True, kw_only=True)
class ExportParams:
    """The ONNX file's form, and the words of the model card that no number can give."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    opset: Annotated[int, Field(ge=18, le=23, description="version of the ONNX operators")]
    num_self_test_images: Annotated[
        int, Field(ge=0, description="test images that travel with their probabilities; 0: none, and no self-test")
    ]
    data_name: Annotated[str, Field(min_length=1, description="name of the data on the model card")]
    data_license: Annotated[str, Field(min_length=1, description="licence of the photographs")]
    data_url: Annotated[str | None, Field(min_length=1, description="where the photographs come from; null: not said")]
    data_citation: Annotated[
        str | None,
        Field(min_length=1, description="whom to name for the photographs, as they ask for it; null: nobody"),
    ]
    weights_license: Annotated[str, Field(min_length=1, description="licence of the weights")]
    intended_use: Annotated[str, Field(min_length=1, description="what the model is for")]
    limits: Annotated[str, Field(min_length=1, description="what it should not be used for")]


# `eval` is a builtin's name, but also the folder's, and names of options follow the folders.
def export(
    params: ExportParams,
    *,
    prepared: Path,
    split: Path,
    train: Path,
    eval: Path,  # noqa: A002
    out: Path,
) -> None:
    """Write the bundle of the model in `train` and its judgement in `eval` to `out`.

    Raises DataError when the ONNX file says something else of any test image than the learner did when it was judged,
    and where an earlier release has left less in `train` or `eval` than is read of it.
    """
    # All that is read of others is checked first, because the conversion takes long.
    judgement = (eval / name for name in ("calibration.json", "metrics.json", "params.json"))
    calibration, metrics, settings, about = map(described, (*judgement, train / "train.json"))
    _check_left(eval)
    import_large("timm", "fastai.vision.all", "onnxscript", "torch.onnx")
    from stages.agreement import agreed, judged
    from stages.model import load
    from stages.onnx_file import write_onnx
    from stages.selftest import write_self_test
    from stages.weights_file import copy_with_notes

    model = load(train, on_cpu=True)
    rows, temperature = read_csv(split / "test.csv"), calibration["temperature"]
    said = judged(eval / "test_logits.npy", len(rows), len(model.labels))
    with new_folder(out) as folder:
        _copy(folder, train, eval)
        how = (folder / "preprocess.json").read_text(encoding="utf-8")
        write_onnx(folder / "model.onnx", model, temperature=temperature, opset=params.opset, preprocess=how)
        images = [prepared / row["path"] for row in rows]
        expected = agreed(folder / "model.onnx", model, images, said, temperature)
        tested = write_self_test(folder, rows, expected, prepared=prepared, number=params.num_self_test_images)
        _write_words(folder, params, split, about=about, metrics=metrics, calibration=calibration, said=said)
        _write_params(folder / "params.yaml", settings | {"export": vars(params)})
        _write_lists(folder, split, read_csv(eval / "shown_images.csv"), tested)
        copy_with_notes(train / "weights.safetensors", folder / "weights.safetensors", _notes(about, temperature))
    _tell(params, settings["download"]["source"], out)


def _check_left(judgement: Path) -> None:
    for path in (judgement / "shown_images.csv", judgement / "published_report.html"):
        if not path.is_file():
            raise DataError(f"an earlier release left no such file; run `dvc repro evaluate`: {path}")


def _copy(folder: Path, train: Path, judgement: Path) -> None:
    for source in (train / "preprocess.json", train / "learner.pkl", judgement / "metrics.json"):
        shutil.copyfile(source, folder / source.name)
    shutil.copyfile(judgement / "published_report.html", folder / "report.html")


def _notes(about: Mapping[str, Any], temperature: float) -> dict[str, str]:
    """Return what must be known of the weights to make a network of them; `format` is what other libraries look for."""
    labels = json.dumps(about["labels"])
    facts = {"architecture": about["architecture"], "method": about["method"], "labels": labels}
    return {"format": "pt", **facts, "temperature": repr(temperature)}


def _write_words(
    folder: Path,
    params: ExportParams,
    split: Path,
    *,
    about: Mapping[str, Any],
    metrics: Mapping[str, float],
    calibration: Mapping[str, Any],
    said: "NDArray[np.float32]",
) -> None:
    from stages.card import card, markdown
    from stages.installed import installed
    from stages.tested import by_label

    sides = [read_csv(split / f"{side}.csv") for side in ("train", "valid", "test")]
    species = {row["label"]: row["species"] for row in sides[-1]}
    write_json(
        folder / "labels.json",
        {
            "format": 1,
            "labels": about["labels"],
            "species": {label: species.get(label, "") for label in about["labels"]},
            "unsure_below": calibration["unsure_below"],
        },
    )
    num_arrived = sum(row["arrival"] != "0" for rows in sides for row in rows)
    fields = card(
        about=about,
        metrics=metrics,
        calibration=calibration,
        texts=vars(params),
        num_arrived=num_arrived,
        test_by_label=by_label(sides[-1], [about["labels"][number] for number in said.argmax(axis=1)]),
        export_versions=installed(),
    )
    write_json(folder / "card.json", fields)
    (folder / "card.md").write_text(markdown(fields), encoding="utf-8")


def _write_params(path: Path, sections: Mapping[str, Any]) -> None:
    import yaml

    path.write_text(yaml.safe_dump(dict(sections), sort_keys=False, allow_unicode=True), encoding="utf-8")


def _write_lists(
    folder: Path, split: Path, reported: Sequence[Mapping[str, str]], tested: Mapping[str, Mapping[str, str]]
) -> None:
    """List the originals that training or any choice has seen, so that nobody judges the model by them later; and those
    of all pictures in the bundle, each with the file that shows it, so that one can be found."""
    seen = {(row["sha256"], row["group"]) for side in ("train", "valid") for row in read_csv(split / f"{side}.csv")}
    write_csv(folder / "seen_images.csv", ["sha256", "group"], sorted(seen))
    shown = [*(("report.html", row) for row in reported), *tested.items()]
    rows = sorted((row["sha256"], row["group"], file) for file, row in shown)
    write_csv(folder / "shown_images.csv", ["sha256", "group", "file"], rows)


def _tell(params: ExportParams, source: str, out: Path) -> None:
    if params.data_name == _PETS and not source.partition("?")[0].endswith(_PETS_ARCHIVE):
        print(
            f"export: the card says what params.yaml says of the pets, but these images are others; write export's "
            f"data_name, data_license, data_url, data_citation, intended_use and limits anew: {source}",
            file=sys.stderr,
        )
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(
        f"export: {size / 1e6:.1f} MB in {out}; next: petmodels publish {quote(str(out))} --model pets", file=sys.stderr
    )


if __name__ == "__main__":
    from stages.entry import run
    from stages.export import export as stage

    run(stage)
