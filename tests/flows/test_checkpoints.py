"""Checkpoints travel to a place that every machine reaches, and back."""

import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from flows.checkpoints import FOLDER, LEFT_SECONDS, carried, training_id
from flows.dvc_process import DvcProcess
from flows.errors import RequestError
from flows.pipeline import values_of
from flows.workspace import Workspace


def machine(folder: Path) -> Workspace:
    """Return a workspace without git, on a machine of its own."""
    (folder / FOLDER).mkdir(parents=True)
    return Workspace(folder=folder, commit="", tell=str, handle=0, process=DvcProcess(folder, (), str))


def write(w: Workspace, content: bytes) -> None:
    partial = w.folder / FOLDER / ".partial"
    partial.write_bytes(content)
    partial.replace(w.folder / FOLDER / "a.pt")


def killed(address: str, w: Workspace, *states: bytes) -> None:
    """Train on a machine until something ends it, after these states."""
    with suppress(KeyboardInterrupt), carried(address, "t", w):
        for state in states:
            write(w, state)
            time.sleep(1.3)
        raise KeyboardInterrupt


@pytest.mark.slow
def test_another_machine_goes_on_from_the_last_checkpoint(tmp_path: Path) -> None:
    place, second = str(tmp_path / "remote"), machine(tmp_path / "second")
    killed(place, machine(tmp_path / "first"), b"epoch 1", b"epoch 2")

    with carried(place, "t", second):
        assert (second.folder / FOLDER / "a.pt").read_bytes() == b"epoch 2"


@pytest.mark.slow
def test_only_the_last_checkpoint_is_kept_and_none_after_the_end(tmp_path: Path) -> None:
    place, w = tmp_path / "remote", machine(tmp_path / "first")
    killed(str(place), w, b"epoch 1", b"epoch 2")
    kept = list((place / "t").iterdir())

    with carried(str(place), "t", w):
        pass

    assert len(kept) == 1
    assert list((place / "t").iterdir()) == []


@pytest.mark.slow
def test_what_was_fetched_for_a_training_that_needs_no_going_on_is_left_nowhere(tmp_path: Path) -> None:
    """Another machine has done it meanwhile: the stage comes from the run-cache and removes no checkpoint."""
    place, second = tmp_path / "remote", machine(tmp_path / "second")
    killed(str(place), machine(tmp_path / "first"), b"epoch 1")

    with carried(str(place), "t", second):
        assert (second.folder / FOLDER / "a.pt").exists()

    assert list((second.folder / FOLDER).iterdir()) == []
    assert list((place / "t").iterdir()) == []


@pytest.mark.slow
def test_a_checkpoint_that_could_not_be_sent_is_not_replaced_by_an_older_one(tmp_path: Path) -> None:
    place, w = str(tmp_path / "remote"), machine(tmp_path / "first")
    killed(place, w, b"epoch 1")
    write(w, b"epoch 2")

    with carried(place, "t", w):
        assert (w.folder / FOLDER / "a.pt").read_bytes() == b"epoch 2"


@pytest.mark.slow
def test_what_another_training_left_in_a_machines_folder_hides_no_checkpoint(tmp_path: Path) -> None:
    place, second, third = str(tmp_path / "remote"), machine(tmp_path / "second"), machine(tmp_path / "third")
    killed(place, machine(tmp_path / "first"), b"epoch 1")
    (second.folder / FOLDER / "of-another.pt").write_bytes(b"another training's")
    with suppress(KeyboardInterrupt), carried(place, "t", second):
        raise KeyboardInterrupt

    with carried(place, "t", third):
        assert (third.folder / FOLDER / "a.pt").read_bytes() == b"epoch 1"


@pytest.mark.slow
def test_what_another_training_left_in_a_machines_folder_is_not_sent(tmp_path: Path) -> None:
    place, w = tmp_path / "remote", machine(tmp_path / "first")
    (w.folder / FOLDER / "of-another.pt").write_bytes(b"another training's")

    killed(str(place), w, b"epoch 1")

    assert [path.name.partition(".")[0] for path in (place / "t").iterdir()] == ["a"]
    assert (w.folder / FOLDER / "of-another.pt").exists()


def test_what_a_training_left_that_was_killed_long_ago_is_removed(tmp_path: Path) -> None:
    w = machine(tmp_path / "first")
    old = w.folder / FOLDER / "of-another.pt"
    old.write_bytes(b"another training's")
    os.utime(old, (time.time() - LEFT_SECONDS - 1,) * 2)

    (w.folder / FOLDER / "a-folder").mkdir()
    os.utime(w.folder / FOLDER / "a-folder", (0, 0))

    with carried(str(tmp_path / "remote"), "t", w):
        assert not old.exists()


@pytest.mark.slow
def test_a_checkpoint_that_could_not_be_sent_is_sent_by_the_next_run(tmp_path: Path) -> None:
    place, w = tmp_path / "remote", machine(tmp_path / "first")
    killed(str(place), w, b"epoch 1")
    write(w, b"epoch 2")

    with suppress(KeyboardInterrupt), carried(str(place), "t", w):
        raise KeyboardInterrupt

    (kept,) = (place / "t").iterdir()
    assert kept.read_bytes() == b"epoch 2"


@pytest.mark.slow
def test_a_damaged_checkpoint_is_not_used(tmp_path: Path) -> None:
    place, second = tmp_path / "remote", machine(tmp_path / "second")
    killed(str(place), machine(tmp_path / "first"), b"epoch 1")
    next((place / "t").iterdir()).write_bytes(b"epoch 9")

    with carried(str(place), "t", second):
        assert list((second.folder / FOLDER).iterdir()) == []


def test_a_fetched_checkpoint_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut one without bytes would pass for newer than the one that lies at the place, and replace it."""
    place, second, seen = str(tmp_path / "remote"), machine(tmp_path / "second"), dict[int, list[str]]()
    killed(place, machine(tmp_path / "first"), b"epoch 1")
    folder = second.folder / FOLDER

    def flush(descriptor: int) -> None:
        seen[os.fstat(descriptor).st_ino] = [path.name for path in folder.glob("[!.]*")]

    monkeypatch.setattr(os, "fsync", flush)

    with carried(place, "t", second):
        assert seen[(folder / "a.pt").stat().st_ino] == []


def test_a_training_has_one_name_on_every_machine_and_another_for_another_training() -> None:
    params = "train: {epochs: 4, learning_rate: 0.01, metrics: [accuracy]}\n"
    same = "# by hand\ntrain:\n  learning_rate: &rate 1.0e-2\n  epochs: 4  # few\n  metrics: [accuracy]\ngate: {}\n"
    settings, again = (values_of(text, "params.yaml")["train"] for text in (params, same))

    assert training_id(settings, "b") == training_id(again, "b")
    assert training_id(settings, "b", "") != training_id(settings, "", "b")
    assert training_id(settings, "b") != training_id(settings | {"epochs": 5}, "b")


def test_a_key_that_is_no_text_is_a_sentence() -> None:
    with pytest.raises(RequestError, match=r"params\.yaml: train: a key is no text; put it in quotes"):
        training_id({"epochs": 4, 1: 2}, "b")


@pytest.mark.slow
def test_a_place_that_fails_costs_no_training(tmp_path: Path) -> None:
    place, told = tmp_path / "a file", list[str]()
    place.touch()
    w = replace(machine(tmp_path / "first"), tell=told.append)

    with carried(str(place), "t", w):
        write(w, b"epoch 1")
        time.sleep(1.3)

    assert any("could not be sent" in line for line in told)
