"""Kill an ingest after each of its changes; run two at once: what is dropped ends as after one undisturbed run."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.flows.ingest.crash_runner import ANNOUNCED
from tests.flows.ingest.place import Place
from tests.pictures import content, pet

pytestmark = pytest.mark.slow


def start() -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.flows.ingest.crash_runner"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def send(process: "subprocess.Popen[str]", place: Place, kill: int = 0, workspaces: str = "work") -> None:
    assert process.stdin
    settings = {name: str(value) for name, value in vars(place.settings).items()}
    settings["workspaces"] = str(place.folder / workspaces)
    process.stdin.write(json.dumps({"folder": str(place.folder), "settings": settings, "kill": kill}) + "\n")
    process.stdin.flush()


def answer(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def filled(project: Path, folder: Path) -> Place:
    """Return a place in whose drop lie two good images and, as another file, the first one's picture."""
    folder.mkdir()
    place = Place.made(project, folder)
    image = pet(0, 50)
    place.put("Bengal/a.jpg", content(image, quality=95))
    place.put("Bengal/b.jpg", content(image, quality=60))
    place.put("beagle/c.jpg", variant=51)
    return place


def state(place: Place) -> tuple[list[tuple[str, str]], dict[str, bytes]]:
    rows = [(row["sha256"], row["label"]) for row in place.arrivals()]
    assert len(set(rows)) == len(rows)
    return sorted(rows), place.kept()


def announced(place: Place) -> list[str]:
    """Return how many images each call for a retraining spoke of."""
    file = place.folder / ANNOUNCED
    return file.read_text().split() if file.exists() else []


def test_a_kill_after_any_change_loses_nothing_and_adds_nothing_twice(project: Path, tmp_path: Path) -> None:
    with start() as process:
        undisturbed = filled(project, tmp_path / "undisturbed")
        everything = set(undisturbed.kept().values())
        send(process, undisturbed)
        assert answer(process)["status"] == 0
        expected = state(undisturbed)
        assert len(expected[0]) == 2
        assert everything <= set(expected[1].values())

        num_points = 0
        while True:
            place = filled(project, tmp_path / f"killed-{num_points + 1}")
            send(process, place, kill=num_points + 1)
            if answer(process)["status"] == 0:
                break
            num_points += 1
            assert everything <= set(place.kept().values())
            send(process, place)
            assert answer(process)["status"] == 0
            assert state(place) == expected
            assert announced(place)[-1:] == ["2"], f"killed at {num_points}, nobody was told of the images"
        assert process.stdin
        process.stdin.close()
    print(f"killed at {num_points} points")
    assert num_points >= 9


def test_two_at_once_add_nothing_twice_and_lose_nothing(project: Path, tmp_path: Path) -> None:
    place = filled(project, tmp_path / "shared")
    everything = set(place.kept().values())

    two_at_once(place)

    rows, kept = state(place)
    assert sorted(label for _, label in rows) == ["Bengal", "beagle"]
    assert everything <= set(kept.values())
    assert {key.partition("/")[0] for key in kept} == {"accepted", "quarantine"}


def test_two_at_once_at_a_bucket_add_nothing_twice_and_lose_nothing(bucket: Place) -> None:
    everything = {hashlib.sha256(bucket.put(f"Bengal/{number}.jpg", variant=50 + number)).hexdigest()
                  for number in range(6)}  # fmt: skip

    two_at_once(bucket)

    hashes = [row["sha256"] for row in bucket.arrivals()]
    kept = [stored.key for stored in bucket.drop.list("")]
    assert sorted(hashes) == sorted(everything)
    assert sorted(kept) == sorted(f"accepted/{sha256}.jpg" for sha256 in everything)
    assert announced(bucket)[-1:] == ["6"]


def two_at_once(place: Place) -> None:
    """Have two machines take in what lies in the drop."""
    with start() as one, start() as other:
        for number, process in enumerate((one, other)):
            send(process, place, workspaces=f"machine-{number}")
        assert [answer(process)["status"] for process in (one, other)] == [0, 0]
        for process in (one, other):
            assert process.stdin
            process.stdin.close()
