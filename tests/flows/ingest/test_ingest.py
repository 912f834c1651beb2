"""What is dropped is taken in or put aside with a reason, once, and is never lost."""

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unicodedata import normalize

import boto3
import pytest
import yaml
from PIL import Image, ImageOps

from flows.arrivals import hashes_at, num_since
from flows.drop import Drop
from flows.dvc_process import DvcProcess
from flows.errors import ChildError, RemoteError, RequestError, SettingsError
from flows.ingest import Taken
from flows.intake import fitting
from flows.workspace import Workspace
from petmodels.errors import MachineError, NotFoundError, StoreError, UnreachableError
from tests.disks import small_disk
from tests.flows.ingest.place import Place, in_folder, in_remote
from tests.petmodels.proxy import FOREVER, Fault, proxying
from tests.pictures import content, pet

PROJECT = Path(__file__).parents[3]
TODAY = datetime.now(UTC).date().isoformat()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def outcomes(taken: Taken) -> dict[str, tuple[str, str]]:
    rows = [one.to_row() for one in taken.outcomes]
    return {row["file"]: (row["outcome"], row["reason"]) for row in rows}


def near(image: Image.Image) -> bytes:
    """Return the same picture as another file."""
    return content(image.resize((image.width * 2, image.height * 2)), quality=80)


@pytest.mark.slow
def test_a_good_image_is_kept_by_its_content_and_listed_and_leaves_the_drop(published: Place) -> None:
    data = published.put("Bengal/tom.JPG")

    taken = published.ingest()

    address = f"{published.settings.drop}/accepted/{sha256(data)}.jpg"
    assert published.arrivals() == [{"address": address, "sha256": sha256(data), "label": "Bengal", "arrived": TODAY}]
    assert published.kept() == {f"accepted/{sha256(data)}.jpg": data}
    assert taken.sentence == "1 accepted"


@pytest.mark.slow
def test_a_run_is_one_commit_of_the_list_alone(published: Place) -> None:
    before = published.commits()
    for number in range(3):
        published.put(f"Bengal/{number}.jpg", variant=50 + number)

    published.ingest()

    (commit,) = [one for one in published.commits() if one not in before]
    assert in_folder(published.folder / "git", "git", "show", "--name-only", "--format=", commit).split() == [
        "data/arrivals.csv"
    ]


@pytest.mark.slow
def test_in_a_bucket_it_is_the_same(bucket: Place) -> None:
    good, bad = bucket.put("Bengal/tom.jpg"), bucket.put("pug/page.jpg", b"<html>404</html>")

    bucket.ingest()

    address = f"{bucket.settings.drop}/accepted/{sha256(good)}.jpg"
    assert [(row["address"], row["label"]) for row in bucket.arrivals()] == [(address, "Bengal")]
    quarantine = f"quarantine/{sha256(bad)}"
    assert {found.key for found in bucket.drop.list("")} == {
        f"accepted/{sha256(good)}.jpg", f"{quarantine}/page.jpg", f"{quarantine}/reason.json"
    }  # fmt: skip
    assert bucket.drop.read(f"accepted/{sha256(good)}.jpg", 10**6)[0] == good


@pytest.mark.slow
def test_a_file_without_a_folder_has_its_label_by_the_pattern(place: Place) -> None:
    place.put("pug_7.jpg")
    place.put("holiday.jpg", variant=51)

    taken = place.ingest()

    assert [row["label"] for row in place.arrivals()] == ["pug"]
    assert outcomes(taken)["holiday.jpg"] == (
        "quarantined", "no label: neither a folder nor prepare.label_pattern gives one"
    )  # fmt: skip


@pytest.mark.slow
def test_a_bad_image_is_put_aside_with_its_reason(published: Place) -> None:
    whole = content(pet(1, 60), quality=95)
    dropped = {
        "Bengal/again.jpg": content(pet(0, 1), quality=95),
        "Bengal/html.jpg": b"<!DOCTYPE html><html></html>",
        "Bengal/mirrored.jpg": content(ImageOps.mirror(pet(0, 3)), quality=90),
        "Bengal/near.jpg": near(pet(0, 2)),
        "Bengal/tiny.png": content(pet(0, 61).resize((8, 8)), "PNG"),
        "Bengal/whole.jpg": b"x" * 100_001,
        "beagle/cut.jpg": whole[: len(whole) // 2],
        "sphynx/new.jpg": content(pet(0, 62)),
    }
    for key, data in dropped.items():
        published.put(key, data)

    taken = published.ingest()

    assert {key: reason for key, (_, reason) in outcomes(taken).items()} == {
        "Bengal/again.jpg": "the same bytes as source/images/Bengal_1.jpg (Bengal)",
        "Bengal/html.jpg": "not an image",
        "Bengal/mirrored.jpg": "a near-duplicate of source/images/Bengal_3.jpg (Bengal)",
        "Bengal/near.jpg": "a near-duplicate of source/images/Bengal_2.jpg (Bengal)",
        "Bengal/tiny.png": "too small: 8x8, prepare.min_side is 16",
        "Bengal/whole.jpg": "larger than ingest.max_bytes, 100000",
        "beagle/cut.jpg": "truncated",
        "sphynx/new.jpg": "unknown label: sphynx",
    }
    assert published.arrivals() == []
    kept = published.kept()
    assert len(kept) == 2 * len(dropped)
    for key, data in dropped.items():
        assert kept[f"quarantine/{sha256(data)}/{Path(key).name}"] == data
        [entry] = json.loads(kept[f"quarantine/{sha256(data)}/reason.json"])
        assert entry == {"dropped": key, "reason": outcomes(taken)[key][1]}


@pytest.mark.slow
def test_what_was_withdrawn_is_put_aside_when_it_is_dropped_again(place: Place) -> None:
    first = place.put("Bengal/tom.jpg")
    place.ingest()
    assert len(place.arrivals()) == 1
    place.list_row(f"{sha256(first)},,Bengal,,,,1,{TODAY}", "corrections")
    place.put("Bengal/tom-again.jpg", first)

    taken = place.ingest()

    reason = "withdrawn: these bytes stand in data/corrections.csv"
    assert outcomes(taken) == {"Bengal/tom-again.jpg": ("quarantined", reason)}
    assert len(place.arrivals()) == 1


@pytest.mark.slow
def test_a_branch_from_before_there_were_corrections_is_taken_into_as_ever(place: Place) -> None:
    place.replace_files(
        {
            "stages/screen.py": lambda text: text.replace("corrections: Path, ", "").replace(
                "read_corrections(corrections)", "[]"
            )
        },
        without="data/corrections.csv",
    )
    place.put("Bengal/tom.jpg")

    assert place.ingest().sentence.startswith("1 accepted")


@pytest.mark.slow
def test_what_no_disk_here_can_hold_keeps_nothing_waiting(published: Place) -> None:
    with small_disk(published.folder / "work", 24_000):
        video = published.put("Bengal/a-video.mov", b"x" * 20_000_000)
        for number in range(2):
            published.put(f"Bengal/{number}.jpg", variant=50 + number)
        published.ingest()
        published.put("Bengal/2.jpg", variant=52)

        taken = published.ingest()

    assert taken.sentence == "1 accepted, 1 left"
    assert outcomes(taken)["Bengal/a-video.mov"][1].startswith(
        "too large for the disk of this worker, which takes up to "
    )
    assert len(published.arrivals()) == 3
    assert published.kept()["Bengal/a-video.mov"] == video


@pytest.mark.slow
def test_a_disk_that_is_full_by_now_fails_the_run_and_no_photograph_is_blamed(place: Place) -> None:
    place.put("Bengal/0.jpg", b"x" * 1_000_000)
    drop = Drop(place.settings.drop)

    with small_disk(place.folder / "small", 6_000) as folder:
        (folder / "full").write_bytes(b"x" * (shutil.disk_usage(folder).free - 1_000_000))
        with pytest.raises(
            MachineError, match=r"^no room on this worker's disk for what waits in the drop; free some: "
        ):
            fitting(drop, drop.listing(0.0).waiting, folder, 100)


def test_as_many_files_are_fetched_as_the_disk_holds(place: Place) -> None:
    for number in range(5):
        place.put(f"Bengal/{number}.jpg", b"x" * 1_000_000)
    drop = Drop(place.settings.drop)

    with small_disk(place.folder / "small", 6_000) as folder:
        batch, too_large = fitting(drop, drop.listing(0.0).waiting, folder, 100)

    assert [one.name for one in batch] == ["0.jpg", "1.jpg", "2.jpg"]
    assert too_large == []


@pytest.mark.slow
def test_a_new_label_is_taken_in_when_params_allow_it(published: Place) -> None:
    published.change_params(new_labels=True)
    published.put("sphynx/new.jpg")

    published.ingest()

    assert [row["label"] for row in published.arrivals()] == ["sphynx"]


@pytest.mark.slow
def test_of_new_images_that_show_the_same_the_first_is_taken_in(place: Place) -> None:
    place.put("Bengal/a.jpg")
    place.put("Bengal/b.jpg")
    place.put("Bengal/c.jpg", near(pet(0, 50)))

    taken = place.ingest()

    assert outcomes(taken) == {
        "Bengal/a.jpg": ("accepted", ""),
        "Bengal/b.jpg": ("quarantined", "the same bytes as a.jpg (Bengal)"),
        "Bengal/c.jpg": ("quarantined", "a near-duplicate of a.jpg (Bengal)"),
    }


@pytest.mark.slow
def test_pictures_alike_that_came_on_two_days_are_prepares_to_group_onto_one_side(place: Place, tmp_path: Path) -> None:
    first = sha256(place.put("Bengal/a.jpg"))
    place.ingest()
    second = sha256(place.put("Bengal/b.jpg", near(pet(0, 50))))
    assert outcomes(place.ingest()) == {"Bengal/b.jpg": ("accepted", "")}

    clone = tmp_path / "prepared-from-the-branch"
    in_folder(tmp_path, "git", "clone", "--quiet", place.settings.git, str(clone))
    params = yaml.safe_load((clone / "params.yaml").read_text())
    params["download"]["source"] = "sample:images_per_breed=4,image_side=64"
    (clone / "params.yaml").write_text(yaml.safe_dump(params))
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    for name in ("download", "prepare", "split"):
        in_folder(clone, *stages[name]["cmd"].split())

    sides = [clone / f"data/split/{side}.csv" for side in ("train", "valid", "test")]
    rows = [(side.name, row) for side in sides for row in csv.DictReader(side.read_text().splitlines())]
    pair = [(side, row["group"]) for side, row in rows if row["sha256"] in {first, second}]
    assert len(pair) == 2
    assert pair[0] == pair[1]


@pytest.mark.slow
def test_an_ingest_leaves_no_photographs_on_the_worker(place: Place) -> None:
    photos = {place.put("Bengal/tom.jpg"), place.put("Bengal/torn.jpg", b"torn")}

    place.ingest()

    assert photos.isdisjoint(path.read_bytes() for path in (place.folder / "work").rglob("*") if path.is_file())


@pytest.mark.slow
def test_an_ingest_that_finds_nothing_takes_away_what_a_killed_one_has_left(place: Place) -> None:
    place.ingest()
    left = place.folder / "work/ingest/build/ingest/000001"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"a photograph")

    place.ingest()

    assert not left.exists()


@pytest.mark.slow
def test_a_second_run_adds_nothing(place: Place) -> None:
    place.put("Bengal/a.jpg")
    place.ingest()
    before = (place.arrivals(), place.kept())

    taken = place.ingest()

    assert taken.sentence.startswith("nothing waits in ")
    assert (place.arrivals(), place.kept()) == before


@pytest.mark.slow
def test_what_is_dropped_again_is_taken_away_and_not_listed_again(place: Place) -> None:
    place.put("Bengal/a.jpg")
    place.ingest()
    before = (place.arrivals(), place.kept())
    place.put("Bengal/again.jpg")

    taken = place.ingest()

    assert outcomes(taken)["Bengal/again.jpg"][0] == "already there"
    assert (place.arrivals(), place.kept()) == before


@pytest.mark.slow
def test_what_is_listed_where_the_drop_was_before_a_move_is_there_already_and_heals(place: Place) -> None:
    data = place.put("Bengal/a.jpg")
    name = f"{sha256(data)}.jpg"
    place.list_row(f"s3://old/drop/accepted/{name},{sha256(data)},Bengal,{TODAY}")

    taken = place.ingest()

    assert outcomes(taken)["Bengal/a.jpg"][0] == "already there"
    assert place.kept() == {f"accepted/{name}": data}
    assert len(place.arrivals()) == 1


@pytest.mark.slow
def test_what_people_have_listed_by_a_name_of_their_own_is_put_aside(place: Place) -> None:
    data = content(pet(0, 50), quality=95)
    place.list_row(f"s3://photos/tom.jpg,{sha256(data)},Bengal,{TODAY}")
    place.put("Bengal/a.jpg", data)

    assert outcomes(place.ingest())["Bengal/a.jpg"] == ("quarantined", "the same bytes as s3://photos/tom.jpg (Bengal)")


@pytest.mark.slow
def test_the_same_bytes_under_another_label_are_put_aside(place: Place) -> None:
    data = place.put("Bengal/a.jpg")
    place.ingest()
    place.put("pug/a.jpg")

    taken = place.ingest()

    address = f"{place.settings.drop}/accepted/{sha256(data)}.jpg"
    assert outcomes(taken)["pug/a.jpg"] == ("quarantined", f"the same bytes as {address} (Bengal)")
    assert [row["label"] for row in place.arrivals()] == ["Bengal"]


@pytest.mark.slow
def test_on_a_branch_that_has_moved_the_rows_stand_after_the_others(place: Place) -> None:
    place.put("Bengal/a.jpg")
    other = "https://example.org/x.jpg," + "0" * 64 + ",pug,2026-01-01"
    moved: list[str] = []

    def tell(text: str) -> None:
        if "are looked at" in text and not moved:
            moved.append(text)
            place.list_row(other)

    place.ingest(tell)

    assert [row["label"] for row in place.arrivals()] == ["pug", "Bengal"]
    assert [key.split("/")[0] for key in place.kept()] == ["accepted"]


@pytest.mark.slow
def test_what_somebody_has_listed_meanwhile_is_not_listed_again(place: Place) -> None:
    data = place.put("Bengal/a.jpg")
    place.put("Bengal/b.jpg", other := content(pet(0, 51)))
    rows = [f"{place.settings.drop}/accepted/{sha256(one)}.jpg,{sha256(one)}" for one in (data, other)]

    def tell(text: str) -> None:
        if "are looked at" in text:
            place.list_row(f"{rows[0]},Bengal,{TODAY}\n{rows[1]},pug,{TODAY}")

    taken = place.ingest(tell)

    assert [row["label"] for row in place.arrivals()] == ["Bengal", "pug"]
    assert outcomes(taken) == {
        "Bengal/a.jpg": ("accepted", ""),
        "Bengal/b.jpg": ("left", "somebody has listed these bytes meanwhile as pug"),
    }
    assert place.kept()["Bengal/b.jpg"] == other


@pytest.mark.slow
@pytest.mark.parametrize(("row", "folder"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_row_whose_accent_is_spelled_otherwise_is_the_same_label(place: Place, row: str, folder: str) -> None:
    key = f"{normalize(folder, 'Bär')}/a.jpg"
    data = place.put(key)
    place.list_row(f"{place.settings.drop}/accepted/{sha256(data)}.jpg,{sha256(data)},{normalize(row, 'Bär')},{TODAY}")

    taken = place.ingest()

    assert outcomes(taken)[key][0] == "already there"
    assert place.kept() == {f"accepted/{sha256(data)}.jpg": data}


@pytest.mark.slow
def test_a_file_that_is_replaced_meanwhile_stays(place: Place) -> None:
    first = place.put("Bengal/a.jpg")
    second = content(pet(0, 51))

    def tell(text: str) -> None:
        if text.startswith("screen:"):
            (place.folder / "drop/Bengal/a.jpg").write_bytes(second)

    taken = place.ingest(tell)

    assert outcomes(taken)["Bengal/a.jpg"][0] == "left"
    assert place.kept() == {f"accepted/{sha256(first)}.jpg": first, "Bengal/a.jpg": second}


def test_a_file_that_somebody_else_takes_ends_the_run(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.put("Bengal/a.jpg")
    place.put("Bengal/b.jpg", variant=51)

    def tell(text: str) -> None:
        if "are looked at" in text:
            (place.folder / "drop/Bengal/a.jpg").unlink()

    taken = place.ingest(tell)

    assert taken.sentence == "somebody else is taking the files in; left to them"
    assert list(place.kept()) == ["Bengal/b.jpg"]


def test_a_young_file_and_a_hidden_one_wait(place: Place) -> None:
    place.put("Bengal/a.jpg")
    place.put("Bengal/.a.jpg.part", b"half")
    drop = Drop(place.settings.drop)

    assert [one.key for one in drop.listing(0).waiting] == ["Bengal/a.jpg"]
    assert drop.listing(60).waiting == []


@pytest.mark.slow
def test_a_run_looks_at_so_many_files_and_leaves_the_rest(place: Place) -> None:
    place.change_params(max_files_per_run=1)
    place.put("Bengal/b.jpg")
    place.put("Bengal/a.jpg", variant=51)

    taken = place.ingest()

    assert taken.sentence == "1 accepted, 1 wait for the next run"
    assert "Bengal/b.jpg" in place.kept()


@pytest.mark.slow
def test_images_are_counted_since_the_newest_version(published: Place) -> None:
    published.list_row("https://example.org/x.jpg," + "0" * 64 + ",pug,2026-01-01")
    published.put("Bengal/a.jpg")
    counts: list[tuple[int, int]] = []

    taken = published.ingest(announce=lambda *numbers: counts.append(numbers))

    assert (counts, taken.num_since) == ([(1, 2)], 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("older", "num_new", "num_told"),
    [("sha256,label\n1,pug\n", 1, 0), ("\ufeffaddress,sha256,label,arrived,by\nx,1,,,\n", 1, 0), ("digest\n1\n", 2, 1)],
)
def test_a_list_of_before_with_other_columns_stops_nobody_and_is_counted_by_its_hashes(
    tmp_path: Path, older: str, num_new: int, num_told: int
) -> None:
    told: list[str] = []
    space = Workspace(folder=tmp_path, commit="", tell=str, handle=0, process=DvcProcess(tmp_path, (), str))
    (tmp_path / "data").mkdir()
    in_folder(tmp_path, "git", "init", "--quiet")
    space.set_text("data/arrivals.csv", older)
    in_folder(tmp_path, "git", "add", "--all")
    in_folder(tmp_path, "git", "commit", "--quiet", "--message", "before")
    space.set_text("data/arrivals.csv", "address,sha256,label,arrived\nx,1,pug,\ny,2,pug,\n")

    before = hashes_at(space, space.git("rev-parse", "HEAD"), told.append)

    assert (num_since(space, before), len(told)) == (num_new, num_told)
    assert all("has no column sha256, so all images of the branch count as new since" in line for line in told)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"sha256,hash,label,source\n1,2,pug,a.jpg\n", "lacks the column phash"),
        (b"sha256,phash,label,source\n", "lacks any row"),
        (b"sha256,phash,label,source\n1,2,p\xff,a.jpg\n", "is no CSV file: "),
    ],
)
def test_an_index_that_this_revision_can_not_read_says_what_mends_it(
    place: Place, tmp_path: Path, text: bytes, reason: str
) -> None:
    remote, lock = tmp_path / "dvc", tmp_path / "dvc.lock"
    older = replace(place, settings=replace(place.settings, dvc_remote=str(remote)))
    index = in_remote(remote, text)
    folder = in_remote(remote, json.dumps([{"md5": index, "relpath": "index.csv"}]).encode(), ".dir")
    out = f"{{path: data/prepared, hash: md5, md5: {folder}}}"
    lock.write_text(f"{{schema: '2.0', stages: {{prepare: {{cmd: x, outs: [{out}]}}}}}}")
    older.publish(lock)
    data = older.put("Bengal/a.jpg")

    with pytest.raises(RequestError, match=f"those that wait are left .*; a retrain publishes one .* {reason}"):
        older.ingest()

    assert older.kept()["Bengal/a.jpg"] == data


@pytest.mark.slow
def test_a_killed_runs_images_are_announced_with_all_that_came_before(published: Place) -> None:
    """It may have been killed before it told of any, and this run may look at some of them alone."""
    data = [published.put(f"Bengal/{number}.jpg", variant=50 + number) for number in range(3)]
    published.ingest()
    published.put("Bengal/again.jpg", data[0])
    counts: list[tuple[int, int]] = []

    published.ingest(announce=lambda *numbers: counts.append(numbers))

    assert counts == [(0, 3)]


@pytest.mark.slow
def test_a_refused_push_says_why_and_takes_nothing_away(place: Place) -> None:
    data = place.put("Bengal/a.jpg")
    hook = place.folder / "git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)

    with pytest.raises(ChildError, match="pre-receive hook declined"):
        place.ingest()

    assert place.kept()["Bengal/a.jpg"] == data
    hook.unlink()
    place.ingest()
    assert [row["sha256"] for row in place.arrivals()] == [sha256(data)]


def test_an_unreachable_git_remote_takes_nothing_away(place: Place) -> None:
    data = place.put("Bengal/a.jpg")
    (place.folder / "git").rename(place.folder / "gone")

    with pytest.raises(RemoteError, match="git clone"):
        place.ingest()

    assert place.kept() == {"Bengal/a.jpg": data}


@pytest.mark.slow
def test_a_drop_that_is_not_there_is_named(bucket: Place, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no such bucket.*s3://no-such-bucket/drop"):
        Drop("s3://no-such-bucket/drop").listing(0)
    with pytest.raises(RemoteError, match=r"no such folder.*/nowhere"):
        Drop(str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match="set PETMODELS_DROP"):
        Drop("")
    with pytest.raises(SettingsError, match=r"PETMODELS_DROP.*ftp://x/y"):
        Drop("ftp://x/y")


def link(path: Path) -> None:
    secret = path.parents[2] / "secret"
    secret.write_text("of somebody else")
    path.symlink_to(secret)


def link_to_folder(path: Path) -> None:
    path.symlink_to("/etc")


def unreadable(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path.touch(mode=0)


LINK = "a link, and links aren't followed; put the file itself into the drop"
UNFIT = [
    ("Bengal/a.jpg", link, LINK),
    ("Persian", link_to_folder, LINK),
    ("Bengal/a.jpg", os.mkfifo, "neither a file nor a folder; take it away"),
    ("Bengal/a.jpg", unreadable, "this worker's user may not read it; chmod -R a+rX opens it"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("key", "make", "reason"), UNFIT)
def test_what_is_no_file_that_can_be_read_is_left_and_keeps_nothing_waiting(
    place: Place, key: str, make: Callable[[Path], None], reason: str
) -> None:
    data, told = place.put("Bengal/b.jpg"), list[str]()
    make(place.folder / "drop" / key)

    first, second = place.ingest(), place.ingest(told.append)

    assert outcomes(first) == {key: ("left", reason), "Bengal/b.jpg": ("accepted", "")}
    assert (outcomes(second), second.sentence) == ({key: ("left", reason)}, "1 left")
    assert [line for line in told if "looked at" in line] == []
    assert [row["sha256"] for row in place.arrivals()] == [sha256(data)]
    assert os.path.lexists(place.folder / "drop" / key)


def lock(bucket: Place, key: str) -> None:
    """Drop an object that nobody can read without its dropper's key, as of one under another's KMS key."""
    place, _, prefix = bucket.drop.address.removeprefix("s3://").partition("/")
    own: Any = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"k" * 32}
    boto3.client("s3").put_object(Bucket=place, Key=f"{prefix}/{key}", Body=content(pet(0, 60), quality=95), **own)


@pytest.mark.slow
def test_an_object_that_may_not_be_read_is_left_and_keeps_nothing_waiting(bucket: Place) -> None:
    for variant in (50, 51):
        lock(bucket, "Bengal/mine.jpg")
        data = bucket.put("Bengal/b.jpg", variant=variant)

        taken = bucket.ingest()

        assert taken.sentence == "1 accepted, 1 left"
        assert bucket.arrivals()[-1]["sha256"] == sha256(data)
        what, why = outcomes(taken)["Bengal/mine.jpg"]
        assert (what, "asked to read Bengal/mine.jpg: s3://" in why) == ("left", True)
    with pytest.raises(StoreError, match="asked to read Bengal/mine"):
        bucket.ingest()
    assert "Bengal/mine.jpg" in [stored.key for stored in bucket.drop.list("")]


@pytest.mark.slow
def test_an_outage_of_the_store_at_one_object_ends_the_run(bucket: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be given an hour later is not left as if it were refused."""
    bucket.put("Bengal/a.jpg", variant=50)
    bucket.put("Bengal/b.jpg", variant=51)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with proxying(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        proxy.faults.append(Fault(method="GET", part="Bengal/a.jpg", status=503, code="SlowDown", times=FOREVER))

        with pytest.raises(UnreachableError, match=r"overloaded or broken \(SlowDown\).*Bengal/a.jpg"):
            bucket.ingest()

    assert bucket.arrivals() == []


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be no user that may do everything."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(("mode", "key", "what"), [(0o000, "Bengal", "this"), (0o444, "Bengal/a.jpg", "its")])
def test_a_folder_that_is_closed_to_the_worker_is_told(mode: int, key: str, what: str) -> None:
    with TemporaryDirectory() as folder:  # pytest's own are open to nobody else
        for label in ("Bengal", "pug"):
            Path(folder, label).mkdir(mode=0o755)
            Path(folder, label, "a.jpg").touch()
        Path(folder).chmod(0o755)
        Path(folder, "Bengal").chmod(mode)

        with as_nobody():
            found = {one.key: one.unfit for one in Drop(folder).listing(0.0).waiting}

        Path(folder, "Bengal").chmod(0o755)
    assert found == {key: f"{what} folder is closed to this worker's user; chmod -R a+rX opens it", "pug/a.jpg": ""}


def test_a_drop_that_is_closed_to_the_worker_is_one_line() -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o111)
        with as_nobody(), pytest.raises(RemoteError, match=r"PETMODELS_DROP: can't be listed \(Permission denied\): /"):
            Drop(folder).listing(0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("n" * 240 + ".jpg", "n" * 96 + ".jpg"),
        ("é" * 120 + ".jpg", "é" * 48 + ".jpg"),
        ("x." + "y" * 230, "x." + "y" * 98),
    ],
)
def test_a_bad_file_with_a_long_name_is_put_aside_under_a_shorter_one(place: Place, name: str, kept: str) -> None:
    (place.folder / "drop/Bengal").mkdir()
    (place.folder / "drop/Bengal" / name).write_bytes(b"no image")
    place.put("Bengal/b.jpg")

    taken = place.ingest()

    folder = f"quarantine/{sha256(b'no image')}"
    assert outcomes(taken) == {"Bengal/b.jpg": ("accepted", ""), f"Bengal/{name}": ("quarantined", "not an image")}
    assert place.kept()[f"{folder}/{kept}"] == b"no image"
    [entry] = json.loads(place.kept()[f"{folder}/reason.json"])
    assert entry == {"dropped": f"Bengal/{name}", "reason": "not an image"}
    assert place.ingest().sentence.startswith("nothing waits in ")


@pytest.mark.slow
def test_a_name_that_would_steer_a_terminal_is_shown_escaped(place: Place) -> None:
    place.put("Bengal/\x1b[2Ja\n.jpg", b"no image")

    (outcome,) = place.ingest().outcomes

    assert outcome.to_row()["file"] == r"Bengal/\x1b[2Ja\n.jpg"


@pytest.mark.slow
@pytest.mark.parametrize("torn", [b'[{"dro', b"{}", b"\xff", b"[" * 200_000], ids=["torn", "map", "bytes", "deep"])
def test_reasons_that_somebody_has_broken_are_named(place: Place, torn: bytes) -> None:
    place.put("Bengal/b.jpg", b"no image")
    reasons = f"quarantine/{sha256(b'no image')}/reason.json"
    place.put(reasons, torn)

    with pytest.raises(RemoteError, match=f"^isn't the list of reasons .*; look at it and remove it: .*/{reasons}$"):
        place.ingest()

    assert (place.folder / "drop/Bengal/b.jpg").read_bytes() == b"no image"


@pytest.mark.slow
def test_two_names_of_the_same_bad_bytes_share_a_place_and_keep_both_reasons(place: Place) -> None:
    place.put("Bengal/reason.json", b"{}")
    place.put("pug/b.jpg", b"{}")

    place.ingest()

    folder = f"quarantine/{sha256(b'{}')}"
    kept = place.kept()
    assert set(kept) == {f"{folder}/_reason.json", f"{folder}/b.jpg", f"{folder}/reason.json"}
    assert sorted(one["dropped"] for one in json.loads(kept[f"{folder}/reason.json"])) == [
        "Bengal/reason.json", "pug/b.jpg"
    ]  # fmt: skip
