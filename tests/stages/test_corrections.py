"""An image is withdrawn, or its label corrected, by a row of a list, and nothing else moves."""

import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import album
from stages.as_dealt import as_dealt
from stages.candidates import Candidate
from stages.correct import correct
from stages.corrected import corrected, write_corrected
from stages.corrections import Correction, ghosts, read_corrections, withdrawn
from stages.errors import DataError
from stages.index import Image, grouped, write_index
from stages.outputs import write_csv
from stages.prepare import PrepareParams, prepare
from stages.sides import Row, by_time, official, stable
from stages.split import SplitParams, split
from tests.pictures import content, pet, write_source
from tests.stages.settings import NO_CORRECTIONS, PREPARE, SPLIT, params_yaml

ROOT = Path(__file__).parents[2]
SHA256 = hashlib.sha256(b"a photograph").hexdigest()
PHASH = "0f" * 32
ROW = f"{SHA256},,pug,{PHASH},,,3,2026-11-20\n"
GROUPS = r"_of_(\w+)\.jpg$"


def listed(folder: Path, *rows: str) -> Path:
    path = folder / "corrections.csv"
    path.write_text(NO_CORRECTIONS + "".join(rows), encoding="utf-8")
    return path


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# The list.


def test_rows_are_read_in_their_order(tmp_path: Path) -> None:
    path = listed(tmp_path, ROW, f"{SHA256[::-1]},Bengal,pug,, tom,test,0,\n")

    assert read_corrections(path) == [
        Correction(sha256=SHA256, label="", dealt_as="pug", phash=PHASH, subject="", official="", arrival=3,
                   arrived="2026-11-20"),
        Correction(sha256=SHA256[::-1], label="Bengal", dealt_as="pug", phash="", subject=" tom", official="test",
                   arrival=0, arrived=""),
    ]  # fmt: skip


def test_labels_are_read_in_the_one_way_to_spell_them(tmp_path: Path) -> None:
    path = listed(tmp_path, f"{SHA256},Ce\u0301zanne, Me\u0301lusine,,,,0,\n")

    assert [(one.label, one.dealt_as) for one in read_corrections(path)] == [("C\u00e9zanne", "M\u00e9lusine")]


MALFORMED = {
    "line 1: expected sha256,label,.*, found: $": "",
    "line 2: expected 8 cells, found: 2": NO_CORRECTIONS + "a,b\n",
    "line 2: sha256 must be 64 hex digits in small letters: 'abc'": NO_CORRECTIONS + ROW.replace(SHA256, "abc"),
    "line 2: label must be able to name a folder.*: 'a/b'": NO_CORRECTIONS + ROW.replace(",,pug", ",a/b,pug"),
    r"line 2: label must be able to name a folder.*: 'p{201}'": NO_CORRECTIONS
    + ROW.replace(",,pug", f",{'p' * 201},pug"),
    r"line 2: dealt_as must be able to name a folder.*: '\.\.'": NO_CORRECTIONS + ROW.replace("pug", ".."),
    "line 2: dealt_as must be the label that the image had": NO_CORRECTIONS + ROW.replace(",,pug", ",pug,"),
    "line 2: phash must be 64 hex digits.*: '0f'": NO_CORRECTIONS + ROW.replace(PHASH, "0f"),
    "line 2: official must be trainval, test, .*: 'valid'": NO_CORRECTIONS + ROW.replace(",,3", ",valid,3"),
    "line 2: arrival must be 0, or a row's number .*: '-1'": NO_CORRECTIONS + ROW.replace(",3,", ",-1,"),
    "line 2: arrived must be a day as 2025-12-31: ''": NO_CORRECTIONS + ROW.replace("2026-11-20", ""),
    r"line 2: arrived must be .* of the Gregorian calendar, .*: '1405-08-29'": (
        NO_CORRECTIONS + ROW.replace("2026-11-20", "1405-08-29")
    ),
    "line 2: arrived must be empty for .* source: '2026-11-20'": NO_CORRECTIONS + ROW.replace(",3,", ",0,"),
    f"line 3: the rows of one image must agree, but it is withdrawn and Bengal: {SHA256}": (
        NO_CORRECTIONS + ROW + ROW.replace(",,pug", ",Bengal,pug")
    ),
    "not a CSV file in UTF-8": NO_CORRECTIONS + '"never closed\n',
}


@pytest.mark.parametrize("message", MALFORMED)
def test_a_malformed_row_is_refused_by_its_line(tmp_path: Path, message: str) -> None:
    (tmp_path / "corrections.csv").write_text(MALFORMED[message], encoding="utf-8")

    with pytest.raises(DataError, match=rf"corrections\.csv: {message}"):
        read_corrections(tmp_path / "corrections.csv")


def test_the_changelog_gives_the_header_that_a_new_list_of_corrections_needs(tmp_path: Path) -> None:
    command = re.search(
        r"`(echo [^`]+ > (data/corrections\.csv))`", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    )
    assert command
    (tmp_path / "data").mkdir()

    subprocess.run(["sh", "-c", command[1]], cwd=tmp_path, check=True)

    assert read_corrections(tmp_path / command[2]) == []
    assert (tmp_path / command[2]).read_bytes() == (ROOT / command[2]).read_bytes()


@pytest.mark.slow
def test_what_dvc_says_of_a_missing_list_of_corrections_stands_with_the_operators_answers(tmp_path: Path) -> None:
    for name in ("dvc.yaml", "params.yaml", "data/arrivals.csv", "stages"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(ROOT / name)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm"], cwd=tmp_path, check=True, capture_output=True)

    command = [sys.executable, "-m", "dvc", "repro", "download"]
    said = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True).stderr

    told = re.search(r"failed to reproduce 'download': .*", said)
    assert told, said
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8").partition("## What to do when")[2]
    assert f"`{told[0].replace(str(tmp_path), '…')}`" in page


def test_a_missing_list_is_named_with_the_line_to_begin_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"make it with the one line sha256,label,dealt_as,.*: .*/none\.csv"):
        read_corrections(tmp_path / "none.csv")


# What a correction moves: nothing. Pictures are files of a few bytes here; who is whose copy is drawn.


@dataclass(frozen=True)
class World:
    """A folder with files that stand for images, and the perceptual hash of each content."""

    folder: Path
    phashes: Mapping[bytes, str]
    pattern: str | None

    def candidate(self, number: int, data: bytes, label: str, *, subject: str, side: str, arrival: int) -> Candidate:
        path = self.folder / f"{number}_of_{subject}.jpg" if subject else self.folder / f"{number}.jpg"
        path.write_bytes(data)
        day = f"2026-01-{arrival:02d}" if arrival else ""
        top = f"arrivals/{arrival:05d}" if arrival else "source"
        return Candidate(
            file=path, source=f"{top}/{path.name}", label=label, official=side, arrival=arrival, arrived=day
        )

    def dealt(
        self, candidates: list[Candidate], method: Any, seed: int, *, mended: bool = True
    ) -> dict[str, tuple[int, str]]:
        """Index and deal the images as the stages do; return each source's side and group."""
        corrections = read_corrections(self.folder / "corrections.csv") if mended else []
        found = corrected(candidates, corrections, {})
        images = [self._image(one) for one in found.files]
        images.sort(key=lambda image: (image.arrival, image.sha256, image.source))
        together = grouped(images, PREPARE["duplicate_distance"], self.pattern, ghosts(corrections))
        write_index(PrepareParams(**PREPARE), self.folder, together, [])
        write_corrected(self.folder, together, found.dealt_as)
        rows = [
            Row(number, one.label, one.group, one.official, one.arrival, one.arrived)
            for number, one in enumerate(together.images)
        ]
        all_rows, places = as_dealt(rows, self.folder / "corrected.csv")
        sides = method(all_rows, (0.65, 0.15, 0.2), seed)
        return {one.source: (sides[place], one.group) for one, place in zip(together.images, places, strict=True)}

    def correct(self, images: Sequence[str], label: str) -> None:
        if images:
            lists = {"index": self.folder / "index.csv", "corrections": self.folder / "corrections.csv"}
            correct(sorted(images), label, **lists, pattern=self.pattern)

    def _image(self, one: Candidate) -> Image:
        data = one.file.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        return Image(
            path=one.source, label=one.label or "", species="", width=1, height=1, sha256=sha256,
            phash=self.phashes[data], group=sha256, official=one.official, arrival=one.arrival, arrived=one.arrived,
            source=one.source,
        )  # fmt: skip


labels = st.sampled_from(["Bengal", "beagle", "pug"])
# Forty contents, many of them copies of each other; 12 bits apart still are, and such a chain joins who came first.
POOL = [bytes([number]) for number in range(40)]
_BITS = (0, 1, 0xFF, 0xFFF, 0xFFF000, 0xFFFFFF, 1 << 200, 3 << 200)
PHASHES = {one: f"{_BITS[one[0] % 8] << 12 * (one[0] // 8 % 3):064x}" for one in POOL}


def drawn(data: st.DataObject, world: World, first: int, contents: Sequence[bytes], arrival: int) -> list[Candidate]:
    return [
        world.candidate(
            first + place,
            one,
            data.draw(labels),
            subject=data.draw(st.sampled_from(["", "", "tom", "rex", "ida"])),
            side="" if arrival else data.draw(st.sampled_from(["trainval", "test"])),
            arrival=arrival,
        )
        for place, one in enumerate(contents)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("method", [stable, official, by_time])
@settings(max_examples=60)
@given(seed=st.integers(0, 9), pattern=st.sampled_from([None, GROUPS]), data=st.data())
def test_no_correction_moves_or_regroups_another_image_now_or_when_others_come(
    method: Any, seed: int, pattern: str | None, data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder), PHASHES, pattern)
        listed(world.folder)
        old = st.lists(st.sampled_from(POOL[:25]), max_size=10)
        images = [one for arrival in (0, 1, 2) for one in drawn(data, world, 100 * arrival, data.draw(old), arrival)]
        new = data.draw(st.lists(st.sampled_from(POOL[25:-1]), max_size=8))
        hashes = sorted({hashlib.sha256(one.file.read_bytes()).hexdigest() for one in images})
        some = st.sets(st.sampled_from(hashes), max_size=8) if hashes else st.just(set())
        images += drawn(data, world, 400, POOL[-1:], 2)  # one that stays
        before = world.dealt(images, method, seed, mended=False)
        world.correct(data.draw(some), data.draw(labels))
        world.correct(data.draw(some), "")

        after = world.dealt(images, method, seed)
        later = [*images, *drawn(data, world, 300, new, 3)]
        much_later = world.dealt(later, method, seed)

        assert after == {source: side for source, side in before.items() if source in after}
        unmended = world.dealt(later, method, seed, mended=False)
        assert much_later == {source: side for source, side in unmended.items() if source in much_later}
        gone = {one.sha256 for one in withdrawn(read_corrections(world.folder / "corrections.csv"))}
        assert len(after) == sum(hashlib.sha256(one.file.read_bytes()).hexdigest() not in gone for one in images)


# The program, and the stages on real pictures.


@dataclass(frozen=True)
class Project:
    """A source of drawn pets, and what prepare and split leave of it."""

    folder: Path

    def run(self, *, method: str = "stable", **changes: Any) -> dict[str, str]:
        """Prepare and split; return the side of each source."""
        (self.folder / "raw/corrections.csv").write_bytes((self.folder / "corrections.csv").read_bytes())
        prepare(PrepareParams(**(PREPARE | changes)), raw=self.folder / "raw", out=self.folder / "prepared")
        params = SplitParams(**(SPLIT | {"method": method}))
        split(params, prepared=self.folder / "prepared", out=self.folder / "split")
        sides = ("train", "valid", "test")
        return {row["source"]: side for side in sides for row in table(self.folder / f"split/{side}.csv")}

    def correct(self, *images: str, label: str = "", pattern: str | None = None) -> list[str]:
        lists = {"index": self.folder / "prepared/index.csv", "corrections": self.folder / "corrections.csv"}
        return correct(images, label, **lists, pattern=pattern)

    def image(self, name: str) -> dict[str, str]:
        """Return the index's row of an image of the source."""
        (row,) = [row for row in table(self.folder / "prepared/index.csv") if row["source"] == f"source/images/{name}"]
        return row

    def rows(self) -> list[Correction]:
        return read_corrections(self.folder / "corrections.csv")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Twelve drawn pets of three breeds each; a copy of one in another size came later."""
    write_source(tmp_path / "raw/source", num_images=12)
    write_csv(tmp_path / "raw/arrivals.csv", ["label", "arrived"], [("pug", "2026-11-20")])
    (tmp_path / "raw/arrivals/00001").mkdir(parents=True)
    copy = content(pet(2, 1).resize((120, 96)), quality=80)
    (tmp_path / "raw/arrivals/00001/copy.jpg").write_bytes(copy)
    listed(tmp_path)
    return Project(tmp_path)


def test_a_withdrawn_image_stands_nowhere_and_every_other_stays_on_its_side(project: Project) -> None:
    before = project.run()
    sha256 = project.image("pug_1.jpg")["sha256"]
    project.correct("source/images/pug_1.jpg")

    after = project.run()

    assert before.items() - after.items() == {("source/images/pug_1.jpg", before["source/images/pug_1.jpg"])}
    prepared = project.folder / "prepared"
    assert not list(prepared.glob("images/pug/pug_1-*"))
    assert sha256 not in {row["sha256"] for row in table(prepared / "index.csv")}
    assert table(prepared / "rejects.csv") == []
    (copy,) = [row for row in table(prepared / "index.csv") if row["source"] == "arrivals/00001/copy.jpg"]
    assert copy["group"] == sha256  # as before, though nothing else of it is left
    assert [row["change"] for row in table(prepared / "corrected.csv")] == ["withdrawn"]


def test_the_line_of_a_withdrawn_image_in_the_archives_list_is_not_told(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.folder / "raw/source/annotations").mkdir()
    (project.folder / "raw/source/annotations/test.txt").write_text("pug_1\npug_2\n")
    project.run()
    project.correct("source/images/pug_2.jpg")
    (project.folder / "raw/source/images/pug_2.jpg").unlink()  # as download does

    project.run()

    assert "annotations" not in capsys.readouterr().err


def test_a_corrected_label_changes_folder_and_species_and_moves_no_image(project: Project) -> None:
    before = project.run()
    project.correct("source/images/pug_2.jpg", label="Bengal")

    after = project.run()

    assert after == before
    image = project.image("pug_2.jpg")
    assert (image["label"], image["species"], image["path"].split("/")[1]) == ("Bengal", "cat", "Bengal")
    assert [row["label"] for row in table(project.folder / "prepared/corrected.csv")] == ["pug"]


def test_with_nothing_corrected_the_lists_are_headers(project: Project) -> None:
    project.run()

    text = (project.folder / "prepared/corrected.csv").read_text()
    assert text == "row,change,label,group,official,arrival,arrived\n"


def test_a_withdrawal_is_taken_back_by_deleting_its_row(project: Project) -> None:
    before = project.run()
    project.correct("source/images/pug_1.jpg")
    project.run()
    listed(project.folder)

    assert project.run() == before


def test_one_picture_under_two_labels_is_mended_by_a_correction(project: Project) -> None:
    data = (project.folder / "raw/source/images/pug_3.jpg").read_bytes()
    (project.folder / "raw/source/images/Bengal_99.jpg").write_bytes(data)
    before = project.run()
    assert len(table(project.folder / "prepared/conflicts.csv")) == 1

    project.correct(hashlib.sha256(data).hexdigest()[:12], label="pug")

    assert project.run() == before
    assert table(project.folder / "prepared/conflicts.csv") == []
    assert [(one.label, one.dealt_as) for one in project.rows()] == [("pug", "Bengal"), ("pug", "pug")]


def test_a_label_that_is_mended_where_it_comes_from_too_still_moves_nothing(project: Project) -> None:
    before = project.run()
    project.correct("source/images/pug_2.jpg", label="Bengal")
    images = project.folder / "raw/source/images"
    (images / "pug_2.jpg").rename(images / "Bengal_77.jpg")

    after = project.run()

    assert after.pop("source/images/Bengal_77.jpg") == before.pop("source/images/pug_2.jpg")
    assert after == before


@pytest.mark.parametrize("way", ["sha256", "beginning", "path", "prepared file", "source", "file", "raw file"])
def test_an_image_is_named_in_many_ways(project: Project, tmp_path: Path, way: str) -> None:
    project.run()
    image = project.image("pug_2.jpg")
    kept = tmp_path / "kept.jpg"
    kept.write_bytes((project.folder / "raw" / image["source"]).read_bytes())
    ways = {
        "sha256": image["sha256"],
        "beginning": image["sha256"][:8],
        "path": image["path"],
        "prepared file": str(project.folder / "prepared" / image["path"]),
        "source": image["source"],
        "file": str(kept),
        "raw file": str(project.folder / "raw" / image["source"]),
    }

    project.correct(ways[way])

    assert [one.sha256 for one in project.rows()] == [image["sha256"]]


def test_what_the_report_calls_an_image_corrects_it(project: Project) -> None:
    project.run()
    image = project.image("pug_2.jpg")

    project.correct(album.file_name(image), label="Bengal")

    assert [(one.sha256, one.label) for one in project.rows()] == [(image["sha256"], "Bengal")]


def test_of_a_file_name_that_two_images_have_both_are_named_in_a_line(project: Project) -> None:
    other = project.folder / "raw/arrivals/00001/pug_2.jpg"
    other.write_bytes(content(pet(2, 50)))
    project.run()
    images = [row for row in table(project.folder / "prepared/index.csv") if row["source"].endswith("/pug_2.jpg")]

    called = [f"{one['sha256'][:16]} {one['path']}" for one in sorted(images, key=lambda one: one["sha256"])]
    with pytest.raises(DataError, match=f"^2 images are called so, name one by .*: pug_2.jpg: {', '.join(called)}$"):
        project.correct("pug_2.jpg")

    assert project.rows() == []


def test_a_file_of_other_bytes_is_not_the_image_that_has_its_name(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.run()
    (project.folder / "pug_2.jpg").write_bytes(content(pet(2, 50)))
    monkeypatch.chdir(project.folder)

    with pytest.raises(DataError, match=r"no such image in the index; .*: pug_2\.jpg$"):
        project.correct("pug_2.jpg")


@pytest.mark.parametrize(("stored", "typed"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_an_image_and_its_label_may_be_typed_with_an_accent_in_either_spelling(
    project: Project, stored: str, typed: str
) -> None:
    images = project.folder / "raw/source/images"
    (images / "pug_2.jpg").rename(images / normalize(stored, "pug é_2.jpg"))
    project.run(label_pattern=r"^([A-Za-z]+)")
    row = project.image(normalize(stored, "pug é_2.jpg"))

    for name in ("source/images/pug é_2.jpg", row["path"], str(images / "pug é_2.jpg")):
        project.correct(normalize(typed, name), label=normalize(typed, "Köter"))

    assert [(one.sha256, one.label) for one in project.rows()] == [(row["sha256"], normalize("NFC", "Köter"))]


@pytest.mark.parametrize("name", ["source/images/pug_99.jpg", "0123abcd", "abc", "/dev/null", ""])
def test_an_unknown_image_is_refused_and_the_list_stays(project: Project, name: str) -> None:
    project.run()

    with pytest.raises(DataError, match=rf"no such image in the index; .*: {name}$"):
        project.correct("source/images/pug_2.jpg", name)

    assert project.rows() == []


def test_a_copy_that_stays_is_named_with_what_to_do_next(project: Project) -> None:
    project.run()

    copies, next_step = project.correct("source/images/pug_1.jpg")

    assert copies == "of the same group, so perhaps copies, stay as they are: arrivals/00001/copy.jpg (pug)"
    assert next_step == "1 image withdrawn by 1 row; next: dvc repro, and commit the list with dvc.lock"


def test_copies_of_every_image_that_is_named_are_told_and_a_row_is_written_once(project: Project) -> None:
    images = project.folder / "raw/source/images"
    for number in (2, 3):
        (images / f"pug_{number}0.jpg").write_bytes((images / f"pug_{number}.jpg").read_bytes())
        (images / f"pug_{number}1.jpg").write_bytes(content(pet(2, number).resize((120, 96)), quality=80))
    project.run()

    copies, next_step = project.correct("source/images/pug_2.jpg", "source/images/pug_3.jpg")

    assert {name for name in ("pug_21.jpg", "pug_31.jpg") if name in copies} == {"pug_21.jpg", "pug_31.jpg"}
    assert next_step.startswith("2 images withdrawn by 2 rows; ")


@pytest.mark.slow
def test_five_hundred_corrections_cost_little_more_than_one(tmp_path: Path) -> None:
    hashes = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(10_000)]
    columns = ["path", "label", "sha256", "phash", "group", "official", "arrival", "arrived", "source"]
    rows = [
        (f"images/{number}.jpg", "pug", sha256, "", sha256[:12], "", "0", "", f"source/{number}.jpg")
        for number, sha256 in enumerate(hashes)
    ]
    write_csv(tmp_path / "index.csv", columns, rows)

    def seconds(images: Sequence[str]) -> float:
        path, before = listed(tmp_path), time.process_time()
        correct(images, "", index=tmp_path / "index.csv", corrections=path, pattern=None)
        spent = time.process_time() - before
        assert len(read_corrections(path)) == len(images)
        return spent

    beginnings, names = (sha256[:20] for sha256 in hashes[:200]), (f"images/{number}.jpg" for number in range(200, 400))
    files = [tmp_path / str(number) for number in range(400, 500)]
    for file in files:
        file.write_text(file.name)
    many = [*beginnings, *names, *map(str, files)]
    one = min(seconds(hashes[:1]) for _ in range(3))

    assert min(seconds(many) for _ in range(3)) < 5 * one  # a look through the index for each took 20 times as long


def test_a_label_in_the_other_spelling_is_not_told_as_new(project: Project) -> None:
    for path in (project.folder / "raw/source/images").glob("beagle_*.jpg"):
        path.rename(path.with_name(path.name.replace("beagle", normalize("NFC", "Köter"))))
    project.run()

    told = project.correct("source/images/Bengal_1.jpg", label=normalize("NFD", "Köter"))

    assert [line for line in told if "no image has had this label" in line] == []


def test_a_label_that_no_image_has_had_is_told(project: Project) -> None:
    project.run()

    assert project.correct("source/images/pug_2.jpg", label="Pgu")[0].endswith("needs three images: Pgu")


@pytest.mark.parametrize("label", ["a/b", "..", "two\nlines", "p" * 201])
def test_a_label_that_prepare_would_reject_is_refused_for_the_image_would_be_dealt_no_more(
    project: Project, label: str
) -> None:
    project.run()

    with pytest.raises(DataError, match=rf"--label must be able to name a folder: {re.escape(repr(label))}"):
        project.correct("source/images/pug_2.jpg", label=label)

    assert project.rows() == []


def test_correcting_twice_keeps_the_label_that_an_image_is_dealt_as(project: Project) -> None:
    before = project.run()
    project.correct("source/images/pug_2.jpg", label="Bengal")
    project.run()
    project.correct("source/images/pug_2.jpg", label="beagle")
    project.run()
    project.correct(project.rows()[0].sha256)

    after = project.run()

    assert [(one.label, one.dealt_as) for one in project.rows()] == [("", "pug")]
    assert before.items() - after.items() == {("source/images/pug_2.jpg", before["source/images/pug_2.jpg"])}


def test_an_index_from_before_a_correction_was_taken_back_gives_the_label_that_an_image_is_dealt_as(
    project: Project,
) -> None:
    before = project.run()
    project.correct("source/images/pug_2.jpg", label="Bengal")
    project.run()
    listed(project.folder)
    project.correct("source/images/pug_2.jpg")

    after = project.run()

    assert [one.dealt_as for one in project.rows()] == ["pug"]
    assert after.items() <= before.items()


def test_beside_withdrawn_images_the_others_are_dealt_as_what_they_are(project: Project) -> None:
    project.run()
    project.correct(*(f"source/images/pug_{number}.jpg" for number in range(1, 4)))
    project.run()
    others = [row for row in table(project.folder / "prepared/index.csv") if row["label"] != "pug"]
    project.correct(*(row["sha256"] for row in others), label="pug")

    dealt_as = {one.sha256: one.dealt_as for one in project.rows() if one.label}

    assert dealt_as == {row["sha256"]: row["label"] for row in others}


def test_a_row_holds_what_the_groups_pattern_found_and_no_files_name(project: Project) -> None:
    images = project.folder / "raw/source/images"
    (images / "pug_5.jpg").rename(images / "pug_05_of_ann_smith.jpg")
    (images / "pug_6.jpg").rename(images / "pug_06_of_ann_smith.jpg")
    rules = {"group_pattern": r"_of_(\w)\w*", "label_pattern": r"^(.+?)_\d+.*\.jpg$"}
    before = project.run(**rules)
    project.correct("source/images/pug_05_of_ann_smith.jpg", pattern=rules["group_pattern"])

    after = project.run(**rules)

    assert [one.subject for one in project.rows()] == ["a"]
    assert "ann" not in (project.folder / "corrections.csv").read_text()
    assert after.items() <= before.items()


def test_without_its_perceptual_hash_an_image_that_has_no_copies_still_keeps_its_place(project: Project) -> None:
    before = project.run()
    project.correct("source/images/pug_2.jpg")
    rows = [replace(one, phash="") for one in project.rows()]
    text = (project.folder / "corrections.csv").read_text()
    (project.folder / "corrections.csv").write_text(text.replace(project.image("pug_2.jpg")["phash"], ""))

    after = project.run()

    assert project.rows() == rows
    assert after.items() <= before.items()


def test_a_rejected_image_goes_by_a_row_that_deals_nothing(project: Project) -> None:
    odd = project.folder / "raw/source/images/unlabelled.jpg"
    odd.write_bytes(content(pet(0, 70)))
    before = project.run()
    sha256 = hashlib.sha256(odd.read_bytes()).hexdigest()
    odd.with_name("nameless.jpg").write_bytes(content(pet(0, 71)))
    listed(project.folder, f"{sha256},,,,,,0,\n")

    after = project.run()

    assert after == before
    assert [row["source"] for row in table(project.folder / "prepared/rejects.csv")] == ["source/images/nameless.jpg"]
    assert table(project.folder / "prepared/corrected.csv") == []
    with pytest.raises(DataError, match=rf"rejected has no label to correct; delete its row: {sha256}"):
        project.correct(sha256, label="pug")


@pytest.mark.parametrize(
    ("number", "old", "new"),
    [
        (1, "row,change", "row,changed"),
        (2, "\n", "\n37,relabelled,pug,g,,0,\n"),  # 37 images are numbered from 0 on
        (2, "\n", "\n38,withdrawn,pug,g,,0,\n"),
        (2, "\n", "\n1,renamed,pug,g,,0,\n"),
        (2, "\n", "\n1,withdrawn,pug\n"),
    ],
)
def test_a_broken_list_of_what_was_corrected_says_what_to_run(
    project: Project, number: int, old: str, new: str
) -> None:
    project.run()
    listing = project.folder / "prepared/corrected.csv"
    listing.write_text(listing.read_text().replace(old, new))

    with pytest.raises(DataError, match=rf"corrected\.csv: line {number} is broken, run `dvc repro prepare`$"):
        split(SplitParams(**SPLIT), prepared=project.folder / "prepared", out=project.folder / "split")


def test_when_every_image_is_withdrawn_it_is_told(project: Project) -> None:
    project.run()
    project.correct(*(row["sha256"] for row in table(project.folder / "prepared/index.csv")))

    with pytest.raises(DataError, match=r"every image was withdrawn"):
        project.run()


@pytest.mark.slow
def test_the_program_writes_the_list_or_says_in_a_line_why_not(project: Project) -> None:
    project.run()
    (project.folder / "params.yaml").write_text(params_yaml(), encoding="utf-8")
    lists = ["--index", "prepared/index.csv", "--corrections", "corrections.csv"]

    def ended(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "stages.correct", *lists, *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    status, said = ended("--withdraw", "source/images/pug_2.jpg", "source/images/pug_3.jpg")
    unknown, told = ended("--label", "pug", "nobody.jpg")

    assert (status, said.splitlines()[-1].split(";")[0]) == (0, "correct: 2 images withdrawn by 2 rows")
    assert (unknown, len(told.splitlines())) == (1, 1)
    assert told.startswith("correct: no such image in the index; ")
    assert len(project.rows()) == 2


# In a real git and DVC repository.

FILES = ("dvc.yaml", ".dvc/config", ".dvc/.gitignore", ".gitignore", "data/.gitignore")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The project's own pipeline on drawn pets, of which three came later, up to split; all of it committed."""
    folder = tmp_path / "project"
    shutil.copytree(ROOT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    write_source(tmp_path / "source", num_images=14)
    rows = []
    for number in range(3):
        photograph = tmp_path / f"late_{number}.jpg"
        photograph.write_bytes(content(pet(2, 90 + number), quality=95))
        rows.append((photograph, hashlib.sha256(photograph.read_bytes()).hexdigest(), "pug", "2026-11-20"))
    write_csv(folder / "data/arrivals.csv", ["address", "sha256", "label", "arrived"], rows)
    (folder / "data/corrections.csv").write_text(NO_CORRECTIONS)
    (folder / "params.yaml").write_text(params_yaml(download={"source": str(tmp_path / "source")}))
    for command in ("git init --quiet", "dvc repro --quiet split", "git add --all", "git commit --quiet -m first"):
        in_folder(folder, *command.split())
    return folder


def in_folder(folder: Path, *command: str) -> str:
    """Run a program with this interpreter's folder first on the path; return what it prints."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    names = {f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = os.environ | names | {"PATH": path}
    return subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.slow
def test_the_lists_differ_by_exactly_what_was_withdrawn_and_relabelled(repository: Path, tmp_path: Path) -> None:
    def lines() -> set[tuple[str, str]]:
        files = (repository / f"data/split/{side}.csv" for side in ("train", "valid", "test"))
        return {(file.stem, line) for file in files for line in file.read_text().splitlines()[1:]}

    def line_of(name: str) -> tuple[str, str]:
        (found,) = [one for one in before if one[1].endswith(name)]
        return found

    before = lines()
    arrival, original, wrong = map(line_of, ("/late_1.jpg", "/pug_4.jpg", "/Bengal_7.jpg"))
    program = ("python", "-m", "stages.correct")
    in_folder(repository, *program, "--withdraw", str(tmp_path / "late_1.jpg"), "source/images/pug_4.jpg")
    in_folder(repository, *program, "--label", "pug", "data/raw/source/images/Bengal_7.jpg")
    (tmp_path / "late_1.jpg").unlink()

    in_folder(repository, "dvc", "repro", "--quiet", "split")

    after = lines()
    right = (wrong[0], wrong[1].replace("images/Bengal/", "images/pug/").replace(",Bengal,cat,", ",pug,dog,"))
    assert before - after == {arrival, original, wrong}
    assert after - before == {right}
    files = [*repository.glob("data/**/late_*"), *repository.glob("data/**/pug_*")]
    assert not [path for path in files if path.stem.startswith(("late_1", "pug_4"))]
    assert len(files) == 2 * (3 - 1 + 14 - 1)
    changed = in_folder(repository, "git", "diff", "--name-only").splitlines()
    assert changed == ["data/corrections.csv", "dvc.lock"]
