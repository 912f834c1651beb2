"""The flows ingest, audit and watch as runs on a real Prefect server: their state, artifacts, events and logs."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from flows.object_store import ADMIN
from flows.stack import Stack
from petmodels.registry import Registry
from tests.flows.ingest.place import Place
from tests.flows.ingest.runs import ask, run
from tests.flows.watching import Watching
from tests.petmodels.bundles import write_files

pytestmark = pytest.mark.slow


def variables(place: Place | Watching) -> dict[str, str]:
    return {f"PETMODELS_{name.upper()}": str(value) for name, value in vars(place.settings).items() if value}


def artifacts(stack: Stack, found_run: dict[str, Any]) -> dict[str, Any]:
    found = ask(stack, "/artifacts/filter", artifacts={"flow_run_id": {"any_": [found_run["id"]]}})
    return {one["key"]: one for one in found}


def events(stack: Stack, name: str, num: int) -> list[dict[str, Any]]:
    """Return the events of a name, waiting a little for as many as `num`."""
    found: list[dict[str, Any]] = []
    for _ in range(50):
        answer = ask(stack, "/events/filter", filter={"event": {"name": [name]}})
        found = answer["events"]
        if len(found) >= num:
            break
        time.sleep(0.2)
    return found


def test_a_run_says_what_it_took_in_and_calls_for_a_retraining(stack: Stack, bucket: Place) -> None:
    bucket.put("Bengal/a.jpg")
    bucket.put("pug/page.jpg", b"<html>")
    names = variables(bucket)

    first = run(stack, "ingest", names)
    assert (first["state"]["type"], first["state"]["message"]) == (
        "COMPLETED",
        "1 accepted, 1 quarantined; 1 image arrived while no version is published; a retraining is due from 2 on",
    )
    [row, other] = json.loads(artifacts(stack, first)["pets-arrivals"]["data"])
    assert (row["file"], row["outcome"]) == ("Bengal/a.jpg", "accepted")
    assert (other["outcome"], other["reason"]) == ("quarantined", "not an image")
    assert events(stack, "petmodels.images.arrived", 0) == []

    bucket.put("Bengal/b.jpg", variant=51)
    second = run(stack, "ingest", names)
    assert second["state"]["message"].endswith("; a retraining is due")
    [event] = events(stack, "petmodels.images.arrived", 1)
    assert event["resource"]["prefect.resource.id"] == "petmodels.model.pets"
    assert event["payload"] == {"model": "pets", "branch": "main", "images": 2, "since": ""}

    bucket.put("Bengal/c.jpg", variant=52)
    third = run(stack, "ingest", names)
    assert third["state"]["message"].startswith("1 accepted; 3 images arrived ")

    fourth = run(stack, "ingest", names)
    assert fourth["state"]["message"].startswith("nothing waits in s3://")
    assert artifacts(stack, fourth) == {}
    assert len(events(stack, "petmodels.images.arrived", 2)) == 1  # one image more calls for no other retraining

    logged = [one["message"] for one in ask(stack, "/logs/filter", limit=200)]
    assert any(text.startswith("screen: 1 of 2 images can be taken in") for text in logged)
    files = [path for path in (stack.folder / "prefect").rglob("*") if path.is_file()]
    assert not [path for path in files if ADMIN[1].encode() in path.read_bytes()]


def test_people_are_told_when_ingest_takes_none_of_what_was_dropped(stack: Stack, place: Place) -> None:
    """What is put aside is told once; what is left where it lies is left by each run, and told by none."""
    names = variables(place)

    def refused() -> list[Any]:
        return [event["payload"] for event in events(stack, "petmodels.images.refused", 1)]

    for number in range(3):
        place.put(f"pug/{number}.jpg", b"<html>%d" % number)
    Path(place.settings.drop, "pug/a.jpg").symlink_to("nowhere")
    run(stack, "ingest", names)

    told = {
        "quarantined": 3,
        "left": 1,
        "reason": "not an image",
        "sentence": "none of 4 dropped files is taken in: 3 quarantined, 1 left; the commonest reason: not an image",
    }
    assert told in refused()

    num_before = len(refused())
    place.put("Bengal/a.jpg")
    place.put("pug/3.jpg", b"<html>3")
    assert run(stack, "ingest", names)["state"]["message"].startswith("1 accepted, 1 quarantined, 1 left; ")
    assert run(stack, "ingest", names)["state"]["message"].startswith("1 left; ")
    assert len(refused()) == num_before


def test_a_line_is_whole_in_a_log_of_json(stack: Stack, place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    place.put("100%s/a.jpg", b"<html>")
    names = variables(place) | {"PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json"}

    ended = run(stack, "ingest", names)

    lines = [json.loads(line)["msg"] for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    assert ended["state"]["message"] in lines
    assert f"1 of 1 files that wait in {place.settings.drop} are looked at" in lines


def test_a_run_that_finds_something_lost_completes_and_says_so_in_message_table_and_log(
    stack: Stack, place: Place
) -> None:
    digest = "ab" * 32
    place.put(f"accepted/{digest}.jpg", b"kept")

    ended = run(stack, "ingest", variables(place))

    assert ended["state"]["type"] == "COMPLETED"
    line = "1 accepted image has no row in data/arrivals.csv: abababababab…; no model learns from them "
    assert f"; a retraining is due from 2 on; {line}" in ended["state"]["message"]
    (row,) = json.loads(artifacts(stack, ended)["pets-arrivals"]["data"])
    assert (row["file"], row["outcome"]) == (f"{digest}.jpg", "no row")
    logged = ask(stack, "/logs/filter", logs={"flow_run_id": {"any_": [ended["id"]]}}, limit=200)
    assert any(one["message"].startswith(line) for one in logged)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"PETMODELS_DROP": "s3://no-such-bucket/drop"}, "there is no such bucket"),
        ({"PETMODELS_GIT": "/nowhere/at-all"}, "git clone: "),
        ({"branch": "no-such-branch"}, "no-such-branch"),
    ],
)
def test_what_a_run_can_not_have_is_its_message(stack: Stack, bucket: Place, change: dict[str, str], line: str) -> None:
    bucket.put("Bengal/a.jpg")
    branch = change.get("branch", "main")

    ended = run(stack, "ingest", variables(bucket) | change, branch=branch)

    assert ended["state"]["type"] == "FAILED"
    assert line in ended["state"]["message"]
    assert "\n" not in ended["state"]["message"]
    assert ended["run_count"] == 1
    assert [found.key for found in bucket.drop.list("")] == ["Bengal/a.jpg"]


def test_an_audit_fails_with_the_first_finding_and_shows_the_rest(stack: Stack, place: Place) -> None:
    registry = Registry(place.settings.registry)
    registry.publish(write_files(place.folder / "bundle", {"a": b"1", "b": b"2"}), "pets")
    names = variables(place)

    assert run(stack, "audit", names)["state"]["message"].startswith("nothing is broken: 1 version, 2 B, in ")

    for path in Path(place.settings.registry, "pets/blobs").iterdir():
        path.write_bytes(b"3")
    ended = run(stack, "audit", names, model="pets")

    assert ended["state"]["type"] == "FAILED"
    sentence = (
        "broken, do not use: pets@1/a: its bytes were changed (and 1 more); petmodels repair puts back what another"
    )
    assert ended["state"]["message"].startswith(sentence)
    found = artifacts(stack, ended)
    assert "- pets@1/b: its bytes were changed" in found["audit"]["data"]
    assert json.loads(found["versions"]["data"])[0]["version"] == "pets@1"


def test_an_audit_fails_when_the_dvc_remote_is_gone(stack: Stack, published: Place) -> None:
    """And so it does without git's remote or the signing key: each of them would end the next retrain or ingest."""
    gone = variables(published) | {
        "PETMODELS_DVC_REMOTE": str(published.folder / "gone"),
        "PETMODELS_GIT": "/nowhere/project.git",
        "PETMODELS_SIGNING_KEY": "/nowhere/signing.key",
    }

    ended = run(stack, "audit", gone)

    sound, _, lacks = ended["state"]["message"].partition("; but the next retrain or ingest lacks what it needs: ")
    git, remote, key, way = lacks.split("; ")
    assert (ended["state"]["type"], sound.partition(":")[0]) == ("FAILED", "nothing is broken")
    assert git.startswith("git ls-remote: '/nowhere/project.git' does not appear to be a git repository")
    assert remote == f"PETMODELS_DVC_REMOTE holds nothing of DVC's: {published.folder / 'gone'}"
    assert (key, way) == ("no key can be read here", "petmodels keygen makes one: /nowhere/signing.key")


def test_an_audit_of_an_emptied_registry_is_no_sign_of_life(stack: Stack, place: Place) -> None:
    """Nor does that of a new installation fail every night, until its first version is there."""
    names = variables(place)
    before = len(events(stack, "petmodels.registry.sound", 0))

    new = run(stack, "audit", names)
    registry = Registry(place.settings.registry, cache=place.folder / "another-machine")
    registry.publish(write_files(place.folder / "bundle", {"a": b"1"}), "pets")
    shutil.rmtree(Path(place.settings.registry, "pets"))
    emptied = run(stack, "audit", names)

    sentence = f"holds no version; publish the first one, or find out who emptied it: {place.settings.registry}"
    for ended in (new, emptied):
        assert (ended["state"]["type"], ended["state"]["message"]) == ("COMPLETED", sentence)
    assert len(events(stack, "petmodels.registry.sound", before)) == before

    registry.publish(write_files(place.folder / "second", {"a": b"2"}), "cats")
    of_one = run(stack, "audit", names, model="cats")["state"]["message"]  # it says nothing of the others
    registry.publish(write_files(place.folder / "third", {"a": b"3"}), "dogs")
    sound = run(stack, "audit", names)["state"]["message"]
    assert sound.startswith("nothing is broken: 2 versions, ")
    found = [event["payload"]["sentence"] for event in events(stack, "petmodels.registry.sound", before + 1)]
    assert (found.count(of_one), found.count(sound)) == (0, 1)


def test_a_watch_tells_of_a_version_that_slips_by_its_sentence_a_page_and_an_event(
    stack: Stack, bucket: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    watching = Watching.made(tmp_path_factory.mktemp("watching"), bucket.settings.drop)
    names = variables(watching)
    first = run(stack, "watch", names)
    assert first["state"]["message"] == "nothing to watch: pets@production names no version yet"

    watching.publish()
    (wrong, *_) = watching.arrive("red", 6, shows="green")
    ended = run(stack, "watch", names)

    sentence = (
        "pets@1 names 0 of 6 photographs that arrived since rightly (0 %, 0 to 39); as on its test side it would be "
        "about 6: it is slipping (p = 3e-06)"
    )
    assert (ended["state"]["type"], ended["state"]["message"]) == ("COMPLETED", sentence)
    page = artifacts(stack, ended)["pets-production-watch"]
    assert (page["description"], page["type"]) == (sentence, "markdown")
    assert f"| red | green | {watching.settings.drop}/accepted/{wrong}.png |" in page["data"]
    [event] = events(stack, "petmodels.champion.slipping", 1)
    assert event["resource"]["prefect.resource.id"] == "petmodels.model.pets"
    assert event["payload"]["sentence"] == sentence
    assert (event["payload"]["alias"], event["payload"]["version"], event["payload"]["right"]) == (
        "production", "pets@1", 0,
    )  # fmt: skip

    watching.arrive("green", 200)
    assert "it is slipping" not in run(stack, "watch", names)["state"]["message"]
    assert len(events(stack, "petmodels.champion.slipping", 2)) == 1
