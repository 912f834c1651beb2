"""New images are judged by prepare's own rules, in their order, against what is known."""

import csv
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import ImageOps

from stages.addresses import names_image
from stages.errors import DataError
from stages.outputs import write_csv
from stages.prepare import PrepareParams, prepare
from stages.screen import screen
from tests.pictures import also_a_tar, content, pet, unusable, write_source
from tests.stages.settings import NO_CORRECTIONS, PREPARE

Judge = Callable[..., dict[str, dict[str, str]]]
ODD = unusable(pet(0, 0))


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """Return a function that screens files, given as `label/name` and bytes, and gives the verdicts by that key."""

    def judged(
        files: dict[str, bytes],
        *,
        index: str = "sha256,phash,label,source\n",
        listed: str = "",
        labels: str = "",
        pattern: str = PREPARE["label_pattern"],
        corrected: str = "",
    ) -> dict[str, dict[str, str]]:
        rows = []
        for number, (key, data) in enumerate(files.items()):
            (tmp_path / str(number)).write_bytes(data)
            rows.append((str(number), key.rpartition("/")[2], key.rpartition("/")[0]))
        write_csv(tmp_path / "files.csv", ["file", "name", "label"], rows)
        texts = {"index.csv": index, "arrivals.csv": f"address,sha256,label,arrived\n{listed}", "labels.txt": labels}
        texts["corrections.csv"] = NO_CORRECTIONS + corrected
        for name, text in texts.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        paths = {name: tmp_path / f"{name}.csv" for name in ("files", "index", "arrivals", "corrections", "out")}
        params = PREPARE | {"labels_from": "folder", "label_pattern": pattern}
        screen(PrepareParams(**params), **paths, labels=tmp_path / "labels.txt")
        with paths["out"].open(encoding="utf-8", newline="") as file:
            return dict(zip(files, csv.DictReader(file), strict=True))

    return judged


@pytest.fixture
def index(tmp_path: Path) -> str:
    """The index of nine prepared pictures."""
    write_source(tmp_path / "raw/source", num_images=3)
    prepare(PrepareParams(**PREPARE), raw=tmp_path / "raw", out=tmp_path / "prepared")
    return (tmp_path / "prepared/index.csv").read_text(encoding="utf-8")


def test_what_is_let_through_has_a_label_hashes_and_a_suffix_by_its_bytes(judge: Judge) -> None:
    data = content(pet(0, 1), "PNG")

    verdict = judge({"Bengal/tom.jpg": data})["Bengal/tom.jpg"]

    assert (verdict["verdict"], verdict["reason"], verdict["label"], verdict["suffix"]) == ("good", "", "Bengal", "png")
    assert verdict["sha256"] == hashlib.sha256(data).hexdigest()
    assert len(verdict["phash"]) == 64


@pytest.mark.parametrize("odd", sorted(ODD))
def test_what_prepare_would_reject_is_bad_for_the_same_reason(judge: Judge, odd: str) -> None:
    verdict = judge({"Bengal/tom.jpg": ODD[odd][0]})["Bengal/tom.jpg"]

    assert (verdict["verdict"], verdict["reason"]) == ("bad", ODD[odd][1])


def test_a_photograph_that_is_an_archive_too_is_bad(judge: Judge) -> None:
    data = also_a_tar(content(pet(0, 1)), {"hidden.jpg": content(pet(0, 2))})

    found = judge({"Bengal/tom.jpg": data, "Bengal/other.jpg": content(pet(0, 1))})

    assert [(one["verdict"], one["reason"]) for one in found.values()] == [("bad", "also an archive"), ("good", "")]


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_what_is_let_through_has_an_address_that_download_takes_for_an_images(judge: Judge, kind: str) -> None:
    verdict = judge({"Bengal/tom": content(pet(0, 1), kind)})["Bengal/tom"]

    assert verdict["verdict"] == "good"
    assert names_image(f"s3://drop/accepted/{verdict['sha256']}.{verdict['suffix']}")


def test_an_image_of_the_index_is_known_by_its_bytes_and_by_its_picture(judge: Judge, index: str) -> None:
    same, near = content(pet(0, 1), quality=95), content(pet(0, 2).resize((120, 96)), quality=80)

    found = judge({"Bengal/same.jpg": same, "Bengal/near.jpg": near, "Bengal/new.jpg": content(pet(0, 9))}, index=index)

    assert [one["reason"] for one in found.values()] == [
        "the same bytes as source/images/Bengal_1.jpg (Bengal)",
        "a near-duplicate of source/images/Bengal_2.jpg (Bengal)",
        "",
    ]


def mirrored(kind: int, variant: int) -> bytes:
    return content(ImageOps.mirror(pet(kind, variant)), quality=90)


def test_a_mirrored_image_is_a_duplicate_of_a_known_one_and_of_a_new_one(judge: Judge, index: str) -> None:
    files = {"Bengal/a.jpg": mirrored(0, 2), "pug/b.jpg": content(pet(2, 9)), "pug/c.jpg": mirrored(2, 9)}

    found = judge(files, index=index)

    assert [one["reason"] for one in found.values()] == [
        "a near-duplicate of source/images/Bengal_2.jpg (Bengal)",
        "",
        "a near-duplicate of b.jpg (pug)",
    ]


def test_the_mirror_image_of_a_withdrawn_one_is_withdrawn_too(judge: Judge) -> None:
    corrected = f"{'a' * 64},,Bengal,{phash_of(judge, content(pet(0, 2)))},,,0,\n"

    found = judge({"Bengal/a.jpg": mirrored(0, 2), "Bengal/b.jpg": mirrored(0, 3)}, corrected=corrected)

    assert [one["reason"] for one in found.values()] == [
        "withdrawn: a near-duplicate of an image in data/corrections.csv",
        "",
    ]


def test_bytes_that_are_listed_with_the_same_label_are_no_fault(judge: Judge) -> None:
    data = content(pet(0, 1))
    row = f"photos/a.jpg,{hashlib.sha256(data).hexdigest()},Bengal,2026-01-01\n"

    found = judge({"Bengal/a.jpg": data, "pug/a.jpg": data}, listed=row)

    assert [(one["verdict"], one["reason"]) for one in found.values()] == [
        ("listed", "the same bytes as photos/a.jpg (Bengal)"),
        ("bad", "the same bytes as photos/a.jpg (Bengal)"),
    ]


def arrived(index: str, place: str, data: bytes, phash: str) -> str:
    """Return an index with one more image, which came as an arrival."""
    columns = index.splitlines()[0].split(",")
    row = {"sha256": hashlib.sha256(data).hexdigest(), "phash": phash, "label": "Bengal", "source": f"arrivals/{place}"}
    return index + ",".join(row.get(column, "") for column in columns) + "\n"


def phash_of(judge: Judge, data: bytes) -> str:
    return judge({"Bengal/x.jpg": data})["Bengal/x.jpg"]["phash"]


def test_what_was_taken_in_once_and_is_listed_no_more_is_taken_in_again(judge: Judge, index: str) -> None:
    """Git was set back: the newest version knows the image, and no later one would."""
    data = content(pet(0, 70))
    name = f"00001/{hashlib.sha256(data).hexdigest()}.jpg"
    known = arrived(index, name, data, phash_of(judge, data))

    found = judge({"Bengal/a.jpg": data, "Bengal/b.jpg": data}, index=known)

    assert [(one["verdict"], one["reason"]) for one in found.values()] == [
        ("good", ""),
        ("bad", "the same bytes as a.jpg (Bengal)"),
    ]


def test_a_lost_row_is_no_reason_to_part_pictures_that_were_alike_when_they_came(judge: Judge, index: str) -> None:
    data = content(pet(0, 2).resize((120, 96)), quality=80)  # near source/images/Bengal_2.jpg
    known = arrived(index, f"00001/{hashlib.sha256(data).hexdigest()}.jpg", data, phash_of(judge, data))

    assert judge({"Bengal/a.jpg": data}, index=known)["Bengal/a.jpg"]["verdict"] == "good"


def test_an_image_of_which_the_index_says_no_place_is_known(judge: Judge, index: str) -> None:
    data = content(pet(0, 70))
    known = arrived(index, "", data, phash_of(judge, data)).replace(",arrivals/", ",")

    assert judge({"Bengal/a.jpg": data}, index=known)["Bengal/a.jpg"]["reason"] == "the same bytes as  (Bengal)"


@pytest.mark.parametrize("place", ["00001/cats/tom.jpg", "00001/tom.jpg"])
def test_an_image_of_an_archive_that_arrived_is_known_though_no_row_has_its_bytes(
    judge: Judge, index: str, place: str
) -> None:
    data = content(pet(0, 70))
    known = arrived(index, place, data, phash_of(judge, data))

    assert judge({"Bengal/a.jpg": data}, index=known)["Bengal/a.jpg"]["reason"] == (
        f"the same bytes as arrivals/{place} (Bengal)"
    )


def test_what_is_still_listed_is_known_with_its_label(judge: Judge, index: str) -> None:
    data = content(pet(0, 70))
    digest = hashlib.sha256(data).hexdigest()
    known = arrived(index, f"00001/{digest}.jpg", data, phash_of(judge, data))
    row = f"s3://drop/accepted/{digest}.jpg,{digest},Bengal,2026-01-01\n"

    found = judge({"Bengal/a.jpg": data, "pug/a.jpg": data}, index=known, listed=row)

    assert [one["verdict"] for one in found.values()] == ["listed", "bad"]


def test_what_was_taken_in_and_then_withdrawn_stays_refused_without_its_row(judge: Judge, index: str) -> None:
    data = content(pet(0, 70))
    digest, phash = hashlib.sha256(data).hexdigest(), phash_of(judge, data)
    known = arrived(index, f"00001/{digest}.jpg", data, phash)

    found = judge({"Bengal/a.jpg": data}, index=known, corrected=f"{digest},,Bengal,{phash},,,1,2026-01-01\n")

    assert found["Bengal/a.jpg"]["reason"] == "withdrawn: these bytes stand in data/corrections.csv"


def test_without_a_folder_the_pattern_says_the_label(judge: Judge) -> None:
    files = {"pug_7.jpg": content(pet(0, 1)), "holiday.jpg": content(pet(0, 2))}
    reason = "no label: neither a folder nor prepare.label_pattern gives one"

    assert [(one["label"], one["reason"]) for one in judge(files).values()] == [("pug", ""), ("", reason)]
    assert [one["reason"] for one in judge(files, pattern=".*").values()] == [reason, reason]


def test_a_bad_image_does_not_stand_in_a_good_ones_way(judge: Judge) -> None:
    data = content(pet(0, 1))

    found = judge({"sphynx/a.jpg": data, "Bengal/b.jpg": data}, labels="Bengal\npug\n")

    assert [one["reason"] for one in found.values()] == ["unknown label: sphynx", ""]


def test_a_list_without_its_columns_is_named(judge: Judge) -> None:
    with pytest.raises(DataError, match=r"index.csv: expected the columns sha256, phash, label, source"):
        judge({"Bengal/a.jpg": b""}, index="path,label\n")


def test_an_image_of_a_known_subject_is_no_duplicate_of_it(judge: Judge, tmp_path: Path) -> None:
    write_source(tmp_path / "raw/source", num_images=3)
    pattern = PREPARE | {"group_pattern": r"(\w+)_\d+\.jpg$"}
    prepare(PrepareParams(**pattern), raw=tmp_path / "raw", out=tmp_path / "prepared")
    index = (tmp_path / "prepared/index.csv").read_text(encoding="utf-8")
    files = {"pug/pug_8.jpg": content(pet(2, 8)), "pug/pug_9.jpg": content(pet(2, 9)), "pug/a.jpg": content(pet(2, 1))}

    found = judge(files, index=index)

    assert [one["verdict"] for one in found.values()] == ["good", "good", "bad"]
    assert found["pug/a.jpg"]["reason"] == "a near-duplicate of source/images/pug_1.jpg (pug)"


def test_what_was_withdrawn_is_bad_by_its_bytes_and_by_its_picture(judge: Judge, index: str) -> None:
    same, near = content(pet(0, 1), quality=95), content(pet(0, 1).resize((120, 96)), quality=80)
    (row,) = [row for row in csv.DictReader(index.splitlines()) if row["source"] == "source/images/Bengal_1.jpg"]
    corrected = f"{row['sha256']},,Bengal,{row['phash']},,,0,\n"
    listed = f"photos/a.jpg,{row['sha256']},Bengal,2026-01-01\n"
    files = {"Bengal/same.jpg": same, "Bengal/near.jpg": near, "Bengal/new.jpg": content(pet(0, 9))}

    found = judge(files, index=index, listed=listed, corrected=corrected)

    assert [(one["verdict"], one["reason"]) for one in found.values()] == [
        ("bad", "withdrawn: these bytes stand in data/corrections.csv"),
        ("bad", "withdrawn: a near-duplicate of an image in data/corrections.csv"),
        ("good", ""),
    ]


def test_without_its_perceptual_hash_a_withdrawn_image_is_known_by_its_bytes_alone(judge: Judge) -> None:
    same, near = content(pet(0, 1), quality=95), content(pet(0, 1).resize((120, 96)), quality=80)
    corrected = f"{hashlib.sha256(same).hexdigest()},,Bengal,,,,0,\n"

    found = judge({"Bengal/same.jpg": same, "Bengal/near.jpg": near}, corrected=corrected)

    assert [one["verdict"] for one in found.values()] == ["bad", "good"]


def test_an_image_whose_label_was_corrected_is_not_withdrawn(judge: Judge) -> None:
    data = content(pet(0, 1))
    corrected = f"{hashlib.sha256(data).hexdigest()},Bengal,pug,,,,0,\n"

    assert judge({"Bengal/a.jpg": data}, corrected=corrected)["Bengal/a.jpg"]["verdict"] == "good"
