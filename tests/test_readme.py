"""What README says must be so."""

import csv
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from flows.demo import OFFLINE_TRAINING
from stages.download import DownloadParams, download
from stages.prepare import PrepareParams, prepare
from stages.split import SplitParams, split
from stages.train import TrainParams
from tests.pictures import LABELS, content, pet, write_source
from tests.readme import README, ROOT, with_generated_parts

TEXT = README.read_text(encoding="utf-8")


def test_readme_has_the_parameters_and_files_of_the_code() -> None:
    assert with_generated_parts(TEXT) == TEXT, "run: python -m tests.readme"


def test_every_make_target_in_readme_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))

    assert set(re.findall(r"^\s*make (\w+)", TEXT, flags=re.MULTILINE)) <= targets


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", TEXT))))
def test_every_relative_link_in_readme_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_values_for_own_images_make_sides_of_a_folder_of_folders(tmp_path: Path) -> None:
    write_source(tmp_path / "drawn", num_images=6)
    for image in (tmp_path / "drawn/images").iterdir():
        (tmp_path / "parts" / image.stem.split("_")[0]).mkdir(parents=True, exist_ok=True)
        image.rename(tmp_path / "parts" / image.stem.split("_")[0] / image.name)
    (block,) = re.findall(r"```yaml\n(download: .*?)```", TEXT, flags=re.DOTALL)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for name, values in yaml.safe_load(block.replace("/data/parts", str(tmp_path / "parts"))).items():
        params[name] |= values
    lists = {name: ROOT / f"data/{name}.csv" for name in ("arrivals", "corrections")}
    raw, prepared, out = (tmp_path / name for name in ("raw", "prepared", "split"))

    download(DownloadParams(**params["download"]), **lists, cache=tmp_path / "c", out=raw)
    prepare(PrepareParams(**params["prepare"]), raw=raw, out=prepared)
    split(SplitParams(**params["split"]), prepared=prepared, out=out)

    for side in ("train", "valid", "test"):
        with (out / f"{side}.csv").open(encoding="utf-8", newline="") as file:
            assert {(row["label"], row["species"]) for row in csv.DictReader(file)} == {(one, "") for one in LABELS}


def test_the_row_for_an_archive_gives_known_labels(tmp_path: Path) -> None:
    """Its label is empty: by labels_from, each image of the archive has that of its own folder, as README says."""
    (block,) = re.findall(r"```\n(address,sha256,.*?)```", TEXT, flags=re.DOTALL)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/arrivals.csv").write_text(block, encoding="utf-8")
    for kind, label in enumerate(LABELS):
        for place in (f"source/{label}/1.jpg", f"arrivals/00001/{label}/2.png"):
            (tmp_path / "raw" / place).parent.mkdir(parents=True)
            (tmp_path / "raw" / place).write_bytes(content(pet(kind, len(place))))
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["prepare"]
    own = {"labels_from": "folder", "files": "**/*.jpg", "species": {}}

    prepare(PrepareParams(**params | own), raw=tmp_path / "raw", out=tmp_path / "prepared")

    with (tmp_path / "prepared/index.csv").open(encoding="utf-8", newline="") as file:
        arrived = [row["label"] for row in csv.DictReader(file) if row["arrival"] == "1"]
    assert sorted(arrived) == sorted(LABELS)


def test_the_readmes_values_without_a_gpu_are_the_demos() -> None:
    (block,) = re.findall(r"### Without a GPU.*?```yaml\n(train: .*?)```", TEXT, flags=re.DOTALL)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["train"]
    shown = yaml.safe_load(block)["train"]

    assert TrainParams(**params | shown) == TrainParams(**params | OFFLINE_TRAINING)


def test_no_tracked_file_is_large_without_a_reason() -> None:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    large = [name for name in names.split("\0") if name and (ROOT / name).is_file() and _kib(ROOT / name) > 500]

    assert large == []


def _kib(path: Path) -> float:
    return path.stat().st_size / 1024


def test_a_value_for_an_experiment_is_quoted_as_readme_says(tmp_path: Path) -> None:
    hydra = pytest.importorskip("dvc.utils.hydra")
    params = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", params)
    (quoted,) = re.findall(r'`-S "(download\.source=[^`]+)"`', TEXT)

    hydra.apply_overrides(params, [quoted, r"prepare.label_pattern='^(.+)_\d+\.jpg$'", "prepare.species={}"])

    found = yaml.safe_load(params.read_text(encoding="utf-8"))
    assert found["download"]["source"] == "sample:images_per_breed=5"
    assert found["prepare"]["label_pattern"] == r"^(.+)_\d+\.jpg$"
    assert found["prepare"]["species"] != {}, "DVC no longer merges mappings: README says that it does"
