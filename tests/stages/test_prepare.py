"""Every file of the source is used or rejected for a stated reason, and pictures that are the same share a group."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFile, ImageFont

from petmodels.labels import labels_in
from petmodels.terminal import escaped
from stages.breeds import COATS
from stages.errors import DataError, ParamsError
from stages.hints import alike_labels
from stages.outputs import write_csv
from stages.params import section
from stages.pictures import Usable, usable_image
from stages.prepare import PrepareParams, prepare
from stages.sides import SIDES
from stages.split import SplitParams, split
from stages.threads import Room
from tests.pictures import content, pet, turned, unusable, usable, write_source
from tests.stages.settings import PREPARE, SPLIT, params_yaml

ODD_USABLE = usable(pet(0, 0))
ODD_UNUSABLE = unusable(pet(0, 0))


def prepared(folder: Path, **changes: Any) -> Path:
    """Prepare `<folder>/raw` with the drawn pictures' params but for `changes`; return the stage's output."""
    prepare(PrepareParams(**(PREPARE | changes)), raw=folder / "raw", out=folder / "prepared")
    return folder / "prepared"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def by_source(out: Path) -> dict[str, dict[str, str]]:
    return {Path(row["source"]).name: row for row in table(out / "index.csv")}


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def add_arrival(raw: Path, row: int, name: str, image: bytes) -> None:
    path = raw / f"arrivals/{row:05d}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A source of three labels with three pictures each; return its folder of images."""
    write_source(tmp_path / "raw/source", num_images=3)
    return tmp_path / "raw/source/images"


def test_a_row_says_what_an_image_shows_and_where_it_came_from(tmp_path: Path, images: Path) -> None:
    out = prepared(tmp_path)

    row = by_source(out)["Bengal_1.jpg"]
    assert row["path"] == f"images/Bengal/Bengal_1-{row['sha256'][:12]}.jpg"
    assert (row["label"], row["species"], row["source"]) == ("Bengal", "cat", "source/images/Bengal_1.jpg")
    assert (row["width"], row["height"], row["arrival"], row["arrived"]) == ("60", "48", "0", "")
    assert len(row["phash"]) == 64
    with Image.open(out / row["path"]) as stored:
        assert (stored.format, stored.mode, stored.size) == ("JPEG", "RGB", (50, 40))


def hashed(image: Image.Image) -> tuple[int, Image.Image]:
    """Return the perceptual hash of an image, as a number, and the picture that it is of."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    found = usable_image(PrepareParams(**PREPARE), buffer.getvalue())
    assert isinstance(found, Usable)
    assert len(found.phash) == 64
    return int(found.phash, 16), found.picture


@pytest.mark.parametrize("kind", range(5))
def test_the_perceptual_hash_is_of_the_lowest_frequencies_as_scipy_finds_them(kind: int) -> None:
    from scipy.fft import dctn

    found, picture = hashed(pet(kind, 1))

    small = picture.convert("L").resize((64, 64), Image.Resampling.HAMMING)
    lowest = dctn(np.asarray(small, np.float64))[:16, :16]
    assert found == int.from_bytes(np.packbits(lowest > np.median(lowest)).tobytes(), "big")
    assert 120 <= found.bit_count() <= 128


@pytest.mark.parametrize("lighter", [1, 3, 60])
def test_the_perceptual_hash_of_a_plain_picture_or_gradient_knows_no_brightness(lighter: int) -> None:
    def plain(light: int) -> Image.Image:
        return Image.new("L", (60, 48), light)

    def gradient(light: int) -> Image.Image:
        return Image.fromarray(np.tile(np.arange(0, 180, 3, dtype=np.uint8) + light, (48, 1)))

    for drawn in (plain, gradient):
        distance = (hashed(drawn(10))[0] ^ hashed(drawn(10 + lighter))[0]).bit_count()
        assert distance <= PREPARE["duplicate_distance"], drawn.__name__


@pytest.mark.parametrize("odd", sorted(ODD_USABLE))
def test_an_odd_image_is_used_and_shows_its_picture(tmp_path: Path, images: Path, odd: str) -> None:
    (images / "pug_99.jpg").write_bytes(ODD_USABLE[odd])

    out = prepared(tmp_path)

    row = by_source(out)["pug_99.jpg"]
    assert (row["width"], row["height"]) == ("60", "48")
    with Image.open(out / row["path"]) as stored:
        shown, wanted = (np.asarray(image.convert("L"), np.float64) for image in (stored, pet(0, 0).resize((50, 40))))
    assert np.corrcoef(shown.ravel(), wanted.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_stored_upright_whatever_its_orientation(tmp_path: Path, images: Path, orientation: int) -> None:
    (images / "pug_99.jpg").write_bytes(turned(pet(0, 0), orientation))

    out = prepared(tmp_path)

    with Image.open(out / by_source(out)["pug_99.jpg"]["path"]) as stored:
        assert stored.getexif() == {}
        difference = np.abs(np.asarray(stored, np.float64) - np.asarray(pet(0, 0).resize((50, 40)), np.float64))
    assert difference.mean() < 12


@pytest.mark.parametrize("odd", sorted(ODD_UNUSABLE))
def test_a_file_without_a_usable_picture_is_rejected_with_its_reason(tmp_path: Path, images: Path, odd: str) -> None:
    (images / "pug_99.jpg").write_bytes(ODD_UNUSABLE[odd][0])

    out = prepared(tmp_path)

    assert table(out / "rejects.csv") == [{"source": "source/images/pug_99.jpg", "reason": ODD_UNUSABLE[odd][1]}]
    assert "pug_99.jpg" not in by_source(out)


def test_an_image_that_no_jpeg_can_hold_once_scaled_is_rejected(tmp_path: Path, images: Path) -> None:
    (images / "pug_9.jpg").write_bytes(content(pet(0, 0, width=20, height=33_000)))

    rejects = table(prepared(tmp_path) / "rejects.csv")

    assert [(row["source"], row["reason"]) for row in rejects] == [
        ("source/images/pug_9.jpg", "too elongated: 20x33000")
    ]


def test_a_transparent_part_is_shown_on_white(tmp_path: Path, images: Path) -> None:
    (images / "pug_99.jpg").write_bytes(content(Image.new("RGBA", (40, 40), (255, 0, 0, 0)), "PNG"))

    out = prepared(tmp_path)

    with Image.open(out / by_source(out)["pug_99.jpg"]["path"]) as stored:
        assert stored.getpixel((20, 20)) == (255, 255, 255)


def test_a_picture_with_too_many_pixels_is_rejected_before_it_fills_the_memory(tmp_path: Path, images: Path) -> None:
    bomb = content(Image.new("1", (20000, 10000)), "PNG")
    (images / "pug_99.jpg").write_bytes(bomb)

    out = prepared(tmp_path)

    assert table(out / "rejects.csv")[0]["reason"] == "too many pixels"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options", "are_few"),
    [("JPEG", {"progressive": True}, True), ("PNG", {}, True), ("JPEG", {}, False)],
    ids=["a JPEG that is held whole", "a PNG", "a JPEG that is scaled while it is read"],
)
def test_prepare_decodes_no_more_pixels_at_once_on_a_machine_of_64_cores(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: dict[str, Any], are_few: bool
) -> None:
    for path in images.iterdir():
        path.write_bytes(content(pet(0, 0, width=400, height=300), kind, **options))
    loading, counts, load = list[None](), list[int](), ImageFile.ImageFile.load

    def slowly(image: ImageFile.ImageFile) -> Any:
        loading.append(None)
        counts.append(len(loading))
        time.sleep(0.2)
        loading.pop()
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", slowly)
    monkeypatch.setattr("stages.threads.num_cores", lambda: 64)
    monkeypatch.setattr("stages.images.DECODING", Room(3 * 400 * 300 + 1))

    prepared(tmp_path, duplicate_distance=0)

    assert (max(counts) <= 3) == are_few


def test_an_image_of_more_pixels_than_are_decoded_at_once_is_decoded_alone(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.images.DECODING", Room(7))

    assert len(by_source(prepared(tmp_path))) == 9


def test_a_name_that_the_pattern_does_not_fit_is_rejected(tmp_path: Path, images: Path) -> None:
    (images / "holiday.jpg").write_bytes(content(pet(0, 7)))
    (images / "pug_1.mat").write_bytes(b"MATLAB 5.0 MAT-file")

    out = prepared(tmp_path)

    reasons = {row["source"]: row["reason"] for row in table(out / "rejects.csv")}
    assert reasons == {
        "source/images/holiday.jpg": "no label by the pattern",
        "source/images/pug_1.mat": "no label by the pattern",
    }


def test_byte_identical_images_share_a_group(tmp_path: Path, images: Path) -> None:
    (images / "pug_99.jpg").write_bytes((images / "pug_1.jpg").read_bytes())

    rows = by_source(prepared(tmp_path))

    assert rows["pug_99.jpg"]["group"] == rows["pug_1.jpg"]["group"]
    assert len({row["group"] for row in rows.values()}) == 9


def test_two_copies_of_one_name_and_label_are_two_rows_that_share_a_file(tmp_path: Path, images: Path) -> None:
    (images / "more").mkdir()
    (images / "more/pug_1.jpg").write_bytes((images / "pug_1.jpg").read_bytes())

    out = prepared(tmp_path, files="images/**/*")

    copies = [row for row in table(out / "index.csv") if Path(row["source"]).name == "pug_1.jpg"]
    assert [row["source"] for row in copies] == ["source/images/more/pug_1.jpg", "source/images/pug_1.jpg"]
    assert {row["path"] for row in copies} == {copies[0]["path"]}


def signed(image: Image.Image) -> Image.Image:
    """Write a name in half-transparent white across the lower part, as agencies mark what they sell."""
    font = ImageFont.load_default(20)
    ImageDraw.Draw(image, "RGBA").text((20, 140), "(c) photoshop", fill=(255, 255, 255, 160), font=font)
    return image


@pytest.mark.parametrize(
    "change",
    [
        lambda image: content(image, quality=40),
        lambda image: content(image.resize((90, 72)), quality=90),
        lambda image: content(image.point(lambda value: min(255, value + 8)), "PNG"),
        lambda image: content(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), quality=60),
        lambda image: content(signed(image.resize((240, 192)))),
        lambda image: content(ImageEnhance.Brightness(image).enhance(1.8)),
    ],
    ids=["compressed", "resized", "brightened", "mirrored", "signed", "overexposed"],
)
def test_near_duplicates_share_a_group(tmp_path: Path, images: Path, change: Any) -> None:
    (images / "pug_99.jpg").write_bytes(change(pet(2, 1)))

    rows = by_source(prepared(tmp_path))

    assert rows["pug_99.jpg"]["group"] == rows["pug_1.jpg"]["group"]


def test_a_mirrored_copy_shares_its_originals_side(tmp_path: Path, images: Path) -> None:
    for original in sorted(images.iterdir()):
        with Image.open(original) as picture:
            mirrored = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        (images / f"{original.stem}1.jpg").write_bytes(content(mirrored, quality=90))

    split(SplitParams(**SPLIT), prepared=prepared(tmp_path), out=tmp_path / "split")

    sides = {Path(row["source"]).stem: side for side in SIDES for row in table(tmp_path / f"split/{side}.csv")}
    originals = [name for name in sides if f"{name}1" in sides]
    assert len(originals) == 9
    assert [sides[f"{name}1"] for name in originals] == [sides[name] for name in originals]


def test_pictures_that_differ_stay_apart(tmp_path: Path) -> None:
    write_source(tmp_path / "raw/source", num_images=60)

    assert len({row["group"] for row in table(prepared(tmp_path) / "index.csv")}) == 180


def test_where_copies_must_hash_alike_a_mirrored_one_may_have_another_label(tmp_path: Path, images: Path) -> None:
    (images / "beagle_99.jpg").write_bytes(content(pet(2, 1).transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG"))

    assert table(prepared(tmp_path) / "conflicts.csv")[0]["labels"] == "beagle pug"
    assert table(prepared(tmp_path, duplicate_distance=0) / "conflicts.csv") == []


def test_a_picture_under_two_labels_is_a_reported_conflict(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "beagle_99.jpg").write_bytes((images / "pug_1.jpg").read_bytes())

    out = prepared(tmp_path)

    (conflict,) = table(out / "conflicts.csv")
    assert conflict["labels"] == "beagle pug"
    assert set(conflict["sources"].split()) == {"source/images/beagle_99.jpg", "source/images/pug_1.jpg"}
    assert "the same picture under several labels (beagle pug)" in capsys.readouterr().err


def test_many_copies_of_one_picture_are_told_with_what_parts_them(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of a fixed camera, whose pictures may all be one to the perceptual hash."""
    for quality in range(80, 90):
        (images / f"pug_{quality}.jpg").write_bytes(content(pet(2, 1), quality=quality))

    prepared(tmp_path)

    told = (
        "prepare: 10 of 19 images are copies of others, 11 of one picture, lower prepare.duplicate_distance if these do"
    )
    assert told in capsys.readouterr().err


def test_images_of_one_subject_share_a_group_and_are_neither_duplicates_nor_conflicts(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = prepared(tmp_path, group_pattern=r"^images/.+_(\d)\.jpg$")

    rows = table(out / "index.csv")
    pairs = {(row["group"], row["source"][-5:]) for row in rows}
    assert (len(rows), len(pairs), len({group for group, _ in pairs})) == (9, 3, 3)
    summary = json.loads((out / "prepare.json").read_text(encoding="utf-8"))
    assert (summary["num_groups"], summary["num_duplicates"], summary["num_conflicts"]) == (3, 0, 0)
    assert table(out / "conflicts.csv") == []
    assert "prepare: group_pattern fits 9 of 9 images; subjects: 3\n" in capsys.readouterr().err


def test_a_subject_changes_nothing_but_the_group(tmp_path: Path, images: Path) -> None:
    (images / "beagle_99.jpg").write_bytes(content(pet(2, 1), quality=60))
    before = everything(prepared(tmp_path))

    after = everything(prepared(tmp_path, group_pattern="(pug|Bengal)_"))

    assert {name for name in before if after.pop(name) != before[name]} == {"index.csv", "prepare.json"}
    assert after == {}


def test_a_subjects_copies_are_conflicts_still_in_whatever_groups_they_lie(tmp_path: Path, images: Path) -> None:
    (images / "beagle_99.jpg").write_bytes(content(pet(2, 1), quality=60))

    out = prepared(tmp_path, group_pattern="(pug|beagle)_")

    rows = by_source(out)
    assert rows["beagle_99.jpg"]["group"] == rows["beagle_1.jpg"]["group"] != rows["pug_1.jpg"]["group"]
    (conflict,) = table(out / "conflicts.csv")
    assert conflict["labels"] == "beagle pug"


def test_a_subject_whose_bytes_are_elsewhere_too_is_told(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(tmp_path / "raw/arrivals.csv", ["label", "arrived"], [("", "2025-02-01")])
    add_arrival(tmp_path / "raw", 1, "beagle_99.jpg", (images / "pug_1.jpg").read_bytes())

    rows = by_source(prepared(tmp_path, group_pattern="(pug|beagle)_"))

    assert rows["beagle_99.jpg"]["group"] == rows["pug_1.jpg"]["group"]
    told = "prepare: a subject in several groups, for its images have copies elsewhere: beagle\n"
    assert told in capsys.readouterr().err


def test_copies_that_their_subjects_part_are_told(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A smaller copy of a pug belongs to the beagles by its name: one of the two may be a test image."""
    with Image.open(images / "pug_3.jpg") as pug:
        pug.resize((pug.width - 8, pug.height - 8)).save(images / "beagle_98.jpg")

    out = prepared(tmp_path, group_pattern="(pug|beagle)_")

    told = (
        "pictures whose copies belong to several subjects, so that one side may show what another was trained on: 1\n"
    )
    assert told in capsys.readouterr().err
    assert json.loads((out / "prepare.json").read_text(encoding="utf-8"))["num_duplicates"] == 0


def test_balance_and_summary_count_what_is_there(tmp_path: Path, images: Path) -> None:
    (images / "pug_99.jpg").write_bytes((images / "pug_1.jpg").read_bytes())
    (images / "beagle_1.jpg").write_bytes(b"")

    out = prepared(tmp_path)

    balance = {row["label"]: row["images"] for row in table(out / "balance.csv")}
    assert balance == {"beagle": "2", "Bengal": "3", "pug": "4"}
    summary = json.loads((out / "prepare.json").read_text(encoding="utf-8"))
    assert summary == {
        "short_side": 40,
        "filter": "lanczos",
        "num_images": 9,
        "num_rejected": 1,
        "num_groups": 8,
        "num_duplicates": 1,
        "num_conflicts": 0,
        "labels": 3,
    }


def test_more_rejects_than_allowed_stop_the_run_and_keep_the_last_output(tmp_path: Path, images: Path) -> None:
    good = everything(prepared(tmp_path))
    (images / "pug_1.jpg").write_bytes(b"<html>")

    with pytest.raises(DataError, match=r"1 of 9 files .*max_rejected_share 0\.1; .*pug_1\.jpg: not an image"):
        prepared(tmp_path, max_rejected_share=0.1)

    assert everything(tmp_path / "prepared") == good
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prepared", "raw"]


def test_too_many_rejects_name_their_reasons_and_the_first_of_the_commonest(tmp_path: Path, images: Path) -> None:
    for name in ("pug_1.jpg", "pug_2.jpg"):
        (images / name).write_bytes(content(pet(0, 0).resize((9, 12))))
    (images / "Bengal_1.jpg").write_bytes(b"<html>")

    told = r"0\.1; 2 too small, 1 not an image; the first: source/images/pug_1\.jpg: too small: 9x12, prepare\.min_side"
    with pytest.raises(DataError, match=told):
        prepared(tmp_path, max_rejected_share=0.1)


def test_images_that_the_glob_leaves_out_are_told(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "pug_1.jpg").rename(images / "pug_1.JPG")
    (images / "pug_2.jpg").rename(images / "pug_2.heic")
    (images / "notes.txt").touch()
    (images / "Bengal_1.png").touch()  # a mask of Bengal_1.jpg's

    prepared(tmp_path, files="images/*.jpg")

    told = (
        "prepare: 2 with an image's suffix don't fit prepare.files (capitals count), as images/pug_1.JPG: images/*.jpg"
    )
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(("stored", "typed"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_glob_finds_an_accent_in_either_spelling(tmp_path: Path, images: Path, stored: str, typed: str) -> None:
    images.rename(images.with_name(normalize(stored, "Köter")))

    rows = by_source(prepared(tmp_path, files=normalize(typed, "Köter/*.jpg")))

    assert len(rows) == 9


def test_a_glob_finds_files_of_both_spellings_and_each_once(tmp_path: Path) -> None:
    composed, in_two = normalize("NFC", "ö"), normalize("NFD", "ö")
    for number, folder in enumerate((composed, in_two, f"{composed} and {in_two}")):
        (tmp_path / "raw/source" / folder).mkdir(parents=True)
        (tmp_path / "raw/source" / folder / f"pug_{number}.jpg").write_bytes(content(pet(number, number)))

    rows = table(prepared(tmp_path, files=f"*{composed}*/*.jpg") / "index.csv")

    assert sorted(Path(row["source"]).name for row in rows) == ["pug_0.jpg", "pug_1.jpg", "pug_2.jpg"]


@pytest.mark.parametrize(("stored", "typed"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_label_files_name_may_have_its_accent_in_either_spelling(
    tmp_path: Path, images: Path, stored: str, typed: str
) -> None:
    rows = [(f"images/{path.name}", "pet") for path in images.iterdir()]
    write_csv(images / normalize(stored, "Étiquettes.csv"), ["path", "label"], rows)

    out = prepared(tmp_path, labels_from="csv", label_file=normalize(typed, "images/Étiquettes.csv"), files="images/*")

    assert (len(table(out / "index.csv")), len(table(out / "rejects.csv"))) == (9, 0)


def test_labels_of_several_folders_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, folder in enumerate(("other/car", "vehicles/car", "vehicles/bus")):
        (tmp_path / "raw/source" / folder).mkdir(parents=True)
        (tmp_path / "raw/source" / folder / "1.jpg").write_bytes(content(pet(0, number)))

    prepared(tmp_path, labels_from="folder", files="**/*.*")

    assert "prepare: folders of one name are one label: car (other/car, vehicles/car)\n" in capsys.readouterr().err


def test_labels_that_differ_only_by_width_or_case_are_named(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = (
        "Straße",
        "STRASSE",
        "Ａ１",
        "A1",
        "東京 タワー",
        "東京\u3000\u3000タワー",
        "می\u200cخواهم",
        "میخواهم",
        "❤\ufe0f\u200d🔥",
        "❤\u200d🔥",
        "Straßen",
    )
    for number, label in enumerate(labels):
        (images / label).mkdir()
        (images / label / "1.jpg").write_bytes(content(pet(number % 3, number)))

    out = prepared(tmp_path, labels_from="folder", files="images/*/*", species={}, duplicate_distance=0)

    told = "prepare: labels that differ by width, case, blanks, joiners or emoji style alone are not merged: "
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith(told)]
    alike = ["A1 and Ａ１", "STRASSE and Straße", "میخواهم and می\u200cخواهم"]
    assert line == f"{told}{', '.join(alike)} and 2 more"
    assert len({row["label"] for row in table(out / "index.csv")}) == len(labels)


def test_the_pets_labels_are_not_alike() -> None:
    assert list(alike_labels(COATS)) == []


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (b"cats/1.jpg\n", "1 of 1 lines of annotations/trainval.txt and test.txt name no image, the first: cats/1.jpg"),
        (b"pug_1 1 1\npug_77 1 1\npug_78 1\n", "2 of 3 lines of .* name no image, the first: pug_77"),
        ("pug_1\nköter_1\n".encode("cp1252"), r"1 of 2 .*; save as UTF-8 the one with this line: k\\xf6ter_1"),
        ("pug_1\npug_2\n".encode("utf-16"), r".*; save as UTF-8 the one with this line: \\xff\\xfep\\x00u"),
    ],
)
def test_lines_of_the_lists_that_name_no_image_are_counted(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str], lines: bytes, told: str
) -> None:
    (tmp_path / "raw/source/annotations").mkdir()
    (tmp_path / "raw/source/annotations/test.txt").write_bytes(lines)

    prepared(tmp_path)

    assert re.search(f"prepare: {told}", capsys.readouterr().err)


def test_of_lists_that_name_images_alone_nothing_is_told(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "raw/source/annotations").mkdir()
    (tmp_path / "raw/source/annotations/test.txt").write_text("#Image CLASS-ID\nBengal_2 1 1 1\n\npug_1\n")

    prepared(tmp_path)

    assert "annotations" not in capsys.readouterr().err


def test_of_a_picture_under_several_labels_three_files_are_named(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("beagle 9", "beagle_8", "beagle_9", "pug_8", "pug_9"):
        (images / f"{name}_1.jpg").write_bytes((images / "pug_1.jpg").read_bytes())

    prepared(tmp_path)

    said = capsys.readouterr().err
    assert "lower prepare.duplicate_distance if these do differ: source/images/beagle 9_1.jpg, source/" in said
    assert "and 3 more\n" in said


@pytest.mark.parametrize(("highest", "told"), [(4095, True), (65535, False)])
def test_sixteen_bits_of_which_few_are_used_are_told(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str], highest: int, told: bool
) -> None:
    values = np.linspace(0, highest, 40 * 40).reshape(40, 40).astype(np.uint16)
    (images / "pug_99.jpg").write_bytes(content(Image.fromarray(values), "PNG"))

    prepared(tmp_path)

    line = "of 16 bits that use less than an eighth of their range become nearly black, scale them first: 1, as source/"
    assert (line in capsys.readouterr().err) == told


def test_as_many_rejects_as_allowed_do_not_stop_the_run(tmp_path: Path, images: Path) -> None:
    (images / "pug_99.jpg").write_bytes(b"<html>")

    assert len(table(prepared(tmp_path, max_rejected_share=0.1) / "rejects.csv")) == 1


def test_a_source_without_any_usable_image_stops_the_run(tmp_path: Path, images: Path) -> None:
    for path in images.iterdir():
        path.write_bytes(b"")

    with pytest.raises(DataError, match="9 of 9 files can't be used"):
        prepared(tmp_path, max_rejected_share=1.0)


def test_a_glob_that_finds_nothing_is_named(tmp_path: Path, images: Path) -> None:
    with pytest.raises(DataError, match=r"no file fits prepare\.files; .*: photos/\*$"):
        prepared(tmp_path, files="photos/*")


def test_labels_may_come_from_folders(tmp_path: Path) -> None:
    write_source(tmp_path / "drawn", num_images=1)
    source = tmp_path / "raw/source/pets"
    for path in (tmp_path / "drawn/images").iterdir():
        target = source / path.stem.split("_")[0] / "photo.jpg"
        target.parent.mkdir(parents=True)
        path.rename(target)

    out = prepared(tmp_path, labels_from="folder", files="pets/*/*")

    assert {row["label"]: row["source"] for row in table(out / "index.csv")} == {
        label: f"source/pets/{label}/photo.jpg" for label in ("Bengal", "beagle", "pug")
    }


def test_a_file_that_lies_in_no_folder_has_no_label_by_the_folder(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_source(tmp_path / "drawn", num_images=1)
    for path in (tmp_path / "drawn/images").iterdir():
        target = raw / "source" / path.stem.split("_")[0] / "photo.jpg"
        target.parent.mkdir(parents=True)
        path.rename(target)
    (raw / "source/stray.jpg").write_bytes(content(pet(0, 7)))
    add_arrival(raw, 1, "late.jpg", content(pet(0, 8)))
    add_arrival(raw, 1, "pug/late.jpg", content(pet(2, 9)))
    write_csv(raw / "arrivals.csv", ["label", "arrived"], [("", "2026-11-20")])

    out = prepared(tmp_path, labels_from="folder", files="**/*.jpg")

    assert {row["label"] for row in table(out / "index.csv")} == {"Bengal", "beagle", "pug"}
    assert {row["source"]: row["reason"] for row in table(out / "rejects.csv")} == {
        "source/stray.jpg": "no label by the folder",
        "arrivals/00001/late.jpg": "no label by the folder",
    }


@pytest.mark.parametrize("name", ["/etc/labels.csv", "../labels.csv"])
def test_a_label_file_lies_in_the_source(tmp_path: Path, name: str) -> None:
    (tmp_path / "params.yaml").write_text(params_yaml(prepare={"label_file": name}), encoding="utf-8")

    with pytest.raises(ParamsError, match=r"prepare: label_file: .*should be relative to the source, without"):
        section(tmp_path / "params.yaml", "prepare", PrepareParams)


def test_labels_may_come_from_a_csv_file(tmp_path: Path, images: Path) -> None:
    listed = [("images/Bengal_1.jpg", "tiger"), ("images/pug_1.jpg", "dog")]
    write_csv(tmp_path / "raw/source/labels.csv", ["path", "label"], listed)

    out = prepared(tmp_path, labels_from="csv", label_file="labels.csv", max_rejected_share=0.9)

    assert {row["source"]: row["label"] for row in table(out / "index.csv")} == {
        "source/images/Bengal_1.jpg": "tiger",
        "source/images/pug_1.jpg": "dog",
    }
    assert {row["reason"] for row in table(out / "rejects.csv")} == {"no label by the csv"}


def test_the_label_file_itself_is_no_image(tmp_path: Path, images: Path) -> None:
    listed = [(f"images/{path.name}", path.name.split("_")[0]) for path in images.iterdir()]
    write_csv(tmp_path / "raw/source/labels.csv", ["path", "label"], listed)

    out = prepared(tmp_path, files="**/*.*", labels_from="csv", label_file="labels.csv", max_rejected_share=0.0)

    assert len(table(out / "index.csv")) == 9


def test_a_label_file_that_is_not_there_is_named(tmp_path: Path, images: Path) -> None:
    with pytest.raises(ParamsError, match=r"label_file: no such file in the source: labels\.csv"):
        prepared(tmp_path, labels_from="csv", label_file="labels.csv")


def test_a_label_file_without_its_columns_is_told(tmp_path: Path, images: Path) -> None:
    write_csv(tmp_path / "raw/source/labels.csv", ["file", "breed"], [])

    with pytest.raises(DataError, match=r"labels\.csv: expected the columns path and label, found: file, breed"):
        prepared(tmp_path, labels_from="csv", label_file="labels.csv")


JOINED = [
    "می\u200cخواهم",
    "PDF\u200cها",
    "ها\u200cPDF",
    "ශ්\u200dරී",
    "👩🏽\u200d🚀",
    "❤\ufe0f\u200d🔥",
    "東京\u3000タワー",
]


@pytest.mark.parametrize("label", JOINED)
def test_joiners_and_wide_blanks_are_parts_of_a_label_that_the_client_takes_and_shows(
    tmp_path: Path, label: str
) -> None:
    (tmp_path / "raw/source" / label).mkdir(parents=True)
    (tmp_path / "raw/source" / label / "1.jpg").write_bytes(content(pet(0, 0)))

    rows = table(prepared(tmp_path, labels_from="folder", files="*/*", species={}) / "index.csv")

    assert [row["label"] for row in rows] == [label]
    assert labels_in({"format": 1, "labels": [label]}, "labels.json").names == (label,)
    assert escaped(label) == label


STEERING = ["حت\u200eول", "a\u202eb", "a\u2066b", "a\u200bb", "a\ufeffb", "a\u2028b", "a\u00a0b", "soft\u00adhyphen"]
LONE = [
    "ca\u200dt",
    "Kö\u200dter",
    "Ко\u200dт",
    "hổ\u200dổ",
    "\u200cخواهم",
    "خواهم\u200c",
    "می\u200c خواهم",
    "می\u200c\u200cخواهم",
]


@pytest.mark.parametrize("label", STEERING + LONE)
def test_what_cant_be_seen_in_a_label_or_turns_it_round_is_rejected(tmp_path: Path, images: Path, label: str) -> None:
    write_csv(
        tmp_path / "raw/source/labels.csv",
        ["path", "label"],
        [("images/pug_1.jpg", label), ("images/pug_2.jpg", "pug")],
    )

    out = prepared(tmp_path, labels_from="csv", label_file="labels.csv", max_rejected_share=0.9)

    reasons = {row["source"]: row["reason"] for row in table(out / "rejects.csv")}
    assert reasons["source/images/pug_1.jpg"] == f"label is no folder's name: {label!r}"


@pytest.mark.parametrize("label", ["../../evil", "a/b", "..", ".", "a\\b", "bad\nlabel"])
def test_a_label_that_is_no_folder_name_is_rejected(tmp_path: Path, images: Path, label: str) -> None:
    listed = [("images/pug_1.jpg", label), ("images/pug_2.jpg", "pug")]
    write_csv(tmp_path / "raw/source/labels.csv", ["path", "label"], listed)

    out = prepared(tmp_path, labels_from="csv", label_file="labels.csv", max_rejected_share=0.9)

    reasons = {row["source"]: row["reason"] for row in table(out / "rejects.csv")}
    assert reasons["source/images/pug_1.jpg"] == f"label is no folder's name: {label!r}"
    assert not (tmp_path / "evil").exists()


def test_a_name_as_long_as_the_file_system_allows_is_stored(tmp_path: Path, images: Path) -> None:
    name = f"pug_{'1' * 247}.jpg"
    (images / name).write_bytes(content(pet(2, 99)))

    assert name in by_source(prepared(tmp_path))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_a_name_that_is_no_utf_8_is_told_by_its_bytes(tmp_path: Path, images: Path) -> None:
    (images / os.fsdecode(b"b\xe9agle_1.jpg")).write_bytes(content(pet(1, 98)))
    (images / os.fsdecode(b"\xe9_folder")).mkdir()
    (images / os.fsdecode(b"\xe9_folder/beagle_9.jpg")).write_bytes(content(pet(1, 99)))

    out = prepared(tmp_path, files="images/**/*")

    assert table(out / "rejects.csv") == [
        {"source": r"source/images/b\xe9agle_1.jpg", "reason": r"label is no folder's name: 'b\udce9agle'"}
    ]
    assert r"source/images/\xe9_folder/beagle_9.jpg" in {row["source"] for row in table(out / "index.csv")}


def test_the_archives_own_lists_give_the_official_side(tmp_path: Path, images: Path) -> None:
    lists = tmp_path / "raw/source/annotations"
    lists.mkdir()
    (lists / "trainval.txt").write_text("#Image CLASS-ID\nBengal_1 1 1 1\npug_1 3 2 2\n", encoding="utf-8")
    (lists / "test.txt").write_text("Bengal_2 1 1 1\n\n", encoding="utf-8")

    rows = by_source(prepared(tmp_path))

    sides = {name: row["official"] for name, row in rows.items() if row["official"]}
    assert sides == {"Bengal_1.jpg": "trainval", "pug_1.jpg": "trainval", "Bengal_2.jpg": "test"}


def test_arrivals_come_after_the_source_with_their_day_and_label(tmp_path: Path, images: Path) -> None:
    raw = tmp_path / "raw"
    write_csv(
        raw / "arrivals.csv",
        ["address", "sha256", "label", "arrived"],
        [("a.jpg", "0", "pug", "2025-02-01"), ("b.tgz", "0", "", "2025-03-01")],
    )
    add_arrival(raw, 1, "IMG_0001.jpg", content(pet(2, 50)))
    add_arrival(raw, 2, "deep/beagle_7.jpg", content(pet(1, 50)))
    add_arrival(raw, 2, "deep/unnamed.jpg", content(pet(1, 51)))

    out = prepared(tmp_path)

    rows = table(out / "index.csv")
    told = [(row["source"], row["label"], row["arrival"], row["arrived"]) for row in rows[9:]]
    assert told == [
        ("arrivals/00001/IMG_0001.jpg", "pug", "1", "2025-02-01"),
        ("arrivals/00002/deep/beagle_7.jpg", "beagle", "2", "2025-03-01"),
    ]
    assert table(out / "rejects.csv") == [
        {"source": "arrivals/00002/deep/unnamed.jpg", "reason": "no label by the pattern"}
    ]


def test_prepare_names_a_label_that_only_arrivals_have(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By labels_from an archive's own folder names its images: `arrivals` is a new label that nobody has meant."""
    for number, name in enumerate(("pug/1.jpg", "beagle/1.jpg", "Bengal/1.jpg")):
        (tmp_path / "raw/source" / name).parent.mkdir()
        (tmp_path / "raw/source" / name).write_bytes(content(pet(number, 60)))
    rows = [("", "2025-02-01"), ("pug", "2025-02-01"), ("tabby", "2025-02-02"), ("tabby", "2025-02-02")]
    write_csv(tmp_path / "raw/arrivals.csv", ["label", "arrived"], rows)
    names = {1: ("arrivals/1.jpg", "arrivals/2.jpg", "photos/pug/3.jpg"), 2: ("4.jpg",), 3: ("5.jpg",), 4: ("6.jpg",)}
    for row, files in names.items():
        for file in files:
            add_arrival(tmp_path / "raw", row, file, content(pet(row, 70 + len(file) + int(Path(file).stem))))

    prepared(tmp_path, labels_from="folder", files="[pbB]*/*.jpg")

    assert [line for line in capsys.readouterr().err.splitlines() if "arrivals.csv" in line] == [
        "prepare: label arrivals comes from row 1 of arrivals.csv alone (2 images)",
        "prepare: label tabby comes from rows 3, 4 of arrivals.csv alone (2 images)",
    ]


def test_a_later_duplicate_changes_no_older_row(tmp_path: Path, images: Path) -> None:
    before = table(prepared(tmp_path) / "index.csv")
    write_csv(
        tmp_path / "raw/arrivals.csv", ["address", "sha256", "label", "arrived"], [("a", "0", "pug", "2025-02-01")]
    )
    add_arrival(tmp_path / "raw", 1, "again.jpg", content(pet(2, 1), quality=60))

    after = table(prepared(tmp_path) / "index.csv")

    assert after[:9] == before
    assert after[9]["group"] == by_source(tmp_path / "prepared")["pug_1.jpg"]["group"]


def test_what_arrives_joins_its_subject_and_changes_no_older_row(tmp_path: Path, images: Path) -> None:
    pattern = r"(\w+)_\d+\.jpg"
    before = table(prepared(tmp_path, group_pattern=pattern) / "index.csv")
    days = [("", "2025-02-01"), ("pug", "2025-03-01")]
    write_csv(tmp_path / "raw/arrivals.csv", ["label", "arrived"], days)
    add_arrival(tmp_path / "raw", 1, "deep/pug_7.jpg", content(pet(2, 50)))
    add_arrival(tmp_path / "raw", 2, "0f3c.jpg", content(pet(2, 51)))

    after = table(prepared(tmp_path, group_pattern=pattern) / "index.csv")

    assert after[:9] == before
    assert after[9]["group"] == by_source(tmp_path / "prepared")["pug_1.jpg"]["group"]
    assert after[10]["group"] == after[10]["sha256"]


def test_the_same_source_gives_the_same_bytes(tmp_path: Path, images: Path) -> None:
    first = everything(prepared(tmp_path))
    for path in sorted(images.iterdir(), reverse=True):  # another order in the folder
        copied = path.read_bytes()
        path.unlink()
        path.write_bytes(copied)

    assert everything(prepared(tmp_path)) == first


PHOTOS = Path(os.environ.get("PETS_PHOTOS", Path(__file__).parents[3] / "shared/pets"))


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photographs are not on this machine")
def test_the_photographs_odd_files_are_used_or_rejected_for_a_reason(tmp_path: Path) -> None:
    (tmp_path / "raw/source").mkdir(parents=True)
    subprocess.run(["tar", "xzf", PHOTOS / "oxford-iiit-pet-sample.tgz", "-C", tmp_path / "raw/source"], check=True)

    out = prepared(tmp_path, files="**/images/*")

    assert {"Abyssinian_34.jpg", "Abyssinian_5.jpg"} <= set(by_source(out))
    rejects = table(out / "rejects.csv")
    assert {Path(row["source"]).suffix for row in rejects} == {".mat"}
    assert {row["reason"] for row in rejects} == {"no label by the pattern"}
