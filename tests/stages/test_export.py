"""The bundle says what the learner says, holds all a consumer needs, and is the same when made twice."""

import csv
import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image, ImageOps
from safetensors import safe_open
from safetensors.torch import load_file

import petmodels
from petmodels.errors import SelfTestError
from petmodels.selftest import self_test
from stages import export as stage
from stages.card import markdown
from stages.descriptions import NEEDS
from stages.errors import DataError, ResourceError
from stages.evaluate import EvaluateParams, evaluate
from stages.export import ExportParams, export
from stages.features import network_inputs
from stages.model import load
from stages.onnx_file import probabilities
from stages.outputs import write_csv, write_json
from stages.params import section
from stages.selftest import write_self_test
from tests.disks import small_disk
from tests.pictures import write_source
from tests.stages.conftest import ROOT, start_stage
from tests.stages.evaluated import change_json
from tests.stages.settings import EXPORT, params_yaml

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fastai")]


def bundle(folder: Path, sides: Path, trained: Path, judged: Path, **changes: Any) -> Path:
    """Export with the settings' params but for `changes`; return the stage's output."""
    paths = {"prepared": sides / "prepared", "split": sides / "split", "train": trained, "eval": judged}
    export(ExportParams(**(EXPORT | changes)), **paths, out=folder / "bundle")
    return folder / "bundle"


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_bundle_holds_these_files_and_no_others(made: Path) -> None:
    names = "learner.pkl model.onnx weights.safetensors card.json card.md labels.json metrics.json params.yaml"
    pictures = "self_test/01.jpg self_test/02.jpg self_test/03.jpg self_test/large.jpg self_test/turned.jpg"
    pictures += " self_test/transparent.png self_test/grey16.png"
    others = "preprocess.json report.html self_test.json seen_images.csv shown_images.csv"

    assert sorted(everything(made)) == sorted(f"{names} {pictures} {others}".split())


def test_the_onnx_file_says_what_the_learner_says(made: Path, trained: Path, sides: Path, judged: Path) -> None:
    model = load(trained)
    paths = [sides / "prepared" / row["path"] for row in table(sides / "split/test.csv")]

    found = probabilities(made / "model.onnx", paths, model.preprocessing)

    logits = model.logits(paths).astype(np.float64) / read(judged / "calibration.json")["temperature"]
    wanted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(found - wanted).max() < 1e-4


@pytest.mark.filterwarnings("ignore:load_learner:UserWarning")
def test_the_learner_that_travels_is_the_network_that_was_judged(trained: Path, sides: Path) -> None:
    from fastai.learner import load_learner

    model = load(trained)
    images = network_inputs(
        [sides / "prepared" / row["path"] for row in table(sides / "split/test.csv")], model.preprocessing
    )

    with torch.inference_mode():
        travels = load_learner(trained / "learner.pkl").model.eval()(images)
        assert torch.allclose(travels, model.network(images), atol=1e-5)


def test_no_stage_opens_the_pickle_of_another(tmp_path: Path, sides: Path, trained: Path, judged: Path) -> None:
    foreign = shutil.copytree(trained, tmp_path / "train")
    (foreign / "learner.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")

    out = bundle(tmp_path, sides, foreign, judged)

    assert (out / "model.onnx").exists()


@pytest.mark.parametrize("num_images", [1, 2, 5])
def test_the_onnx_file_takes_batches_of_any_size(made: Path, num_images: int) -> None:
    session = onnxruntime.InferenceSession(made / "model.onnx")
    (taken,), (given,) = session.get_inputs(), session.get_outputs()

    (said,) = session.run(None, {"image": np.zeros((num_images, 3, 32, 32), np.float32)})

    assert (taken.name, taken.type, taken.shape[1:]) == ("image", "tensor(float)", [3, 32, 32])
    assert given.name == "probabilities"
    assert said.shape == (num_images, 3)
    assert said.sum(axis=1) == pytest.approx(np.ones(num_images), abs=1e-5)


def test_the_onnx_file_has_the_opset_of_the_params_and_no_path_of_this_machine(made: Path) -> None:
    model = onnx.load(made / "model.onnx")

    assert {one.domain: one.version for one in model.opset_import} == {"": 18}
    assert not [
        name for name, content in everything(made).items() if str(Path(stage.__file__).parent).encode() in content
    ]


def test_the_onnx_file_says_that_it_needs_no_newer_reader_than_its_operators_do(made: Path) -> None:
    onnx.checker.check_model(made / "model.onnx", full_check=True)

    assert onnx.load(made / "model.onnx").ir_version == 8


def test_the_onnx_file_alone_says_what_goes_in_and_what_comes_out(made: Path) -> None:
    meta = onnxruntime.InferenceSession(made / "model.onnx").get_modelmeta()

    notes = meta.custom_metadata_map
    assert json.loads(notes["labels"]) == read(made / "labels.json")["labels"]
    assert notes["preprocess"] == (made / "preprocess.json").read_text(encoding="utf-8")
    assert (notes["image_size"], meta.description.startswith("An image classifier.")) == ("32", True)


def by_the_rules(path: Path, rules: dict[str, Any]) -> NDArray[np.float32]:
    """Follow preprocess.json with Pillow and numpy alone, from the original file."""
    assert (rules["color"], rules["orientation"], rules["crop"]["kind"]) == ("RGB", "exif", "center")
    assert (rules["layout"], rules["dtype"], rules["resize"]["filter"]) == ("NCHW", "float32", "lanczos")
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    short = rules["resize"]["short_side"]
    size = tuple(max(short, round(side * short / min(image.size))) for side in image.size)
    image = image.resize(size, Image.Resampling.LANCZOS)
    width, height = rules["crop"]["width"], rules["crop"]["height"]
    left, top = (image.width - width) // 2, (image.height - height) // 2
    pixels = np.asarray(image.crop((left, top, left + width, top + height)), np.float32) / rules["divide_by"]
    normal = (pixels - np.array(rules["mean"], np.float32)) / np.array(rules["std"], np.float32)
    return normal.transpose(2, 0, 1)[None].astype(np.float32)


def test_a_consumer_who_follows_preprocess_json_from_the_originals_says_what_evaluate_said(
    made: Path, sides: Path, judged: Path
) -> None:
    session = onnxruntime.InferenceSession(made / "model.onnx")
    labels = read(made / "labels.json")["labels"]
    predictions = table(judged / "predictions.csv")

    same = 0
    for row in predictions:
        image = by_the_rules(sides / "raw" / row["source"], read(made / "preprocess.json"))
        (said,) = session.run(None, {"image": image})
        same += labels[said[0].argmax()] == row["predicted"]

    assert same / len(predictions) >= 0.99


def test_the_weights_that_travel_are_those_that_were_trained_and_say_what_they_are(
    made: Path, trained: Path, judged: Path
) -> None:
    with safe_open(made / "weights.safetensors", "pt") as opened:
        about = opened.metadata()

    travel, own = load_file(made / "weights.safetensors"), load_file(trained / "weights.safetensors")
    assert list(travel) == list(own)
    assert all(torch.equal(travel[name], own[name]) for name in own)
    assert about == {
        "format": "pt",
        "architecture": "test_resnet",
        "method": "fine_tune",
        "labels": '["Bengal", "beagle", "pug"]',
        "temperature": str(read(judged / "calibration.json")["temperature"]),
    }


def test_labels_come_with_their_species_and_the_threshold(made: Path, judged: Path) -> None:
    assert read(made / "labels.json") == {
        "format": 1,
        "labels": ["Bengal", "beagle", "pug"],
        "species": {"Bengal": "cat", "beagle": "dog", "pug": "dog"},
        "unsure_below": read(judged / "calibration.json")["unsure_below"],
    }


def test_the_bundles_params_are_those_of_all_six_stages(made: Path) -> None:
    params = yaml.safe_load((made / "params.yaml").read_text(encoding="utf-8"))

    assert params == yaml.safe_load(params_yaml())


def test_the_bundle_lists_every_original_that_training_or_a_choice_has_seen_and_none_of_the_test(
    made: Path, sides: Path
) -> None:
    seen = table(made / "seen_images.csv")

    rows = {side: table(sides / f"split/{side}.csv") for side in ("train", "valid", "test")}
    assert [one["sha256"] for one in seen] == sorted(row["sha256"] for row in rows["train"] + rows["valid"])
    for column in ("sha256", "group"):
        assert not {one[column] for one in seen} & {row[column] for row in rows["test"]}


def test_the_bundle_lists_the_original_of_every_picture_that_a_file_of_it_shows(
    made: Path, sides: Path, judged: Path
) -> None:
    shown = table(made / "shown_images.csv")

    rows = {row["sha256"]: row for row in table(sides / "split/test.csv")}
    assert {one["file"] for one in shown} == {
        "report.html",
        *(path.relative_to(made).as_posix() for path in (made / "self_test").iterdir()),
    }
    assert all(one["group"] == rows[one["sha256"]]["group"] for one in shown)
    for one in shown:
        if re.fullmatch(r"self_test/\d+\.jpg", one["file"]):
            original = sides / "prepared" / rows[one["sha256"]]["path"]
            assert (made / one["file"]).read_bytes() == original.read_bytes()
    assert len({one["sha256"] for one in shown if re.fullmatch(r"self_test/[a-z]+(16)?\.\w+", one["file"])}) == 1
    assert [tuple(one.values()) for one in shown] == sorted(tuple(one.values()) for one in shown)


def test_doubtful_labels_stay_with_the_trainer(made: Path, judged: Path) -> None:
    assert (made / "report.html").read_bytes() == (judged / "published_report.html").read_bytes()
    assert 'id="doubtful"' in (judged / "report.html").read_text(encoding="utf-8")
    assert 'id="doubtful"' not in (made / "report.html").read_text(encoding="utf-8")
    assert (judged / "doubtful.csv").exists()
    assert not (made / "doubtful.csv").exists()


def test_the_card_tells_the_measured_numbers_and_the_params_words(made: Path, judged: Path) -> None:
    card = read(made / "card.json")

    assert card["metrics"] == read(judged / "metrics.json")
    assert (card["num_train"], card["num_valid"], card["num_test"]) == (18, 9, 9)
    assert [card[name] for name in ("intended_use", "limits", "data_license")] == [
        EXPORT[name] for name in ("intended_use", "limits", "data_license")
    ]
    assert card["license"] == EXPORT["weights_license"]


def test_the_card_says_of_each_label_how_many_test_images_were_named_rightly(made: Path, judged: Path) -> None:
    rows = table(judged / "predictions.csv")

    counts = read(made / "card.json")["test_by_label"]

    assert counts == {
        label: {
            "num_images": sum(row["label"] == label for row in rows),
            "num_right": sum(row["label"] == row["predicted"] == label for row in rows),
        }
        for label in sorted({row["label"] for row in rows})
    }


def test_the_card_counts_the_images_that_are_not_the_sources(
    made: Path, tmp_path: Path, sides: Path, trained: Path, judged: Path
) -> None:
    shutil.copytree(sides / "split", tmp_path / "split")
    (tmp_path / "prepared").symlink_to(sides / "prepared")
    for side in ("train", "test"):
        first, *others = rows = table(tmp_path / f"split/{side}.csv")
        late = first | {"arrival": "1", "arrived": "2026-11-20"}
        write_csv(tmp_path / f"split/{side}.csv", list(first), [list(row.values()) for row in (late, *others)])
        assert {row["arrival"] for row in rows} == {"0"}

    out = bundle(tmp_path, tmp_path, trained, judged)

    assert read(made / "card.json")["num_arrived"] == 0
    assert read(out / "card.json")["num_arrived"] == 2
    assert "And 2 images that came later, of whose licence" in (out / "card.md").read_text(encoding="utf-8")


def test_the_card_in_markdown_opens_with_a_header_that_hubs_read(made: Path) -> None:
    text = (made / "card.md").read_text(encoding="utf-8")

    _, header, body = text.split("---\n", maxsplit=2)
    assert yaml.safe_load(header)["pipeline_tag"] == "image-classification"
    assert "# 3 labels from one photograph" in body
    assert text == markdown(read(made / "card.json"))


def test_all_stages_from_scratch_in_other_processes_and_folders_leave_the_same_bytes(
    sides: Path, trained: Path, judged: Path, made: Path, tmp_path: Path
) -> None:
    write_source(tmp_path / "raw/source", num_images=12)
    (tmp_path / "params.yaml").write_text(params_yaml(), encoding="utf-8")
    judging = {"prepared": "prepared", "split": "split", "train": "train"}
    places = {"checkpoints": "checkpoints", "features": "features"}

    for name, out, paths in [
        ("prepare", "prepared", {"raw": "raw"}),
        ("split", "split", {"prepared": "prepared"}),
        ("train", "train", {"prepared": "prepared", "split": "split", **places}),
        ("evaluate", "eval", judging | {"features": "features", "settings": "params.yaml"}),
        ("export", "bundle", judging | {"eval": "eval"}),
    ]:
        process = start_stage(name, tmp_path, out=out, **paths)
        assert (process.communicate()[1], process.returncode)[1] == 0, name

    first = {"prepared": sides / "prepared", "split": sides / "split", "train": trained, "eval": judged, "bundle": made}
    for name, folder in first.items():
        assert everything(tmp_path / name) == everything(folder), name


def said_otherwise(judged: Path, folder: Path, logits: NDArray[np.float32]) -> Path:
    """Copy what evaluate left to `folder`, but with other logits of the test images."""
    np.save(shutil.copytree(judged, folder) / "test_logits.npy", logits)
    return folder


def test_an_onnx_file_that_says_otherwise_than_was_judged_stops_the_stage_and_keeps_the_last_bundle(
    made: Path, sides: Path, trained: Path, judged: Path, tmp_path: Path
) -> None:
    good = everything(shutil.copytree(made, tmp_path / "bundle"))
    logits = np.load(judged / "test_logits.npy")
    logits[-1, 0] += 0.01
    other = said_otherwise(judged, tmp_path / "eval", logits)

    with pytest.raises(DataError, match=r"ONNX file is 0\.0001 or more off the learner; try another export\.opset"):
        bundle(tmp_path, sides, trained, other)

    assert everything(tmp_path / "bundle") == good


@pytest.fixture
def no_folder(tmp_path: Path) -> Path:
    """A place in which nothing can be written: whoever tries fails otherwise."""
    (tmp_path / "file").touch()
    return tmp_path / "file"


@pytest.mark.parametrize(
    "cut", [(slice(1, None), slice(None)), (slice(None), slice(1, None))], ids=["images", "labels"]
)
def test_a_judgement_of_another_test_side_stops_the_stage_before_it_writes_anything(
    sides: Path, trained: Path, judged: Path, no_folder: Path, tmp_path: Path, cut: tuple[slice, slice]
) -> None:
    other = said_otherwise(judged, tmp_path / "eval", np.load(judged / "test_logits.npy")[cut])

    with pytest.raises(DataError, match=r"another test side was judged, .*; run `dvc repro evaluate`: .*logits\.npy$"):
        bundle(no_folder, sides, trained, other)


@pytest.mark.parametrize(
    ("name", "kind"), [("test_logits.npy", "array of numbers"), ("metrics.json", "JSON file")], ids=["numbers", "JSON"]
)
def test_a_torn_judgement_stops_the_stage_before_it_writes_anything(
    sides: Path, trained: Path, judged: Path, no_folder: Path, tmp_path: Path, name: str, kind: str
) -> None:
    shutil.copytree(judged, tmp_path / "eval")
    (tmp_path / "eval" / name).write_bytes((judged / name).read_bytes()[:-9])

    with pytest.raises(DataError, match=rf"^no {kind}; run `dvc repro --force evaluate`: .*{re.escape(name)}$"):
        bundle(no_folder, sides, trained, tmp_path / "eval")


@pytest.mark.parametrize(
    ("name", "lacking", "stage"),
    [
        ("train/train.json", ["weights_sha256"], "train"),
        ("train/train.json", ["versions", "params.device"], "train"),
        ("eval/calibration.json", ["unsure_precision", "test_sure"], "evaluate"),
        ("eval/metrics.json", ["accuracy_low"], "evaluate"),
        ("eval/params.json", ["download.source"], "evaluate"),
    ],
)
def test_export_names_what_an_earlier_releases_judgement_lacks_before_the_conversion(
    sides: Path, trained: Path, judged: Path, no_folder: Path, tmp_path: Path, name: str, lacking: list[str], stage: str
) -> None:
    old = {place: shutil.copytree(now, tmp_path / place) for place, now in (("train", trained), ("eval", judged))}
    change_json(tmp_path / name, dict.fromkeys(lacking))

    told = rf"{name} lacks what this release reads; run `dvc repro {stage}`: {', '.join(lacking)}$"
    with pytest.raises(DataError, match=told):
        bundle(no_folder, sides, old["train"], old["eval"])


@pytest.mark.parametrize("name", ["shown_images.csv", "published_report.html"])
def test_export_names_what_an_earlier_release_did_not_leave_before_the_conversion(
    sides: Path, trained: Path, judged: Path, no_folder: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(judged, tmp_path / "eval")
    (tmp_path / "eval" / name).unlink()

    with pytest.raises(DataError, match=rf"no such file; run `dvc repro evaluate`: .*eval/{re.escape(name)}$"):
        bundle(no_folder, sides, trained, tmp_path / "eval")


def test_a_judgement_and_a_bundle_are_made_of_nothing_but_what_is_asked_for_first(
    sides: Path, trained: Path, tmp_path: Path
) -> None:
    """preprocess.json travels whole; the settings of a training are asked for by their dataclass."""
    old = {"train": trained, "prepared": sides / "prepared", "split": sides / "split"}
    old = {place: shutil.copytree(now, tmp_path / place) for place, now in old.items()}
    settings = tmp_path / "params.yaml"
    settings.write_text(params_yaml(), encoding="utf-8")
    keep_what_is_read(tmp_path / "train/train.json", "params")
    keep_what_is_read(tmp_path / "prepared/prepare.json")
    keep_what_is_read(tmp_path / "split/split.json")
    judging = section(settings, "evaluate", EvaluateParams)

    evaluate(judging, **old, features=tmp_path / "features", settings=settings, out=tmp_path / "eval")
    keep_what_is_read(tmp_path / "eval/calibration.json")
    keep_what_is_read(tmp_path / "eval/metrics.json", "sure_accuracy")
    out = bundle(tmp_path, tmp_path, old["train"], tmp_path / "eval")

    assert (out / "card.json").exists()


def keep_what_is_read(path: Path, *more: str) -> None:
    _, needs = NEEDS[path.name]
    write_json(path, {key: value for key, value in read(path).items() if key in {*needs, *more}})


def test_a_full_disk_stops_the_stage_and_keeps_the_last_bundle(
    made: Path, sides: Path, trained: Path, judged: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", num_kib=200) as disk:
        (disk / "bundle").mkdir()
        (disk / "bundle/good.txt").touch()

        with pytest.raises(ResourceError, match=r"^no space left; free some and run again: .*/disk/bundle$"):
            bundle(disk, sides, trained, judged)

        assert list(everything(disk)) == ["bundle/good.txt"]


def test_more_self_test_pictures_than_test_images_are_all_there_are(
    sides: Path, trained: Path, judged: Path, tmp_path: Path
) -> None:
    out = bundle(tmp_path, sides, trained, judged, num_self_test_images=99)

    assert len(read(out / "self_test.json")["images"]) == len(table(sides / "split/test.csv")) + 4


def test_a_bundle_without_self_test_pictures_holds_no_self_test_and_its_card_says_so(
    sides: Path, trained: Path, judged: Path, tmp_path: Path
) -> None:
    out = bundle(tmp_path, sides, trained, judged, num_self_test_images=0)

    assert [name for name in everything(out) if "self_test" in name or name.endswith((".jpg", ".png"))] == []
    assert "The images here (in `report.html`) are" in (out / "card.md").read_text(encoding="utf-8")


def test_the_client_passes_the_self_test(made: Path) -> None:
    found = self_test(petmodels.load(made))

    assert found is not None
    assert (found.num_images, found.worst < 1e-4) == (7, True)


@pytest.mark.parametrize("filter_name", ["nearest", "bilinear", "box"])
def test_another_resize_fails_the_self_test_clearly(made: Path, filter_name: str) -> None:
    model = petmodels.load(made)
    model.preprocess = replace(model.preprocess, filter=filter_name)

    with pytest.raises(SelfTestError, match=r"answers self_test/large\.jpg differently") as caught:
        self_test(model)

    assert float(re.findall(r"off by (\d\.\d+)", str(caught.value))[0]) > 2 * read(made / "self_test.json")["tolerance"]


def test_a_longer_side_that_is_cut_off_fails_the_self_test(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = petmodels.load(made)
    short = model.preprocess.short_side
    monkeypatch.setattr(
        type(model.preprocess), "resized_size", lambda _, *size: tuple(side * short // min(size) for side in size)
    )

    with pytest.raises(SelfTestError, match=r"answers self_test/large\.jpg differently"):
        self_test(model)


def test_a_strip_comes_in_the_self_test_with_its_middle_alone(made: Path, tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((16, 60_000)).convert("RGB").save(tmp_path / "strip.jpg")
    shutil.copy(made / "model.onnx", tmp_path)
    shutil.copy(made / "preprocess.json", tmp_path)
    rows, expected = [{"path": "strip.jpg", "label": "a"}], np.asarray([[0.6, 0.4]], np.float32)

    write_self_test(tmp_path, rows, expected, prepared=tmp_path, number=1)

    with Image.open(tmp_path / "self_test/large.jpg") as image:
        assert max(image.size) < 4 * min(image.size)


def as_pillow_gives_it(image: Any) -> Image.Image:
    """Open a picture and leave aside what petmodels sees to: how it is turned, what is transparent, and 16 bits."""
    with Image.open(image) as opened:
        return opened.convert("RGB")


@pytest.mark.parametrize("name", ["turned.jpg", "transparent.png", "grey16.png"])
def test_a_reader_that_leaves_a_rule_of_decoding_aside_fails_the_self_test(made: Path, name: str) -> None:
    model, told = petmodels.load(made), read(made / "self_test.json")
    (entry,) = (one for one in told["images"] if one["file"] == f"self_test/{name}")

    said = model.probabilities(model.preprocess.array(as_pillow_gives_it(made / entry["file"]))[None])[0]

    assert np.abs(said - entry["probabilities"]).max() > 10 * told["tolerance"]


def test_the_words_of_the_card_are_the_sections_own() -> None:
    assert asdict(ExportParams(**EXPORT)) == EXPORT


@pytest.mark.parametrize(("source", "told"), [("parts.zip", True), ("oxford-iiit-pet.tgz", False)])
def test_a_card_that_still_speaks_of_the_pets_is_told_where_the_images_are_others(
    sides: Path,
    trained: Path,
    judged: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    source: str,
    told: bool,
) -> None:
    shutil.copytree(judged, tmp_path / "eval")
    settings = read(judged / "params.json")
    settings["download"]["source"] = source
    (tmp_path / "eval/params.json").write_text(json.dumps(settings))
    pets = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["export"]["data_name"]

    bundle(tmp_path, sides, trained, tmp_path / "eval", data_name=pets)

    names = "data_name, data_license, data_url, data_citation, intended_use and limits"
    said = f"these images are others; write export's {names} anew: {source}"
    assert (said in capsys.readouterr().err) == told
