"""A mistake in params.yaml costs one line that names the culprit and the fix."""

import importlib
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import yaml
from pydantic import ConfigDict, Field
from ruamel.yaml import YAML

from stages.entry import NAMES
from stages.errors import ParamsError
from stages.evaluate import EvaluateParams
from stages.params import STRICT, Pattern, section, sections
from stages.prepare import PrepareParams
from stages.published_params import published
from stages.split import SplitParams
from stages.train import TrainParams
from tests.stages.settings import PREPARE, params_yaml

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Walk:
    """A section such as a stage has."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    dog: Annotated[str, Field(min_length=1)]
    minutes: Annotated[float, Field(gt=0, le=600)]
    num_balls: Annotated[int, Field(ge=0)]
    lead: Literal["short", "long"]
    places: Pattern


GOOD = {"dog": "Rex", "minutes": "20.5", "num_balls": "2", "lead": "long", "places": "^park"}


def read(folder: Path, **changes: str | None) -> Walk:
    """Return the section `walk` of a params.yaml written with `changes`; None leaves a key out."""
    lines = [f"  {key}: {value}\n" for key, value in (GOOD | changes).items() if value is not None]
    (folder / "params.yaml").write_text("walk:\n" + "".join(lines), encoding="utf-8")
    return section(folder / "params.yaml", "walk", Walk)


def test_a_good_section_becomes_its_dataclass(tmp_path: Path) -> None:
    assert read(tmp_path) == Walk(dog="Rex", minutes=20.5, num_balls=2, lead="long", places="^park")


@pytest.mark.parametrize(("text", "value"), [("1e-3", 0.001), ("1E2", 100.0), ("5", 5.0), ("2.", 2.0)])
def test_numbers_are_read_as_dvc_reads_them(tmp_path: Path, text: str, value: float) -> None:
    assert read(tmp_path, minutes=text).minutes == value


VALUES = (
    "042 -042 08 0o17 0x1F 0b11 1_000 +5 0 1:30 1:30.5 yes no on off y true True FALSE ~ null Null 1e-3 .5 1. 1.5e3 "
    "5e3 .5e3 .5e+3 1_0.5 _1 0o8 '042' 12e03 -1.5 1-2 a:b"
)


@dataclass(frozen=True, kw_only=True)
class Values:
    """A section that takes anything."""

    values: list[Any]


def test_a_value_is_what_dvc_takes_it_for(tmp_path: Path) -> None:
    text = "list:\n  values:\n" + "".join(f"  - {value}\n" for value in VALUES.split())
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")

    found = section(tmp_path / "params.yaml", "list", Values)

    assert repr(found.values) == repr(YAML(typ="safe").load(text)["list"]["values"])


@pytest.mark.parametrize("word", ["no", "on", "y", "2020-01-01", "="])
def test_a_word_that_yaml_1_1_took_for_something_else_is_a_text_and_may_be_a_key(tmp_path: Path, word: str) -> None:
    assert read(tmp_path, dog=word).dog == word
    with pytest.raises(ParamsError, match=f"walk: unknown key '{word}'; known keys: dog"):
        read(tmp_path, **{word: "1"})


def test_a_number_that_begins_with_a_nought_is_the_one_that_dvc_sees(tmp_path: Path) -> None:
    assert read(tmp_path, num_balls="042").num_balls == 42
    with pytest.raises(ParamsError, match="walk: num_balls: input should be a valid integer: '1:30'"):
        read(tmp_path, num_balls="1:30")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"minuets": "3"}, r"walk: unknown key 'minuets'; known keys: dog, minutes, num_balls, lead, places$"),
        ({"minutes": None, "minuets": "3"}, "unknown key 'minuets'; known keys: dog, minutes"),
        ({"num_balls": None}, r"params\.yaml lacks: walk\.num_balls$"),
        ({"num_balls": "'2'"}, r"walk: num_balls: input should be a valid integer: '2'$"),
        ({"num_balls": "2.5"}, r"walk: num_balls: .*integer.*: 2\.5$"),
        ({"num_balls": "true"}, r"walk: num_balls: .*: True$"),
        ({"num_balls": "-1"}, r"walk: num_balls: input should be greater than or equal to 0: -1$"),
        ({"minutes": "0"}, r"walk: minutes: input should be greater than 0: 0$"),
        ({"minutes": ".nan"}, r"walk: minutes: input should be a finite number"),
        ({"minutes": ".inf"}, r"walk: minutes: input should be (a finite number|less than or equal to 600)"),
        ({"minutes": ""}, r"walk: minutes: input should be a valid number: None$"),
        ({"dog": "''"}, r"walk: dog: string should have at least 1 character: ''$"),
        ({"lead": "elastic"}, r"walk: lead: input should be 'short' or 'long': 'elastic'$"),
        ({"places": "'(park'"}, r"walk: places: not a regular expression \(.*\): '\(park'$"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(
    tmp_path: Path, changes: dict[str, str | None], told: str
) -> None:
    with pytest.raises(ParamsError, match=told) as caught:
        read(tmp_path, **changes)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("walk: {dog: Rex, dog: Max}", r"params\.yaml: not valid YAML: key 'dog' stands twice"),
        ("walk: {}\nwalk: {}", "key 'walk' stands twice"),
        ("run: {}\nsit: {}", r"params\.yaml: section 'walk' is missing; sections: run, sit$"),
        ("walk: 3", "section 'walk' is missing; sections: walk"),
        ("7: {}", r"params\.yaml: not valid YAML: a key is no text: 7"),
        ("- walk", "expected sections, found: list"),
        ("", "expected sections, found: NoneType"),
        ("walk: [", "not valid YAML"),
        ("? [walk]\n: 3", "not valid YAML"),
        (f"walk: {'9' * 5000}", "not valid YAML"),
        ("walk: &a [*a]", "section 'walk' is missing"),
        ("walk: {dog: &a [*a]}", "walk: a key is no plain word, or a value holds itself"),
        ("walk: {dog: {012: 1}}", "a key is no text: 012"),
        ("walk: {dog: {~: 1}}", "a key is no text: ~"),
        ("walk: {dog: {[a]: 1}}", "a key is no text in"),
        ("walk: {dog: {true: 1}}", "a key is no text: true"),
    ],
)
def test_a_file_that_is_no_params_file_says_why(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(ParamsError, match=told) as caught:
        section(tmp_path / "params.yaml", "walk", Walk)

    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"no params file; run from the project's folder or name one with --params"):
        section(tmp_path / "params.yaml", "walk", Walk)


def test_a_folder_is_no_params_file(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"no params file; run from the project's folder or name one with --params"):
        section(tmp_path, "walk", Walk)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"walk: \xff\xfe")

    with pytest.raises(ParamsError, match=r"params\.yaml: not valid YAML"):
        section(tmp_path / "params.yaml", "walk", Walk)


def test_values_that_exclude_each_other_stop_the_run(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(params_yaml(split={"valid_share": 0.5, "test_share": 0.5}), encoding="utf-8")

    with pytest.raises(ParamsError, match=r"^params\.yaml: split: valid_share and test_share leave nothing"):
        section(path, "split", SplitParams)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"method": "probe", "weights": "imagenet"}, r"train: method probe needs weights and frozen_epochs: 0"),
        ({"method": "probe", "weights": "imagenet"}, r"-S train.method=probe .*frozen_epochs=0 .*epochs=0 .*=none$"),
        ({"weights_sha256": "a" * 64}, "train: weights_sha256 names weights, and weights is none; set it to null$"),
        ({"weights_sha256": "abc"}, "train: weights_sha256: .*: 'abc'$"),
        ({"frozen_epochs": 0, "epochs": 0}, "train: nothing to do: frozen_epochs and epochs are both 0"),
        ({"learning_rate": "fast"}, r"train: learning_rate: .*'auto'.*: 'fast'$"),
        ({"metrics": ["accuracy", "beauty"]}, r"train: metrics: input should be .*: 'beauty'$"),
        ({"metrics": ["accuracy", "accuracy"]}, r"train: metrics: .*twice"),
        ({"batch_size": 1}, r"train: batch_size: .*greater than or equal to 2: 1$"),
    ],
)
def test_a_training_that_can_not_be_meant_stops_the_run(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(params_yaml(train=changes), encoding="utf-8")

    with pytest.raises(ParamsError, match=told):
        section(path, "train", TrainParams)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"label_pattern": r"^.+_\d+\.jpg$"}, r"label_pattern needs a group .*: '\^"),
        ({"group_pattern": r"^.+_\d+\.jpg$"}, r"prepare: group_pattern needs a group .*: '\^"),
        ({"group_pattern": ""}, r"prepare: group_pattern needs a group .*: ''$"),
        ({"group_pattern": "("}, r"prepare: group_pattern: not a regular expression .*: '\('$"),
        ({"group_pattern": 7}, r"prepare: group_pattern: input should be a valid string: 7$"),
        ({"labels_from": "csv"}, r"prepare: label_file must name a CSV file"),
        ({"species": {"cat": "("}}, r"species: not a regular expression"),
        ({"files": "."}, r"files: should name files below the source, as in images/\*: '\.'$"),
        ({"files": "/etc/*"}, r"files: .*relative.*: '/etc/\*'$"),
    ],
)
def test_a_rule_for_labels_or_groups_that_can_not_work_stops_the_run(
    tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(params_yaml(prepare=changes), encoding="utf-8")

    with pytest.raises(ParamsError, match=told):
        section(path, "prepare", PrepareParams)


def test_a_share_of_right_answers_that_no_number_of_images_reaches_stops_the_run(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(params_yaml(evaluate={"unsure_precision": 1}), encoding="utf-8")

    with pytest.raises(ParamsError, match=r"evaluate: unsure_precision: input should be less than 1: 1$"):
        section(path, "evaluate", EvaluateParams)


def test_the_drawn_pictures_settings_are_a_whole_params_file(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(params_yaml(), encoding="utf-8")

    assert section(path, "prepare", PrepareParams) == PrepareParams(**PREPARE)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("/home/ann/pets.tgz", "pets.tgz"),
        ("photos", "photos"),
        ("https://server/pets.tgz?part=abc", "https://server/pets.tgz?…"),
        ("s3://bucket/pets.tgz", "s3://bucket/pets.tgz"),
        ("sample:", "sample:"),
    ],
)
def test_what_is_published_of_a_source_names_no_folder_and_no_secret(tmp_path: Path, source: str, told: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(params_yaml(download={"source": source}), encoding="utf-8")

    assert published(path) == yaml.safe_load(params_yaml(download={"source": told}))


def test_a_file_of_weights_is_published_without_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(params_yaml(train={"weights": "/home/ann/private/pets.safetensors"}), encoding="utf-8")

    assert published(path)["train"]["weights"] == "pets.safetensors"


@pytest.mark.parametrize("name", ["split", "prepare"])
def test_a_typo_in_any_section_stops_every_stage_before_it_works(tmp_path: Path, name: str) -> None:
    (tmp_path / "params.yaml").write_text(params_yaml(train={"epoch": 4}), encoding="utf-8")
    paths = ["--prepared", "nowhere"] if name == "split" else ["--raw", "nowhere"]

    done = subprocess.run(
        [sys.executable, "-m", f"stages.{name}", *paths, "--out", "out"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"{name}: params.yaml: train: unknown key 'epoch'; known keys: "
        f"{', '.join(field.name for field in fields(TrainParams))}\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml"]


def test_all_keys_that_params_yaml_lacks_are_named_at_once_with_what_they_mean(tmp_path: Path) -> None:
    content = yaml.safe_load(params_yaml())
    for name, key in (("train", "gpus"), ("train", "early_stopping"), ("export", "data_url"), ("split", "seed")):
        del content[name][key]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")

    with pytest.raises(ParamsError) as caught:
        read_all(tmp_path / "params.yaml")

    assert str(caught.value) == (
        f"{tmp_path}/params.yaml lacks: split.seed (another seed deals another split); "
        "train.gpus (so many GPUs of this machine share each step, if it has them); "
        "train.early_stopping (stop a phase after so many epochs without a lower valid loss, and keep the best "
        "weights; null: never, and keep the last); export.data_url (where the photographs come from; null: not said)"
    )


@pytest.mark.parametrize("mistake", [{"epoch": 4}, {"epochs": -1}], ids=["typo", "impossible value"])
def test_a_wrong_key_or_value_is_told_before_what_is_missing(tmp_path: Path, mistake: dict[str, int]) -> None:
    content = yaml.safe_load(params_yaml(train=mistake))
    del content["split"]["seed"], content["train"]["gpus"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")

    with pytest.raises(ParamsError, match=rf"params\.yaml: train: .*{next(iter(mistake))}"):
        read_all(tmp_path / "params.yaml")


def read_all(path: Path) -> None:
    """Read all sections as each stage does before it works."""
    names = {name: importlib.import_module(f"stages.{name}") for name in NAMES}
    sections(path, {name: getattr(module, f"{name.capitalize()}Params") for name, module in names.items()})


@pytest.mark.parametrize("name", NAMES)
def test_the_projects_own_params_are_good(name: str) -> None:
    kind = getattr(importlib.import_module(f"stages.{name}"), f"{name.capitalize()}Params")

    assert isinstance(section(ROOT / "params.yaml", name, kind), kind)
