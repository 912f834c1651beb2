"""What a restored git remote, a damaged drop or an emptied DVC remote has lost is named, and comes back."""

import hashlib
import json
import os
import shutil
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from flows.arrivals import Row
from flows.drop import Listing
from flows.errors import RemoteError, RequestError
from flows.losses import losses
from flows.reasons import CHECKOUT_FAILED
from flows.workspace import Workspace
from petmodels.registry import Registry
from tests.flows.ingest.place import Place, in_folder, in_remote
from tests.petmodels.bundles import write_files
from tests.pictures import content, pet

LIST = "data/arrivals.csv"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def publish_with(place: Place, row: dict[str, str], tmp_path: Path) -> Place:
    """Publish a version whose index has one image; return the place with the DVC remote that has that index."""
    remote, lock = tmp_path / "dvc", tmp_path / "dvc.lock"
    index = in_remote(remote, f"{','.join(row)}\n{','.join(row.values())}\n".encode())
    folder = in_remote(remote, json.dumps([{"md5": index, "relpath": "index.csv"}]).encode(), ".dir")
    out = f"{{path: data/prepared, hash: md5, md5: {folder}}}"
    lock.write_text(f"{{schema: '2.0', stages: {{prepare: {{cmd: x, outs: [{out}]}}}}}}")
    found = replace(place, settings=replace(place.settings, dvc_remote=str(remote)))
    found.publish(lock)
    return found


def set_back(place: Place) -> None:
    """Restore git of the time before its last commit."""
    in_folder(place.folder / "git", "git", "update-ref", "refs/heads/main", "main~1")


@pytest.mark.slow
def test_photographs_whose_rows_are_lost_with_git_are_named_and_taken_in_again(place: Place, tmp_path: Path) -> None:
    data = place.put("Bengal/a.jpg")
    place.ingest()
    index = {"sha256": sha256(data), "phash": "0" * 64, "label": "Bengal"}
    version = publish_with(place, index | {"source": f"arrivals/00001/{sha256(data)}.jpg"}, tmp_path)
    set_back(version)
    told: list[str] = []

    lost = version.ingest(told.append)
    version.put("Bengal/again.jpg", data)
    taken = version.ingest()

    (line,) = lost.losses.lines()
    assert line.startswith(f"1 accepted image has no row in {LIST}: {sha256(data)[:12]}…; no model learns from them ")
    assert line in told
    assert [(row["file"], row["outcome"]) for row in lost.losses.to_rows()] == [(f"{sha256(data)}.jpg", "no row")]
    assert (taken.sentence, taken.losses.lines()) == ("1 accepted", [])
    assert [(row["sha256"], row["label"]) for row in version.arrivals()] == [(sha256(data), "Bengal")]
    assert list(version.kept()) == [f"accepted/{sha256(data)}.jpg"]


@pytest.mark.slow
def test_an_accepted_image_that_is_lost_is_named_until_it_is_dropped_again(place: Place) -> None:
    data = [place.put(f"Bengal/{number}.jpg", variant=50 + number) for number in range(2)]
    place.ingest()
    (place.folder / f"drop/accepted/{sha256(data[1])}.jpg").unlink()

    lost = place.ingest()
    place.put("Bengal/again.jpg", data[1])
    healed = place.ingest()

    (line,) = lost.losses.lines()
    assert lost.sentence.startswith("nothing waits in ")
    folder = f"{place.settings.drop}/accepted"
    assert line.startswith(f"1 row has no image: {sha256(data[1])[:12]}…, in {folder}; a machine that must fetch ")
    assert [(row["label"], row["outcome"]) for row in lost.losses.to_rows()] == [("Bengal", "no image")]
    assert (healed.sentence, healed.losses.lines()) == ("1 already there", [])


@pytest.mark.slow
def test_what_was_withdrawn_needs_neither_a_row_nor_an_image(place: Place) -> None:
    data = [place.put(f"Bengal/{number}.jpg", variant=50 + number) for number in range(2)]
    place.ingest()
    for one in data:
        place.list_row(f"{sha256(one)},,Bengal,,,,1,2026-01-01", "corrections")
    (place.folder / f"drop/accepted/{sha256(data[0])}.jpg").unlink()
    without_second = {LIST: lambda text: "".join(line for line in text.splitlines(True) if sha256(data[1]) not in line)}
    place.replace_files(without_second, without="data/.gitignore")

    lost = place.ingest().losses

    assert [row["sha256"] for row in place.arrivals()] == [sha256(data[0])]
    assert lost.lines() == []


@pytest.mark.slow
def test_an_image_that_was_accepted_just_now_may_wait_for_its_row(place: Place) -> None:
    data = content(pet(0, 50))
    place.put(f"accepted/{sha256(data)}.jpg", data)
    place.change_params(min_age_seconds=60.0)

    young = place.ingest()
    then = time.time() - 61
    os.utime(place.folder / f"drop/accepted/{sha256(data)}.jpg", (then, then))
    old = place.ingest()

    assert (len(young.losses.lines()), len(old.losses.lines())) == (0, 1)


@pytest.mark.slow
def test_rows_of_other_places_and_files_of_other_names_are_nobodys_loss(place: Place) -> None:
    digest = "0" * 64
    place.list_row(f"s3://old/drop/accepted/{digest}.jpg,{digest},pug,2026-01-01")
    place.list_row(f"https://example.org/x.jpg,{'1' * 64},pug,2026-01-01")
    place.put("accepted/notes.txt", b"of people")

    assert place.ingest().losses.lines() == []


@pytest.mark.slow
def test_a_list_that_people_wrote_is_read_as_the_stages_read_it(project: Path, place: Place) -> None:
    data, digest = content(pet(0, 50)), "ab" * 32
    place.put(f"accepted/{sha256(data)}.jpg", data)
    place.put(f"accepted/{digest}.tar.gz", b"an archive")
    place.list_row(f"{place.settings.drop}/accepted/{sha256(data)}.jpg, {sha256(data)} , Bengal, 2026-01-01")
    place.list_row(f"{place.settings.drop}/accepted/{digest}.tar.gz,{digest},Bengal,2026-01-01")
    place.publish(project / "dvc.lock")

    taken = place.ingest()

    assert (taken.losses.lines(), taken.num_since) == ([], 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["arrivals", "corrections"])
@pytest.mark.parametrize("row", ["caf\udce9", "x" * 200_000])
def test_a_list_that_is_no_csv_file_is_named(place: Place, name: str, row: str) -> None:
    place.list_row(row, name)

    with pytest.raises(RequestError, match=rf"^data/{name}\.csv: the branch's list is no CSV file in UTF-8: "):
        place.ingest()


@pytest.mark.slow
def test_where_the_accepted_images_cannot_be_listed_none_is_said_to_be_lost(place: Place) -> None:
    place.put("Bengal/a.jpg")
    place.ingest()
    (place.folder / "drop/accepted").rename(place.folder / "elsewhere")
    (place.folder / "drop/accepted").symlink_to(place.folder / "elsewhere")

    taken = place.ingest()

    assert (taken.sentence, taken.losses.lines()) == ("1 left", [])


def test_of_many_losses_three_are_named_and_all_are_counted() -> None:
    names = frozenset(f"{number:064x}.jpg" for number in range(5))

    found = losses("drop", Listing([], names, frozenset()), before=[], after={}, healed=set(), gone=set())

    (line,) = found.lines()
    assert line.startswith(
        f"5 accepted images have no row in {LIST}: 000000000000…, 000000000000…, 000000000000… and 2 "
    )
    assert len(found.to_rows()) == 5


def test_of_a_drop_that_was_lost_the_table_has_the_first_200_of_each_kind() -> None:
    names = frozenset(f"{number:064x}.jpg" for number in range(250))
    hashes = [f"f{number:063x}" for number in range(250)]
    rows = [Row(f"drop/accepted/{one}.jpg", one, "Bengal", "2026-01-01") for one in hashes]

    found = losses("drop", Listing([], names, frozenset()), before=rows, after={}, healed=set(), gone=set())

    assert (len(found.unlisted), len(found.missing)) == (250, 250)
    assert Counter(row["outcome"] for row in found.to_rows()) == {"no row": 200, "no image": 200}


@pytest.mark.slow
def test_in_a_bucket_losses_are_found_too(bucket: Place) -> None:
    data = [bucket.put(f"Bengal/{number}.jpg", variant=50 + number) for number in range(2)]
    bucket.ingest()
    bucket.drop.delete(f"accepted/{sha256(data[0])}.jpg")
    found = bucket.ingest().losses
    set_back(bucket)

    assert [row["file"] for row in found.to_rows()] == [f"{sha256(data[0])}.jpg"]
    assert [row["file"] for row in bucket.ingest().losses.to_rows()] == [f"{sha256(data[1])}.jpg"]


@pytest.mark.slow
def test_of_a_version_whose_commit_git_has_lost_images_are_counted_since_an_older_one(
    project: Path, published: Place
) -> None:
    for number in range(3):
        published.put(f"Bengal/{number}.jpg", variant=50 + number)
    published.ingest()
    published.publish(project / "dvc.lock", "f" * 40)
    told: list[str] = []

    taken = published.ingest(told.append)

    assert (taken.num_since, taken.since) == (3, "since pets@1")
    (line,) = (line for line in told if line.startswith("git has lost the commit that pets@2 was made of, "))
    assert line.endswith(
        "counted since pets@1; push it from a clone that has it, or, if another project publishes to pets, give it a "
        f"model of its own: {'f' * 40}"
    )


@pytest.mark.slow
def test_a_version_that_names_no_commit_is_none_to_count_since(project: Path, place: Place) -> None:
    for number in range(3):
        place.list_row(f"s3://photos/{number}.jpg,{number:064x},Bengal,2026-01-01")
    by_hand = Registry(place.settings.registry, cache=place.folder / "cache")
    by_hand.publish(write_files(place.folder / "by hand", {"a": b"by hand"}), "pets")
    place.publish(project / "dvc.lock", "f" * 40)

    taken = place.ingest()

    assert (taken.num_since, taken.since) == (0, "in this run (git has lost the commit of pets@2)")


@pytest.mark.slow
def test_where_git_has_no_versions_commit_old_rows_call_for_no_retraining(project: Path, place: Place) -> None:
    for number in range(3):
        place.list_row(f"s3://photos/{number}.jpg,{number:064x},Bengal,2026-01-01")
    place.publish(project / "dvc.lock", "f" * 40)
    place.put("Bengal/new.jpg")
    counts: list[tuple[int, int]] = []

    taken = place.ingest(announce=lambda *numbers: counts.append(numbers))

    assert (counts, taken.num_since) == ([(0, 1)], 1)
    assert taken.since == "in this run (git has lost the commit of pets@1)"


@pytest.mark.slow
def test_a_lost_dvc_remote_is_one_sentence_that_says_what_makes_the_data_again(
    project: Path, published: Place, tmp_path: Path
) -> None:
    remote = tmp_path / "dvc"
    shutil.copytree(project / "dvc", remote)
    (remote / "files").rename(tmp_path / "lost")
    place = replace(published, settings=replace(published.settings, dvc_remote=str(remote)))
    data, (commit,) = place.put("Bengal/a.jpg"), place.commits()
    command = f"prefect deployment run retrain/weekly --param model=pets --param revision={commit} --param force=true"

    with pytest.raises(
        RemoteError, match=f"^the DVC remote has lost the images of pets@1, .* is mounted; {command} makes them: "
    ):
        place.ingest()

    assert place.kept() == {"Bengal/a.jpg": data}
    shutil.copytree(tmp_path / "lost", remote / "files", dirs_exist_ok=True)
    assert place.ingest().sentence == "1 accepted"


@pytest.mark.slow
def test_a_disk_that_is_full_is_no_remote_that_has_lost_something(
    published: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = f"dvc pull: {CHECKOUT_FAILED}: data/prepared; the disk has 3.0 MB left"

    def full(_space: Workspace, *_commands: str) -> list[str]:
        raise RemoteError(said)

    monkeypatch.setattr(Workspace, "dvc", full)
    published.put("Bengal/a.jpg")

    with pytest.raises(RemoteError, match=f"^{said}$"):
        published.ingest()
