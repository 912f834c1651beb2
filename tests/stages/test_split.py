"""What the split promises: every image has one side, keeps it, and shares it with its duplicates."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.duplicates import joined
from stages.errors import DataError
from stages.outputs import write_csv
from stages.sides import TEST, TRAIN, VALID, Row, by_time, official, stable
from stages.split import SplitParams, split
from tests.stages.settings import SPLIT

SHARES = (0.65, 0.15, 0.2)
COLUMNS = ("path", "label", "group", "official", "arrival", "arrived")
labels = st.sampled_from(["Bengal", "beagle", "pug"])


def row(number: int, label: str, group: str | None = None, *, side: str = "", arrival: int = 0, day: str = "") -> Row:
    """Return a row; without `group` it is a group of its own."""
    return Row(number, label, group or f"{label} {number}", side, arrival, day)


def many(label: str, count: int, **options: Any) -> list[Row]:
    return [row(number, label, **options) for number in range(count)]


@st.composite
def deliveries(draw: st.DrawFn, *, groups: int = 40) -> list[list[Row]]:
    """Draw a source and up to three later arrivals, in which pictures and labels repeat."""
    sizes = draw(st.lists(st.integers(0, 30), min_size=2, max_size=4))
    batches, number = [], 0
    for arrival, size in enumerate(sizes):
        batch = []
        for _ in range(size):
            group = str(draw(st.integers(0, groups)))
            side = draw(st.sampled_from(["trainval", "test"])) if arrival == 0 else ""
            batch.append(row(number, draw(labels), group, side=side, arrival=arrival, day=f"2025-01-{arrival + 1:02d}"))
            number += 1
        batches.append(batch)
    return batches


@pytest.mark.slow
@pytest.mark.parametrize("method", [stable, official])
@given(batches=deliveries(), seed=st.integers(0, 9))
def test_later_arrivals_move_no_old_image(method: Any, batches: list[list[Row]], seed: int) -> None:
    rows: list[Row] = []
    sides: list[int] = []
    for batch in batches:
        rows += batch
        after = method(rows, SHARES, seed)
        assert after[: len(sides)] == sides
        sides = after


@pytest.mark.slow
@pytest.mark.parametrize("method", [stable, official, by_time])
@given(batches=deliveries(groups=8), seed=st.integers(0, 9))
def test_no_duplicate_group_straddles_sides(method: Any, batches: list[list[Row]], seed: int) -> None:
    rows = [row for batch in batches for row in batch]

    sides = method(rows, SHARES, seed)

    side_of_group: dict[str, int] = {}
    assert all(side_of_group.setdefault(row.group, side) == side for row, side in zip(rows, sides, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("method", [stable, official])
@given(batches=deliveries(), seed=st.integers(0, 9), data=st.data())
def test_later_arrivals_of_old_and_new_subjects_move_no_old_image(
    method: Any, batches: list[list[Row]], seed: int, data: st.DataObject
) -> None:
    subjects = st.sampled_from(["", "1", "2", "3", "4"])
    images: list[tuple[str, str, str]] = []
    rows: list[Row] = []
    before: list[tuple[str, int]] = []
    for batch in batches:
        images += [(row.group, row.group, data.draw(subjects)) for row in batch]
        rows += batch
        groups = joined(images)
        grouped = [replace(row, group=group) for row, group in zip(rows, groups, strict=True)]
        after = list(zip(groups, method(grouped, SHARES, seed), strict=True))
        assert after[: len(before)] == before
        assert len(set(after)) == len(set(groups))
        before = after


@pytest.mark.slow
@pytest.mark.parametrize("method", [stable, official])
@given(batches=deliveries(), seed=st.integers(0, 9), data=st.data())
def test_the_order_of_the_rows_says_nothing(
    method: Any, batches: list[list[Row]], seed: int, data: st.DataObject
) -> None:
    """A group's label follows its first row, so only whole groups of one label may change places."""
    rows = [replace(row, group=f"{row.label} {row.group}") for batch in batches for row in batch]
    order = data.draw(st.permutations(range(len(rows))))
    shuffled = [replace(rows[old], number=new) for new, old in enumerate(order)]

    sides, other = method(rows, SHARES, seed), method(shuffled, SHARES, seed)

    assert [other[new] for new, _ in enumerate(order)] == [sides[old] for old in order]


@given(count=st.integers(3, 12), valid=st.floats(0.05, 0.5), test=st.floats(0.05, 0.45))
def test_time_leaves_no_side_empty_where_three_pictures_are(count: int, valid: float, test: float) -> None:
    assert set(by_time(many("pug", count), (1 - valid - test, valid, test), 42)) == {TRAIN, VALID, TEST}


@given(counts=st.lists(st.integers(3, 60), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_every_label_is_on_every_side_near_its_share(counts: list[int], seed: int) -> None:
    names = [f"breed {kind}" for kind, count in enumerate(counts) for _ in range(count)]
    rows = [row(number, name) for number, name in enumerate(names)]

    sides = stable(rows, SHARES, seed)

    for kind, count in enumerate(counts):
        found = Counter(side for one, side in zip(rows, sides, strict=True) if one.label == f"breed {kind}")
        for side, share in enumerate(SHARES):
            assert found[side] >= 1
            assert abs(found[side] - share * count) <= 1.5


@given(valid=st.floats(0.01, 0.5), test=st.floats(0.01, 0.45), count=st.integers(30, 300))
def test_any_shares_are_met_to_two_images(valid: float, test: float, count: int) -> None:
    shares = (1 - valid - test, valid, test)

    found = Counter(stable(many("pug", count), shares, 1))

    assert all(abs(found[side] - share * count) <= 2 for side, share in enumerate(shares))


def test_another_seed_deals_another_split() -> None:
    assert stable(many("pug", 50), SHARES, 1) != stable(many("pug", 50), SHARES, 2)


def test_official_leaves_the_archives_test_side_as_it_is() -> None:
    rows = [row(n, "pug", side="test" if n % 2 else "trainval") for n in range(40)]

    sides = official(rows, SHARES, 42)

    assert [side == TEST for side in sides] == [one.official == "test" for one in rows]
    assert Counter(sides)[VALID] == pytest.approx(20 * 0.15 / 0.8, abs=1)


def test_official_takes_a_train_images_duplicate_in_the_test_list_to_the_test_side() -> None:
    rows = [*many("pug", 9, side="trainval"), row(9, "pug", "pug 3", side="test")]

    sides = official(rows, SHARES, 42)

    assert [number for number, side in enumerate(sides) if side == TEST] == [3, 9]


def test_official_deals_later_arrivals_between_train_and_valid() -> None:
    rows = [*many("pug", 9, side="test"), *(row(n, "pug", arrival=1) for n in range(9, 30))]

    sides = official(rows, SHARES, 42)

    assert TEST not in sides[9:]
    assert {TRAIN, VALID} <= set(sides[9:])


def test_time_tests_on_the_newest_and_validates_on_those_before() -> None:
    rows = [row(n, "pug", arrival=n, day=f"2025-01-{n + 1:02d}") for n in range(10)]

    sides = by_time(rows, (0.5, 0.2, 0.3), 42)

    assert sides == [TRAIN] * 5 + [VALID] * 2 + [TEST] * 3


def test_time_counts_a_picture_as_old_as_its_first_copy() -> None:
    rows = [row(n, "pug", arrival=n, day=f"2025-01-{n + 1:02d}") for n in range(9)]
    rows.append(row(9, "pug", "pug 0", arrival=9, day="2025-02-01"))

    assert by_time(rows, (0.4, 0.3, 0.3), 42)[9] == TRAIN


# The stage: an index.csv in, three files and the counts out.


@dataclass(frozen=True, kw_only=True)
class Folders:
    prepared: Path
    out: Path

    def split(self, rows: Sequence[Row], **changes: Any) -> dict[str, list[str]]:
        """Run the stage on an index of `rows`; return the paths of each side."""
        cells = [
            (f"images/{one.number}.jpg", one.label, one.group, one.official, one.arrival, one.arrived) for one in rows
        ]
        write_csv(self.prepared / "index.csv", COLUMNS, cells)
        split(SplitParams(**(SPLIT | changes)), prepared=self.prepared, out=self.out)
        return {side: [line["path"] for line in self.table(side)] for side in ("train", "valid", "test")}

    def table(self, side: str) -> list[dict[str, str]]:
        with (self.out / f"{side}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    (tmp_path / "prepared").mkdir()
    return Folders(prepared=tmp_path / "prepared", out=tmp_path / "split")


def test_the_stage_deals_each_row_once_with_all_its_columns(folders: Folders) -> None:
    sides = folders.split(many('a, "quoted" breed', 20))

    assert sorted(path for paths in sides.values() for path in paths) == sorted(f"images/{n}.jpg" for n in range(20))
    assert folders.table("test")[0].keys() == set(COLUMNS)
    assert folders.table("test")[0]["label"] == 'a, "quoted" breed'


def test_the_stage_counts_what_it_dealt(folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    folders.split(many("pug", 20))

    about = json.loads((folders.out / "split.json").read_text(encoding="utf-8"))
    assert about == {"method": "stable", "seed": 42, "train": 10, "valid": 5, "test": 5}
    assert "split: 10 train, 5 valid, 5 test" in capsys.readouterr().err


def test_an_added_image_appears_in_the_lists_and_changes_no_other_line(folders: Folders) -> None:
    before = folders.split(many("pug", 20))
    after = folders.split([*many("pug", 20), *(row(n, "pug", arrival=1) for n in range(20, 30))])

    for side, paths in before.items():
        assert [path for path in after[side] if path in paths] == paths


def test_the_archives_lists_are_kept_by_the_stage(folders: Folders) -> None:
    rows = [row(n, "pug", side="test" if n < 5 else "trainval") for n in range(20)]

    sides = folders.split(rows, method="official")

    assert sides["test"] == [f"images/{n}.jpg" for n in range(5)]


def test_time_is_one_of_the_stages_methods(folders: Folders) -> None:
    rows = [row(n, "pug", arrival=n, day=f"2025-01-{n + 1:02d}") for n in range(8)]

    assert folders.split(rows, method="time")["test"] == ["images/6.jpg", "images/7.jpg"]


@pytest.mark.parametrize("count", [1, 2])
def test_a_label_with_too_few_pictures_is_named(folders: Folders, count: int) -> None:
    rows = [*many("Bengal", 9), *(row(9 + n, "pug") for n in range(count))]

    with pytest.raises(DataError, match=rf"so 3 at least; .*: pug \(images: {count}, groups: {count}\)"):
        folders.split(rows)


def test_copies_of_one_picture_do_not_make_a_label_large_enough(folders: Folders) -> None:
    rows = [*many("Bengal", 9), *(row(9 + n, "pug", "the same") for n in range(7))]

    with pytest.raises(DataError, match=r"pug \(images: 7, groups: 1\)"):
        folders.split(rows)


def test_of_many_labels_with_too_few_pictures_ten_are_named(folders: Folders) -> None:
    rows = [row(n, f"breed {n:02d}") for n in range(12)]

    with pytest.raises(DataError, match=r": breed 00 \(images: 1, .*, breed 09 [^,]*, groups: 1\) and 2 labels more$"):
        folders.split(rows)


@pytest.mark.parametrize("method", ["stable", "time"])
def test_patients_with_images_of_two_labels_are_dealt_whole(folders: Folders, method: str) -> None:
    rows = [row(n, "healthy" if n % 3 else "ill", f"patient {n // 6}") for n in range(180)]

    sides = folders.split(rows, method=method)

    patients = [{line["group"] for line in folders.table(side)} for side in sides]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 30
    assert all({line["label"] for line in folders.table(side)} == {"healthy", "ill"} for side in sides)
    assert [len(some) for some in patients] == pytest.approx([15, 7.5, 7.5], abs=1)


def test_many_images_of_two_patients_are_too_few_for_three_sides(folders: Folders) -> None:
    rows = [*many("Bengal", 9), *(row(9 + n, "pug", f"patient {n % 2}") for n in range(20))]

    with pytest.raises(DataError, match=r"pug \(images: 20, groups: 2\)$"):
        folders.split(rows)


def test_an_empty_index_is_told(folders: Folders) -> None:
    with pytest.raises(DataError, match=r"index\.csv: no images"):
        folders.split([])


def test_a_label_that_the_official_lists_leave_out_of_the_test_is_named(folders: Folders) -> None:
    rows = [*many("Bengal", 9, side="trainval"), row(9, "pug", side="test")]
    rows += [row(10 + n, "pug", side="trainval") for n in range(4)]

    with pytest.raises(DataError, match=r"a label is missing from the test side, .*: Bengal$"):
        folders.split(rows, method="official")


def test_official_needs_the_archives_lists(folders: Folders) -> None:
    told = r"split\.method is official, but no image stands in .*trainval\.txt or test\.txt; use stable, or, where "
    with pytest.raises(DataError, match=told):
        folders.split(many("pug", 9), method="official")


def test_an_index_without_its_columns_says_what_to_run(folders: Folders) -> None:
    (folders.prepared / "index.csv").write_text("path,label,group\n", encoding="utf-8")

    with pytest.raises(DataError, match=r"index\.csv: columns are missing, run `dvc repro prepare`: arrival, arrived"):
        split(SplitParams(**SPLIT), prepared=folders.prepared, out=folders.out)


@pytest.mark.parametrize("line", ["x.jpg,pug", "x.jpg,pug,g,,first,", ",,,,"])
def test_an_index_with_a_broken_line_says_which_and_what_to_run(folders: Folders, line: str) -> None:
    text = f"path,label,group,official,arrival,arrived\n{line}\n"
    (folders.prepared / "index.csv").write_text(text, encoding="utf-8")

    with pytest.raises(DataError, match=r"index\.csv: line 2 is broken, run `dvc repro prepare`$"):
        split(SplitParams(**SPLIT), prepared=folders.prepared, out=folders.out)


def test_a_failed_split_keeps_the_last_good_one(folders: Folders) -> None:
    folders.split(many("pug", 20))
    good = {path.name: path.read_bytes() for path in folders.out.iterdir()}

    with pytest.raises(DataError, match=r"pug \(images: 2, groups: 2\)"):
        folders.split(many("pug", 2))

    assert {path.name: path.read_bytes() for path in folders.out.iterdir()} == good


def test_the_same_index_gives_the_same_bytes(folders: Folders) -> None:
    folders.split(many("pug", 20))
    first = {path.name: path.read_bytes() for path in folders.out.iterdir()}
    folders.split(many("pug", 20))

    assert {path.name: path.read_bytes() for path in folders.out.iterdir()} == first


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (stable, "rrvvvrrrreeerrerrrrrrrrveerrevvrrrrrrrre"),
        (official, "errrrevrrrerrrverrrverrvrerrrvvrrrrrrrrr"),
        (by_time, "rvrrrrrrrrrrrrrrvrrrrrrrrrrreeeevvveevee"),
    ],
)
def test_another_release_deals_as_this_one_does(method: Any, expected: str) -> None:
    """The sides of images that are out in the world, on which models were judged, stay what they are."""
    rows = [
        row(number, label, f"{label} {number // 2}", side="test" if number % 5 == 0 else "trainval", day="2025-01-01")
        for number, label in enumerate(["Bengal", "pug"] * 14)
    ]
    rows += [
        replace(one, number=28 + one.number, group=f"{one.group}, later", arrival=1, arrived="2025-02-01")
        for one in rows[:12]
    ]

    assert "".join("rve"[side] for side in method(rows, SHARES, 42)) == expected
