"""Which photographs make the demo's first model, and which come later."""

import csv
import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from PIL import Image

from flows.demo import SAMPLE_TEXTS, UNKNOWN_TEXTS, own_settings
from flows.errors import RequestError
from flows.photographs import Photograph, dealt, unpacked

ROOT = Path(__file__).parents[2]


def project(folder: Path, *, num_images: int) -> Path:
    """Make what is read of a reproduced project: the index of two labels' images."""
    (folder / "data/prepared").mkdir(parents=True)
    with (folder / "data/prepared/index.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["source", "label"])
        writer.writerows([f"{label}/{number}.png", label] for label in ("cat", "dog") for number in range(num_images))
    return folder


def photographs(folder: Path) -> Path:
    """Write two photographs whose names say their labels, and a text."""
    drawn(folder, "new/Maine_Coon_7.jpg", "new/beagle_1.jpg")
    (folder / "new/notes.txt").write_text("nothing to see")
    return folder


def drawn(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), "red").save(folder / name)


def test_of_each_label_the_same_share_comes_later(tmp_path: Path) -> None:
    first, later = dealt(project(tmp_path, num_images=20))

    labels = ["cat", "dog"]
    assert [[one.label for one in side].count(label) for side in (first, later) for label in labels] == [8, 8, 12, 12]
    assert not set(first) & set(later)


def test_labels_of_five_images_leave_nothing_to_arrive(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="so few images that none is left to arrive later"):
        dealt(project(tmp_path, num_images=5))


def test_a_photographs_label_is_in_its_name_where_all_lie_in_one_folder(tmp_path: Path) -> None:
    folder = photographs(tmp_path)

    found = unpacked(folder, tmp_path / "unused")

    assert found == [
        Photograph(folder / "new/Maine_Coon_7.jpg", "Maine_Coon"),
        Photograph(folder / "new/beagle_1.jpg", "beagle"),
    ]


def test_of_images_in_several_folders_the_folders_say_the_label_whatever_a_camera_calls_them(tmp_path: Path) -> None:
    drawn(tmp_path, "cup/IMG_1000.jpg", "plate/IMG_1020.jpg")

    assert [one.label for one in unpacked(tmp_path, tmp_path / "unused")] == ["cup", "plate"]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["cup/IMG_1000.jpg", "plate/IMG_1020.jpg"], {"files": "**/*.*", "labels_from": "folder"}),
        (["cup/a.jpg", "cup/b.jpg"], {"files": "**/*.*", "labels_from": "folder"}),
        (["pets/images/pug_1.jpg", "pets/images/Bengal_2.jpg"], {"files": "**/images/*"}),
        (["pug_1.jpg", "Bengal_2.jpg"], {"files": "**/*.*"}),
        (["a/images/pug_1.jpg", "a/images/Bengal_2.jpg", "a/annotations/trimaps/pug_1.png"], {"files": "**/images/*"}),
        (["cats/Bengal_1.jpg", "dogs/pug_2.jpg"], {"files": "**/*.*"}),
        (["train/pug_1.jpg", "test/pug_2.jpg", "train/Bengal_1.jpg"], {"files": "**/*.*"}),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "gztar", "zip"])
def test_the_demo_claims_nothing_of_own_images_but_where_their_labels_stand(
    tmp_path: Path, names: list[str], wanted: dict[str, str], kind: str
) -> None:
    source = tmp_path / "mine"
    drawn(source, *names)
    if kind != "folder":
        source = Path(shutil.make_archive(str(tmp_path / "packed"), kind, source))

    found = own_settings(str(source))

    assert found["prepare"] == wanted | {"species": {}}
    texts = {"data_name": source.name} | dict.fromkeys(UNKNOWN_TEXTS, "not stated")
    assert found["export"] == texts | {"data_url": None, "data_citation": None}


def test_the_demos_card_says_nothing_of_the_drawn_pets_that_params_say_of_photographs() -> None:
    export = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["export"]

    about_the_data = {name for name in export if name.startswith("data_")} | {"intended_use", "limits"}
    assert set(SAMPLE_TEXTS) == about_the_data
    assert [name for name, text in SAMPLE_TEXTS.items() if text == export[name]] == []


def test_a_signed_address_leaves_no_signature_on_the_card() -> None:
    found = own_settings("https://user:pass@h.example/mine.tgz?X-Amz-Signature=SECRET#part")

    assert found["export"]["data_name"] == "mine.tgz"


def test_a_photograph_whose_name_tells_nothing_has_its_folders_label(tmp_path: Path) -> None:
    drawn(tmp_path, "new/Maine_Coon_7.jpg", "new/beagle/tom.PNG")

    assert [one.label for one in unpacked(tmp_path, tmp_path / "unused")] == ["Maine_Coon", "beagle"]


def test_what_macos_adds_to_a_zip_is_no_second_folder(tmp_path: Path) -> None:
    drawn(tmp_path / "mine", "images/pug_1.jpg", "__MACOSX/images/pug_1.jpg")
    (tmp_path / "mine/__MACOSX/images/pug_1.jpg").rename(tmp_path / "mine/__MACOSX/images/._pug_1.jpg")

    assert own_settings(str(tmp_path / "mine"))["prepare"] == {"files": "**/images/*", "species": {}}


@pytest.mark.parametrize("kind", ["gztar", "zip"])
def test_an_archive_of_photographs_is_unpacked(tmp_path: Path, kind: str) -> None:
    archive = shutil.make_archive(str(tmp_path / "later"), kind, photographs(tmp_path / "source"))

    found = unpacked(Path(archive), tmp_path / "later")

    assert [(one.path.name, one.label) for one in found] == [
        ("Maine_Coon_7.jpg", "Maine_Coon"),
        ("beagle_1.jpg", "beagle"),
    ]


@pytest.mark.parametrize("kind", ["gztar", "zip", "html"])
def test_what_is_no_whole_archive_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / "later.tgz"
    archive.write_text("<html>")
    if kind != "html":
        archive = Path(shutil.make_archive(str(tmp_path / "later"), kind, photographs(tmp_path / "source")))
        archive.write_bytes(archive.read_bytes()[:-60])

    with pytest.raises(RequestError, match=r"no whole archive of photographs .*later\."):
        unpacked(archive, tmp_path / "later")


@pytest.mark.parametrize("name", ["../out_1.jpg", "/out_1.jpg", "images/../../out_1.jpg"])
def test_an_archive_that_leads_out_of_its_folder_is_refused_and_writes_nothing_there(tmp_path: Path, name: str) -> None:
    outside = tmp_path / "out_1.jpg"
    with tarfile.open(tmp_path / "later.tar", "w") as archive:
        member = tarfile.TarInfo(str(outside) if name.startswith("/") else name)
        member.size = 4
        archive.addfile(member, io.BytesIO(b"jpeg"))

    with pytest.raises(RequestError, match=r"no whole archive of photographs .*later\."):
        unpacked(tmp_path / "later.tar", tmp_path / "later")

    assert not outside.exists()


def test_of_an_archives_links_none_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of this machine")
    with tarfile.open(tmp_path / "later.tar", "w") as archive:
        archive.add(photographs(tmp_path / "source"), "images")
        link = tarfile.TarInfo("images/pug_9.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        archive.addfile(link)

    assert "pug" not in {one.label for one in unpacked(tmp_path / "later.tar", tmp_path / "later")}


def test_a_folder_without_photographs_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=f"no photographs in {tmp_path}"):
        unpacked(tmp_path, tmp_path / "unused")


@pytest.mark.slow
def test_half_an_archive_costs_the_demo_one_line(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "whole.tgz", "w:gz") as archive:
        archive.add(photographs(tmp_path / "photographs"), "images")
    (tmp_path / "half.tgz").write_bytes((tmp_path / "whole.tgz").read_bytes()[:300])
    command = [sys.executable, "-m", "flows.demo", "--source", str(tmp_path / "half.tgz")]
    command += ["--folder", str(tmp_path / "demo")]

    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=100)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "download: broken or truncated archive " in done.stderr
