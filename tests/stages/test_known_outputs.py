"""What a network has said of an image is looked up, equals what it would say, and is never believed when broken."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stages import kept_rows, known_outputs
from stages.features import BATCH_SIZE, MIN_COMPILED, Preprocessing, frozen, output_batches, outputs
from stages.known_outputs import KnownOutputs
from tests.pictures import pet

HOW = Preprocessing(32, [0.5, 0.4, 0.3], [0.2, 0.3, 0.4])
CPU = torch.device("cpu")


def network(seed: int = 0, stride: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 8, 3, stride), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)]
    return nn.Sequential(*layers).eval()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{number}.png" for number in range(MIN_COMPILED + 6)]
    for number, path in enumerate(paths):
        pet(number, number).save(path)
    return paths


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "features"


def known(folder: Path, body: nn.Module | None = None, num_images: int = MIN_COMPILED) -> KnownOutputs:
    return KnownOutputs(body or network(), HOW, CPU, num_images=num_images, folder=folder)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The images that a network has really looked at."""
    seen: list[Path] = []

    def watched(function: Any, paths: list[Path], *rest: Any) -> Iterator[object]:
        for place, rows in enumerate(output_batches(function, paths, *rest)):
            seen.extend(paths[place * BATCH_SIZE :][:BATCH_SIZE])
            yield rows

    monkeypatch.setattr(known_outputs, "output_batches", watched)
    return seen


def file_in(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def test_what_is_known_is_not_computed_again(folder: Path, images: list[Path], asked: list[Path]) -> None:
    first = known(folder).of(images[:-1])
    second = known(folder).of(images[::-1])

    assert asked == images
    assert np.array_equal(second[:0:-1], first)


def test_what_is_looked_up_equals_what_is_computed_whatever_its_neighbours_were(
    folder: Path, images: list[Path]
) -> None:
    known(folder).of(images[3:40:2])

    computed = outputs(frozen(network(), 32, CPU, num_images=MIN_COMPILED), images, HOW, CPU)

    assert np.array_equal(known(folder).of(images), computed)


def test_one_look_serves_two_files_with_the_same_bytes(folder: Path, images: list[Path], asked: list[Path]) -> None:
    twin = folder.with_name("twin.png")
    twin.write_bytes(images[0].read_bytes())

    rows = known(folder).of([images[0], twin])

    assert len(asked) == 1
    assert np.array_equal(rows[0], rows[1])


def test_a_mirror_image_is_another_one(folder: Path, images: list[Path]) -> None:
    rows = [known(folder).of(images[:2], in_mirror=in_mirror) for in_mirror in (False, True)]

    assert not np.array_equal(*rows)


@pytest.mark.parametrize("other", ["weights", "layers", "size", "code"])
def test_another_network_size_or_code_is_asked_anew(
    folder: Path, images: list[Path], asked: list[Path], other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(folder).of(images[:1])
    if other == "code":
        monkeypatch.setattr(known_outputs, "_CODE", ("images",))
    body = {"weights": network(1), "layers": network(stride=2)}.get(other, network())
    how = HOW._replace(image_size=24) if other == "size" else HOW

    KnownOutputs(body, how, CPU, num_images=MIN_COMPILED, folder=folder).of(images[:1])

    assert len(asked) == 2


def test_a_network_in_training_says_what_its_weights_are_now(folder: Path, images: list[Path]) -> None:
    body = network()
    before = known(folder, body).of(images[:1])
    with torch.no_grad():
        body[0].weight.add_(1)  # type: ignore[operator]

    assert not np.array_equal(known(folder, body).of(images[:1]), before)


class Counting(nn.Module):
    def forward(self, batch: Tensor) -> Tensor:
        return batch * int(batch.shape[0])


@pytest.mark.parametrize(("body", "num_images"), [(None, MIN_COMPILED - 1), (Counting().eval(), MIN_COMPILED)])
def test_where_neighbours_could_tell_nothing_is_kept(
    folder: Path, images: list[Path], body: nn.Module | None, num_images: int
) -> None:
    rows = known(folder, body, num_images).of(images)

    assert len(rows) == len(images)
    assert not list(folder.rglob("*"))


def test_a_killed_pass_goes_on_where_it_was(
    folder: Path, images: list[Path], asked: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: Any = known_outputs.output_batches

    def dying(*arguments: Any) -> Iterator[object]:
        yield next(whole(*arguments))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(known_outputs, "output_batches", dying)
        with pytest.raises(KeyboardInterrupt):
            known(folder).of(images)
    known(folder).of(images)

    assert asked == images
    assert len(images) > BATCH_SIZE


def test_a_row_with_a_turned_bit_is_computed_anew(folder: Path, images: list[Path], asked: list[Path]) -> None:
    rows = known(folder).of(images[:2])
    with closing(sqlite3.connect(file_in(folder))) as connection, connection:
        connection.execute(
            "UPDATE outputs SET row = zeroblob(length(row)) WHERE name = (SELECT min(name) FROM outputs)"
        )

    assert np.array_equal(known(folder).of(images[:2]), rows)
    assert len(asked) == 3


def test_a_broken_file_costs_time_and_a_line(
    folder: Path, images: list[Path], asked: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = known(folder).of(images[:2])
    file_in(folder).write_bytes(b"no database at all, and longer than its header would be")

    assert np.array_equal(known(folder).of(images[:2]), rows)
    assert len(asked) == 4
    assert capsys.readouterr().err.startswith("known outputs can't be read, file is not a database; computed anew: ")
    known(folder).of(images[:2])
    assert len(asked) == 4


def test_where_nothing_can_be_kept_it_is_computed_all_the_same(
    folder: Path, images: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write_text("in the way")

    assert len(known(folder).of(images[:2])) == 2
    assert "known outputs can't be kept, File exists: " in capsys.readouterr().err


def test_where_nothing_can_be_kept_is_told_once(
    folder: Path, images: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write_text("in the way")
    known(folder).of(images)
    assert len(images) > BATCH_SIZE
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_row_that_belongs_to_another_image_is_not_believed(
    folder: Path, images: list[Path], asked: list[Path]
) -> None:
    rows = known(folder).of(images[:2])
    with closing(sqlite3.connect(file_in(folder))) as connection, connection:
        (one, crc, row), (two, other_crc, other_row) = connection.execute("SELECT * FROM outputs").fetchall()
        swapped = [(one, other_crc, other_row), (two, crc, row)]
        connection.executemany("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?)", swapped)

    assert np.array_equal(known(folder).of(images[:2]), rows)
    assert len(asked) == 4


def test_the_files_that_were_used_last_stay(folder: Path, images: list[Path], asked: list[Path]) -> None:
    for seed in range(kept_rows.MOST_FILES):
        known(folder, network(seed)).of(images[:1])
        _age(folder)
    known(folder, network(0)).of(images[:1])
    known(folder, network(100)).of(images[:1])
    asked.clear()

    known(folder, network(0)).of(images[:1])

    assert len(list(folder.iterdir())) == kept_rows.MOST_FILES
    assert asked == []
    known(folder, network(1)).of(images[:1])
    assert len(asked) == 1


def test_a_file_that_is_too_large_begins_anew(
    folder: Path, images: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = known(folder).of(images)
    monkeypatch.setattr(kept_rows, "MOST_BYTES", file_in(folder).stat().st_size - 1)

    assert np.array_equal(known(folder).of(images[:2]), rows[:2])
    assert "known outputs begin anew at " in capsys.readouterr().err
    assert _num_rows(file_in(folder)) == 2


def test_a_bug_of_ours_costs_no_file(folder: Path, images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    known(folder).of(images[:1])
    monkeypatch.setattr(known_outputs, "_name", lambda *_: ("no text",))

    with pytest.raises((sqlite3.InterfaceError, sqlite3.ProgrammingError)):
        known(folder).of(images[:1])
    assert _num_rows(file_in(folder)) == 1


def _age(folder: Path) -> None:
    """Let ten seconds pass for the files."""
    for path in folder.iterdir():
        before = path.stat().st_mtime
        os.utime(path, (before - 10, before - 10))


def _num_rows(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT count(*) FROM outputs").fetchone()[0])
