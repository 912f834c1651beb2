"""A label, a species and an official side come from where params.yaml says, or from nowhere."""

import os
import re
from pathlib import Path, PurePosixPath
from unicodedata import normalize

import pytest

from stages.errors import DataError
from stages.labels import label_rule, species_of, subject_of
from stages.official_lists import official_lists

PETS = r"^(.+)_\d+\.jpg$"


def touched(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Maine_Coon_12.jpg", "Maine_Coon"),
        ("pug_1.jpg", "pug"),
        ("pug_1.jpeg", None),
        ("pug.jpg", None),
        ("_1.jpg", None),
    ],
)
def test_a_pattern_reads_the_label_from_the_files_name(tmp_path: Path, name: str, label: str | None) -> None:
    rule = label_rule(tmp_path, "pattern", pattern=PETS, label_file=None)

    assert rule(tmp_path / "images" / name) == label


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("typed", ["NFC", "NFD"])
def test_a_pattern_reads_an_accent_in_either_spelling(tmp_path: Path, stored: str, typed: str) -> None:
    name, pattern = normalize(stored, "Bärenhund_1.jpg"), normalize(typed, r"(Bä\w+)_\d+")

    rule = label_rule(tmp_path, "pattern", pattern=pattern, label_file=None)

    assert rule(tmp_path / name) == normalize("NFC", "Bärenhund")
    assert species_of(normalize("NFC", "Bärenhund"), {"dog": normalize(typed, "ä")}) == "dog"
    assert subject_of(normalize(stored, "source/Bär_1.jpg"), normalize(typed, r"(ä\w)_\d")) == normalize("NFC", "är")


def test_a_name_that_fits_another_alternative_of_the_pattern_has_no_label(tmp_path: Path) -> None:
    rule = label_rule(tmp_path, "pattern", pattern=r"^(cat)|^dog", label_file=None)

    assert [rule(tmp_path / name) for name in ("cat_1.jpg", "dog_1.jpg")] == ["cat", None]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "from a spreadsheet"])
def test_a_label_file_is_read_with_and_without_a_byte_order_mark(tmp_path: Path, mark: bytes) -> None:
    touched(tmp_path / "a/1.jpg")
    (tmp_path / "labels.csv").write_bytes(mark + b"path,label,photographer\r\na/1.jpg,pug,Ann\r\n")

    rule = label_rule(tmp_path, "csv", pattern=PETS, label_file="labels.csv")

    assert rule(tmp_path / "a/1.jpg") == "pug"
    assert rule(tmp_path / "a/2.jpg") is None


@pytest.mark.parametrize(("stored", "listed"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_an_accent_may_be_spelled_either_way(tmp_path: Path, stored: str, listed: str) -> None:
    path, row = normalize(stored, "café/1.jpg"), normalize(listed, "café/1.jpg,épagneul")
    touched(tmp_path / path)
    (tmp_path / "labels.csv").write_text(f"path,label\n{row}\n", encoding="utf-8")

    by_csv = label_rule(tmp_path, "csv", pattern=PETS, label_file="labels.csv")
    by_folder = label_rule(tmp_path, "folder", pattern=PETS, label_file=None)

    assert by_csv(tmp_path / path) == normalize("NFC", "épagneul")
    assert by_folder(tmp_path / path) == normalize("NFC", "café")


def test_a_label_file_says_nothing_about_a_file_outside_the_source(tmp_path: Path) -> None:
    touched(tmp_path / "source/1.jpg")
    (tmp_path / "source/labels.csv").write_text("path,label\n1.jpg,pug\n", encoding="utf-8")

    rule = label_rule(tmp_path / "source", "csv", pattern=PETS, label_file="labels.csv")

    assert rule(tmp_path / "1.jpg") is None


@pytest.mark.parametrize(
    "path",
    [
        " a/1.jpg ",
        "./a/1.jpg",
        r"a\1.jpg",
        "1.jpg",
        "../a/1.jpg",
        "/a/1.jpg",
        "/data/parts/a/1.jpg",
        r"C:\parts\a\1.jpg",
    ],
)
def test_a_label_file_may_say_in_several_ways_where_a_file_is(tmp_path: Path, path: str) -> None:
    touched(tmp_path / "a/1.jpg")
    (tmp_path / "a/labels.csv").write_text(f" path , label\n{path}, pug \n", encoding="utf-8")

    rule = label_rule(tmp_path, "csv", pattern=PETS, label_file="a/labels.csv")

    assert rule(tmp_path / "a/1.jpg") == "pug"


def test_a_label_file_that_names_no_file_says_what_was_looked_for(tmp_path: Path) -> None:
    touched(tmp_path / "images/1.jpg")
    (tmp_path / "labels.csv").write_text("path,label\nphotos/1.jpg,pug\n", encoding="utf-8")

    told = r"labels\.csv: no row names a file of the source; looked for images/1\.jpg, first path: photos/1\.jpg$"
    with pytest.raises(DataError, match=told):
        label_rule(tmp_path, "csv", pattern=PETS, label_file="labels.csv")


def test_two_labels_for_one_file_are_named(tmp_path: Path) -> None:
    touched(tmp_path / "1.jpg")
    (tmp_path / "labels.csv").write_text("path,label\n1.jpg,pug\n./1.jpg,beagle\n", encoding="utf-8")

    with pytest.raises(DataError, match=r"labels\.csv: two labels for one file, pug and beagle: 1\.jpg$"):
        label_rule(tmp_path, "csv", pattern=PETS, label_file="labels.csv")


def test_rows_without_a_file_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touched(tmp_path / "1.jpg")
    (tmp_path / "labels.csv").write_text("path,label\n1.jpg,pug\n2.jpg,pug\n.,pug\n", encoding="utf-8")

    label_rule(tmp_path, "csv", pattern=PETS, label_file="labels.csv")

    assert "prepare: 2 of 3 rows of labels.csv name no file of the source, the first: 2.jpg" in capsys.readouterr().err


HOSTILE = "x\nStage 'train' is cached\r\x1b[2J\u202e"
HARMLESS = r"x\nStage 'train' is cached\r\x1b[2J\u202e"


def test_a_path_that_names_no_file_writes_no_line_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    touched(tmp_path / "1.jpg")
    text = f'path,label\n1.jpg,pug\n"{HOSTILE}",pug\n'
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8", newline="")

    label_rule(tmp_path, "csv", pattern=PETS, label_file="labels.csv")

    told = "prepare: 1 of 2 rows of labels.csv name no file of the source, the first: "
    assert capsys.readouterr().err == f"{told}{HARMLESS}\n"


@pytest.mark.parametrize(
    "rows", [f'"{HOSTILE}",pug\n', f'1.jpg,pug\n1.jpg,"{HOSTILE}"\n'], ids=["no file", "two labels"]
)
def test_no_cell_of_a_label_file_writes_a_line_of_its_own(tmp_path: Path, rows: str) -> None:
    touched(tmp_path / "1.jpg")
    (tmp_path / "labels.csv").write_text(f"path,label\n{rows}", encoding="utf-8", newline="")

    with pytest.raises(DataError, match=re.escape(HARMLESS)) as refused:
        label_rule(tmp_path, "csv", pattern=PETS, label_file="labels.csv")
    assert str(refused.value).isprintable()


def test_a_label_file_that_is_no_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes("path,label\n1.jpg,épagneul\n".encode("latin-1"))

    with pytest.raises(DataError, match=r"not UTF-8, save it as such: labels\.csv"):
        label_rule(tmp_path, "csv", pattern=PETS, label_file="labels.csv")


def test_an_empty_label_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").touch()

    with pytest.raises(DataError, match=r"expected the columns path and label, found: $"):
        label_rule(tmp_path, "csv", pattern=PETS, label_file="labels.csv")


def test_of_a_file_that_is_no_label_file_little_is_told(tmp_path: Path) -> None:
    (tmp_path / "signing.key").write_text("secret-key-9F8E7D6C5B4A392817,b,c,d,e,sixth\n")

    with pytest.raises(DataError, match=r"signing\.key: .* found: secret-key-9F8E7D6C5, b, c, d, e$"):
        label_rule(tmp_path, "csv", pattern=PETS, label_file="signing.key")


def test_species_follow_the_first_pattern_that_fits() -> None:
    species = {"cat": "^[A-Z]", "dog": "^[a-z]"}

    assert [species_of(label, species) for label in ("Bengal", "pug", "7")] == ["cat", "dog", ""]


def test_without_the_archives_lists_there_is_no_official_side(tmp_path: Path) -> None:
    assert official_lists(tmp_path).side_of(PurePosixPath("pug_1.jpg")) == ""


def listed_in(folder: Path, text: bytes) -> Path:
    """Write the archive's list of the test side and return its source."""
    (folder / "annotations").mkdir()
    (folder / "annotations/test.txt").write_bytes(text)
    return folder


def test_a_list_that_is_no_utf_8_names_what_its_bytes_name(tmp_path: Path) -> None:
    lists = official_lists(listed_in(tmp_path, "épagneul_1 1 1 1\npug_1 1 1 1\n".encode("latin-1")))

    raw = os.fsdecode("épagneul_1.jpg".encode("latin-1"))
    assert [lists.side_of(PurePosixPath(name)) for name in ("pug_1.jpg", raw, "épagneul_1.jpg")] == ["test", "test", ""]


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "marked"])
@pytest.mark.parametrize(("stored", "listed"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_listed_image_keeps_its_official_side_whatever_its_spelling_and_the_lists_mark(
    tmp_path: Path, mark: str, stored: str, listed: str
) -> None:
    lists = official_lists(listed_in(tmp_path, f"{mark}{normalize(listed, 'Bär_1')}\r\npug_1\r\n".encode()))

    names = (normalize(stored, "Bär_1.jpg"), "pug_1.jpg")
    assert [lists.side_of(PurePosixPath("images", name)) for name in names] == ["test", "test"]


@pytest.mark.parametrize("blank", ["\u3000", "\u00a0", "\u2028", "\x0b"])
def test_a_name_in_a_list_ends_at_the_columns_blanks_alone(tmp_path: Path, blank: str) -> None:
    lists = official_lists(listed_in(tmp_path, f"東京{blank}2_1 3\t4\n".encode()))

    names = (f"東京{blank}2_1.jpg", "東京.jpg", "2_1.jpg")
    assert [lists.side_of(PurePosixPath(name)) for name in names] == ["test", "", ""]


@pytest.mark.parametrize(
    ("source", "pattern", "subject"),
    [
        ("source/photos/patient_7/a.jpg", r"patient_(\d+)/", "7"),
        ("arrivals/00012/photos/patient_7/b.jpg", r"patient_(\d+)/", "7"),
        ("source/boat/scene3_frame2.png", r"^(.+)_frame\d+", "boat/scene3"),
        ("arrivals/00001/boat/scene3_frame9.png", r"^(.+)_frame\d+", "boat/scene3"),
        ("source/source/7.jpg", r"^(source)/7", "source"),
        ("source/photos/c.jpg", r"patient_(\d+)/", ""),
        ("source/photos/patient_/c.jpg", r"patient_(\d*)/", ""),
        ("source/dog_1.jpg", r"^(cat)|^dog", ""),
        ("source/cat_1.jpg", None, ""),
    ],
)
def test_a_subject_is_read_from_the_path_below_the_source_or_its_arrival(
    source: str, pattern: str | None, subject: str
) -> None:
    assert subject_of(source, pattern) == subject


def test_a_subjects_accent_may_be_spelled_either_way() -> None:
    sources = [normalize(form, "source/café_1.jpg") for form in ("NFC", "NFD")]

    assert [subject_of(source, r"(é)_\d") for source in sources] == ["é", "é"]


@pytest.mark.parametrize("listed", ["ok/6", "ok/6.jpg", "./ok/6.jpg", r"ok\6.jpg", "images/ok/6.jpg", "6 1 1 1"])
def test_the_archives_lists_may_name_an_image_by_its_path_or_its_stem(tmp_path: Path, listed: str) -> None:
    touched(tmp_path / "annotations/test.txt")
    (tmp_path / "annotations/test.txt").write_text(f"{listed}\n", encoding="utf-8")

    assert official_lists(tmp_path).side_of(PurePosixPath("data/images/ok/6.jpg")) == "test"


@pytest.mark.parametrize("end", [" ", "\t", "\u00a0", "\u3000", "\x0c"], ids=ascii)
def test_blanks_before_and_behind_a_lists_line_are_no_part_of_it(tmp_path: Path, end: str) -> None:
    lists = official_lists(listed_in(tmp_path, f"{end}pug_1{end}\npug_2 1 2{end}\n".encode()))

    assert [lists.side_of(PurePosixPath(name)) for name in ("pug_1.jpg", "pug_2.jpg")] == ["test", "test"]


def test_a_number_behind_a_name_may_be_part_of_it(tmp_path: Path) -> None:
    lists = official_lists(listed_in(tmp_path, b"good 7\n"))

    assert [lists.side_of(PurePosixPath(name)) for name in ("good.jpg", "good 7.jpg", "7.jpg")] == ["test", "test", ""]


def test_a_name_of_several_words_is_no_other_images_name(tmp_path: Path) -> None:
    touched(tmp_path / "annotations/test.txt")
    (tmp_path / "annotations/test.txt").write_text("good part 7.jpg\n# pug\n\n", encoding="utf-8")

    lists = official_lists(tmp_path)

    assert [lists.side_of(PurePosixPath(name)) for name in ("x/good.jpg", "x/good part 7.jpg")] == ["", "test"]


def test_images_of_one_name_in_two_folders_have_each_its_side(tmp_path: Path) -> None:
    (listed_in(tmp_path, b"defect/6\nmy class/6\n") / "annotations/trainval.txt").write_text("ok/6\n")
    lists = official_lists(tmp_path)

    paths = ("ok/6.jpg", "defect/6.jpg", "my class/6.jpg", "other/6.jpg")
    assert [lists.side_of(PurePosixPath(path)) for path in paths] == ["trainval", "test", "test", ""]
