"""The demo's copy follows the checkout, and loses nothing that flows or a person have put there."""

from pathlib import Path

import pytest

from flows.loop import first_project
from flows.photographs import Photograph
from flows.project_copy import bring_up_to_date
from tests.flows.projects import git
from tests.stages.settings import NO_CORRECTIONS

HEADER = "address,sha256,label,arrived\n"
ROW = "s3://drop/accepted/aa.jpg,aa,Bombay,2026-11-30\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with an empty list of arrivals and a package `stages/report`."""
    folder = tmp_path / "project"
    (folder / "stages/report").mkdir(parents=True)
    (folder / "data").mkdir()
    git(folder, "init", "--quiet")
    (folder / ".gitignore").write_text("build/\n")
    (folder / "data/arrivals.csv").write_text(HEADER)
    (folder / "stages/report/__init__.py").write_text("OLD = 1\n")
    (folder / "params.yaml").write_text("download: {}\nprepare: {}\ningest: {}\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def test_a_file_takes_the_place_of_a_folder(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    bring_up_to_date(copy, project)
    (project / "stages/report/__init__.py").unlink()
    (project / "stages/report").rmdir()
    (project / "stages/report").write_text("a file by now\n")

    bring_up_to_date(copy, project)

    assert (copy / "stages/report").read_text() == "a file by now\n"


def test_what_the_checkout_has_no_more_is_taken_away_and_what_others_made_stays(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    bring_up_to_date(copy, project)
    (copy / "dvc.lock").write_text("stages: {}\n")
    (project / "stages/report/__init__.py").unlink()
    (project / "stages/report.py").write_text("NEW = 1\n")

    bring_up_to_date(copy, project)

    found = sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file())
    assert found == [".gitignore", "build/copied", "data/arrivals.csv", "dvc.lock", "params.yaml", "stages/report.py"]


def test_arrivals_that_ingest_has_listed_in_the_copy_outlive_the_next_demo(project: Path, tmp_path: Path) -> None:
    listed = tmp_path / "copy/data/arrivals.csv"
    bring_up_to_date(tmp_path / "copy", project)
    listed.write_text(HEADER + ROW)
    (project / "data/arrivals.csv").write_text(HEADER + "photos/new.tgz,bb,,2026-11-20\n")

    kept = [bring_up_to_date(tmp_path / "copy", project) for _ in range(2)]

    assert kept == [1, 1]
    assert listed.read_text() == HEADER + "photos/new.tgz,bb,,2026-11-20\n" + ROW


def test_arrivals_that_the_checkout_lists_too_are_nobodys_alone(project: Path, tmp_path: Path) -> None:
    (project / "data/arrivals.csv").write_text(HEADER + ROW)

    kept = [bring_up_to_date(tmp_path / "copy", project) for _ in range(2)]

    assert kept == [0, 0]
    assert (tmp_path / "copy/data/arrivals.csv").read_text() == HEADER + ROW


def test_corrections_of_the_copy_outlive_the_next_demo_unless_the_checkout_says_otherwise(
    project: Path, tmp_path: Path
) -> None:
    (project / "data/corrections.csv").write_text(NO_CORRECTIONS)
    bring_up_to_date(tmp_path / "copy", project)
    listed = tmp_path / "copy/data/corrections.csv"
    listed.write_text(NO_CORRECTIONS + "aa,,pug,,,,0,\nbb,,pug,,,,0,\n")
    (project / "data/corrections.csv").write_text(NO_CORRECTIONS + "bb,Bengal,pug,,,,0,\n")

    bring_up_to_date(tmp_path / "copy", project)

    assert listed.read_text() == NO_CORRECTIONS + "bb,Bengal,pug,,,,0,\naa,,pug,,,,0,\n"


def test_the_loop_begins_without_arrivals_for_it_deals_all_images_itself(project: Path, tmp_path: Path) -> None:
    (project / "data/arrivals.csv").write_text(HEADER + ROW)
    (project / "data/corrections.csv").write_text(NO_CORRECTIONS + "bb,Bengal,pug,,,,0,\n")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "1 image arrived")
    (tmp_path / "pug.jpg").write_bytes(b"a picture")
    (tmp_path / "loop").mkdir()

    remote = first_project(project, tmp_path / "loop", [Photograph(tmp_path / "pug.jpg", "pug")], 1)

    assert f"{git(remote, 'show', 'main:data/arrivals.csv')}\n" == HEADER
    assert f"{git(remote, 'show', 'main:data/corrections.csv')}\n" == NO_CORRECTIONS
