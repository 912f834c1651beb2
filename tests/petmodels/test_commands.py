"""The command line as a person meets it: each command once, as a table and as JSON, and every exit code."""

import ctypes
import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from shlex import quote
from types import SimpleNamespace
from typing import Any

import pytest

import petmodels
from petmodels.commands_predict import BATCH
from petmodels.diff import diff
from petmodels.documents import Signature, Statement, load_statement
from petmodels.model import Model
from petmodels.names import version_key
from petmodels.network import Network
from petmodels.publish import Origin
from petmodels.registry import Registry
from petmodels.signing import TRUSTED_KEYS
from tests.petmodels.bundles import image_bytes, make_bundle, write_files
from tests.petmodels.commands import Command
from tests.petmodels.stores import free_port


@pytest.fixture
def two(run: Command, tmp_path: Path) -> Command:
    """Return `run` where pets@1 and pets@2 are published and production named first the one and then the other."""
    for number, accuracy in ((1, 0.8), (2, 0.9)):
        folder = make_bundle(tmp_path / f"bundle{number}", tag=str(number), accuracy=accuracy)
        assert run("publish", folder, "--model", "pets", "--message", f"the {number}.").code == 0
        assert run("promote", f"pets@{number}", "production", "--message", "good").code == 0
    return run


def test_publish_says_what_was_sent_and_what_was_there(run: Command, tmp_path: Path) -> None:
    first = run("publish", make_bundle(tmp_path / "a", tag="a"), "--model", "pets")
    second = run("publish", make_bundle(tmp_path / "b", tag="b"), "--model", "pets")

    assert first.data == ["pets@1: 9 files, 1.3 kB"]
    assert first.talk == ["published; next: petmodels promote pets@1 production"]
    assert second.data == ["pets@2: 9 files, 1.3 kB (1.2 kB already there)"]


def test_publish_of_the_same_says_so(run: Command, bundle: Path) -> None:
    run("publish", bundle, "--model", "pets")

    assert run("publish", bundle, "--model", "pets").data == ["pets@1: unchanged, this is already the newest version"]
    assert run("publish", bundle, "--model", "pets", "--json").json["new"] is False


def test_publish_keeps_what_the_publisher_says(run: Command, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    commit = "0123456789abcdef0123456789abcdef01234567"
    origin = ["--git-commit", commit, "--dvc-lock", tmp_path / "dvc.lock", "--message", "more epochs"]
    run("publish", bundle, "--model", "pets", *origin)

    shown = run("show", "pets", "--json").json

    assert (shown["git_commit"], shown["dvc_lock"], shown["message"]) == (commit, "schema: '2.0'\n", "more epochs")
    assert (shown["params"], shown["metrics"]) == ("train:\n  epochs: 1\n", {"accuracy": 0.9})


@pytest.mark.parametrize("commit", ["", "main", "abc1234", "g" * 40, "a" * 41, "a" * 40 + "-dirty", "a" * 40 + "\n"])
def test_publish_takes_no_word_for_a_commit(run: Command, bundle: Path, tmp_path: Path, commit: str) -> None:
    done = run("publish", bundle, "--model", "pets", "--git-commit", commit)

    told = (
        "petmodels: --git-commit takes a commit's whole hash, of 40 or 64 hex digits, as git rev-parse HEAD prints it: "
    )
    assert (done.code, done.talk) == (2, [f"{told}{commit!r}"])
    assert not (tmp_path / "registry").exists()


def test_publish_takes_a_commit_of_either_of_gits_hashes(run: Command, tmp_path: Path) -> None:
    for number, commit in enumerate(("a1" * 20, "b2" * 32), start=1):
        run("publish", make_bundle(tmp_path / commit, tag=commit), "--model", "pets", "--git-commit", commit)

        assert run("show", f"pets@{number}", "--json").json["git_commit"] == commit


def test_list_shows_models_and_versions(two: Command) -> None:
    assert two("list").data == ["model  newest", "pets   2"]
    assert two("list", "--json").json == [{"model": "pets", "newest": 2, "withdrawn": ""}]
    lines = two("list", "pets").data
    assert [line.split()[0] for line in lines] == ["version", "2", "1"]
    assert lines[1].endswith("9      production  the 2.")
    rows = two("list", "pets", "--json").json
    assert [(row["version"], row["aliases"]) for row in rows] == [(2, ["production"]), (1, [])]
    assert len(two("list", "pets", "--limit", "1").data) == 2


def test_show_lists_origin_metrics_and_files(two: Command) -> None:
    lines = two("show", "pets@production").data

    assert ["version", "pets@2"] in [line.split() for line in lines]
    assert ["accuracy", "0.9"] in [line.split() for line in lines]
    assert any(line.startswith("model.onnx ") for line in lines)


@pytest.mark.slow
def test_promote_rollback_and_history_tell_one_story(two: Command) -> None:
    assert two("promote", "pets@1", "staging").data == ["pets@staging is pets@1"]
    assert two("rollback", "pets", "production", "--message", "slow").data == ["pets@production is pets@1"]
    steps = two("history", "pets", "--json").json

    assert sorted((step["alias"], step["serial"], step["action"], step["version"], step["note"]) for step in steps) == [
        ("production", 1, "promote", 1, "good"),
        ("production", 2, "promote", 2, "good"),
        ("production", 3, "rollback", 1, "slow"),
        ("staging", 1, "promote", 1, ""),
    ]
    assert len(two("history", "pets").data) == 5
    again = two("promote", "pets@2", "production", "--json").json
    assert again == {"model": "pets", "alias": "production", "version": 2, "steps": 4}
    late = two("promote", "pets@2", "production", "--over", "2")
    assert (late.code, late.talk) == (0, ["done; next: petmodels pull pets@production ./model"])
    assert two("rollback", "pets", "production", "--json").json["version"] == 1
    late = two("promote", "pets@2", "production", "--over", "2")
    said = "petmodels: pets@production names pets@1, and not pets@2; look at petmodels history pets"
    assert (late.code, late.talk) == (5, [said])


def test_pull_prints_the_folder_and_the_next_command_works(two: Command) -> None:
    done = two("pull", "pets@production", "./model")
    Path("cat.jpg").write_bytes(image_bytes("red"))

    assert (done.data, done.talk) == (["model"], ["pulled pets@2; next: petmodels predict IMAGE --model ./model"])
    next_words = done.talk[0].partition("next: petmodels ")[2].replace("IMAGE", "cat.jpg").split()
    assert two(*next_words).data[0].split()[-2:] == ["red", "cat.jpg"]
    cached = two("pull", "pets@1", "--json").json
    assert (cached["model"], cached["version"]) == ("pets", 1)
    assert Path(cached["folder"], "model.onnx").exists()


def test_predict_speaks_plain_json_and_csv(two: Command) -> None:
    for colour in ("red", "grey"):
        Path(f"{colour}.png").write_bytes(image_bytes(colour, kind="PNG"))
    words = ("predict", "red.png", "grey.png", "--model", "pets@production")

    plain, lines, table = two(*words), two(*words, "--json", "--top", "3").data, two(*words, "--csv", "--top", "2").data

    assert [line[0] for line in plain.data] == [" ", "?"]
    answers = [json.loads(line) for line in lines]
    assert [(answer["label"], answer["unsure"], len(answer["ranked"])) for answer in answers] == [
        ("red", False, 3),
        (answers[1]["label"], True, 3),
    ]
    assert table[0] == "image,rank,label,probability,unsure"
    assert [line.split(",")[:2] for line in table[1:]] == [
        [name, rank] for name in ("red.png", "grey.png") for rank in "12"
    ]


def test_verify_reads_everything_and_names_what_is_broken(two: Command, tmp_path: Path) -> None:
    good = two("verify", "pets@2")
    assert (good.code, good.data) == (0, ["1 version, 9 files, 1.3 kB read again"])
    assert good.talk[0].startswith("self-test: 2 images answered, off by at most 0.0000")

    (tmp_path / "registry" / version_key("pets", 1)).write_bytes(b"{}")
    bad = two("verify", "--all", "--json")

    assert bad.code == 6
    assert bad.json["findings"] == ["pets@1: the manifest of pets@1 is not a statement with a payload and signatures"]
    repair = "petmodels repair puts back what another registry still has"
    assert bad.talk == [f"petmodels: broken, do not use: 1 finding; {repair}"]


def test_verify_reads_all_of_some_models_alone(two: Command, tmp_path: Path) -> None:
    two("publish", make_bundle(tmp_path / "cats", tag="cats"), "--model", "cats")
    (tmp_path / "registry" / version_key("cats", 1)).write_bytes(b"{}")

    assert two("verify", "--all").code == 6
    assert two("verify", "--all", "--model", "pets").data[0].startswith("2 versions, ")
    assert two("verify", "--all", "--model", "pets", "--model", "cats").code == 6


def test_many_files_are_answered_in_the_memory_of_a_small_container(
    two: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number:02d}.png" for number in range(30)]
    for name in names:
        Path(name).write_bytes(image_bytes("red", kind="PNG"))
    sizes, held, most = list[int](), list[str](), list[int]()
    answers, array = Network.answers, Model.array

    def answered(network: Network, batch: Any) -> Any:
        sizes.append(len(batch))
        del held[: len(batch)]
        return answers(network, batch)

    def decoded(model: Model, image: Any) -> Any:
        held.append(image)
        most.append(len(held))
        return array(model, image)

    monkeypatch.setattr(Network, "answers", answered)
    monkeypatch.setattr(Model, "array", decoded)

    done = two("predict", *names, "--model", "pets")

    assert len(done.data) == 30
    assert (max(sizes), max(most) <= 3 * BATCH) == (BATCH, True)


def test_verify_of_what_never_could_predict_says_so_and_finds_nothing_broken(two: Command, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bare", self_test=False)
    (folder / "labels.json").unlink()
    two("publish", folder, "--model", "bare")

    done = two("verify", "bare@1")

    assert done.code == 0
    assert done.talk == ["petmodels: the self-test was left out: bare@1 can't predict, it lacks: labels.json"]


def test_objects_that_no_name_can_ask_for_hide_nothing(two: Command, tmp_path: Path) -> None:
    folder = write_files(
        tmp_path / "registry",
        {"pets/aliases/NO ALIAS.jsonl": b"x", "pets/aliases/latest.jsonl": b"x", "Not A Model/versions/1.json": b"x"},
    )

    assert [row["model"] for row in two("list", "--json").json] == ["pets"]
    assert [row["aliases"] for row in two("list", "pets", "--json").json] == [["production"], []]
    assert two("history", "pets").code == two("verify", "--all").code == two("prune", "pets", "--keep", "1").code == 0
    assert "pets" in two("pull", "cats").talk[0]
    assert (folder / "Not A Model/versions/1.json").exists()


def test_what_a_killed_first_publish_left_breaks_no_command_and_prune_frees_it(two: Command, tmp_path: Path) -> None:
    storage = Registry(tmp_path / "registry").storage
    storage.create("cats/intents/0000000000000000.json", b'{"format":1,"versions":[],"blobs":[],"newest":null}\n')

    assert [row["newest"] for row in two("list", "--json").json] == [None, 2]
    assert two("verify", "--all").code == 0
    freed = two("prune", "cats", "--keep", "1", "--yes", "--grace-hours", "0")
    assert freed.data[1] == "deleted 0 blobs, 0 B; 0 unfinished uploads, 1 dead note"
    assert [row["model"] for row in two("list", "--json").json] == ["pets"]
    assert two("prune", "cats", "--keep", "1").code == 3


def test_prune_refuses_a_grace_that_is_no_time(two: Command) -> None:
    done = two("prune", "pets", "--keep", "1", "--grace-hours", "1e300")

    assert (done.code, done.talk) == (
        1,
        ["petmodels: notes are respected for 0 to 8760 hours: --grace-hours 1e+300"],
    )


def test_diff_shows_metrics_card_and_files(two: Command) -> None:
    changes = two("diff", "pets@1", "pets@2", "--json").json

    assert changes["metrics"] == {"accuracy": [0.8, 0.9]}
    assert changes["card"] == {"tag": ["1", "2"]}
    assert changes["files"] == {"card.json": "changed", "metrics.json": "changed"}
    assert ["metric", "accuracy", "0.8", "0.9"] in [line.split() for line in two("diff", "pets@1", "pets@2").data]


def test_diff_shows_labels_and_params(two: Command, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "third", self_test=False)
    (folder / "labels.json").write_text(json.dumps({"format": 1, "labels": ["red", "green", "teal"]}))
    (folder / "params.yaml").write_text("train:\n  epochs: 5\n")
    two("publish", folder, "--model", "pets")

    lines = two("diff", "pets@2", "pets@3").data

    assert [line.split() for line in lines if line.startswith("label ")] == [
        ["label", "blue", "there", "removed"],
        ["label", "teal", "added"],
    ]
    assert lines[-2:] == ["-  epochs: 1", "+  epochs: 5"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (  # each line is less than 1 % of all, so that difflib passes over none
            "\n".join(str(number % 150) for number in range(30_000)),
            "\n".join(str((number * 7 + number // 150) % 150) for number in range(40_000)),
            "params differ: 30000 and 40000 lines",
        ),
        ("epochs: 1", "x" * 100_000, "params differ: 1 and 1 lines"),
    ],
    ids=["many lines", "a long line"],
)
def test_params_that_difflib_would_take_for_ever_over_are_only_counted(old: str, new: str, told: str) -> None:
    facts: Any = {"metrics": {}, "card": {}, "files": (), "git_commit": "", "message": "", "dvc_lock": ""}
    before, after = (SimpleNamespace(name="pets", params=text, **facts) for text in (old, new))

    assert diff(before, after).params == (told,)  # type: ignore[arg-type]
    assert diff(after, after).params == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        (Origin(dvc_lock="stages:\n  train: 2\n"), ["origin", "dvc.lock", "changed"]),
        (
            Origin(params="train: 1", dvc_lock="stages:\n  train: 1\n"),
            ["params", "differ", "in", "nothing", "but", "line", "ends"],
        ),
        (Origin(git_commit="b" * 40, dvc_lock="stages:\n  train: 1\n"), ["origin", "git_commit", "b" * 40]),
    ],
    ids=["dvc.lock", "a line end", "commit"],
)
def test_versions_that_differ_in_their_origin_alone_are_not_called_equal(
    origin: Origin, line: list[str], run: Command, folder_registry: Registry, tmp_path: Path
) -> None:
    folder = write_files(tmp_path / "bundle", {"a": b"a"})
    first = Origin(params="train: 1\n" if origin.params else "", dvc_lock="stages:\n  train: 1\n")
    for one in (first, origin):
        folder_registry.publish(folder, "pets", one)

    assert line in [shown.split() for shown in run("diff", "pets@1", "pets@2").data]


def test_the_lines_of_dvc_lock_that_changed_are_in_a_diff(folder_registry: Registry, bundle: Path) -> None:
    for number in (1, 2):
        folder_registry.publish(bundle, "pets", Origin(dvc_lock=f"stages:\n  train: {number}\n"))

    found = folder_registry.diff("pets@1", "pets@2")

    assert found.dvc_lock == ("--- pets@1", "+++ pets@2", "@@ -2 +2 @@", "-  train: 1", "+  train: 2")
    assert (found.params, found.origin) == ((), {})


def test_labels_without_end_are_compared_at_once() -> None:
    facts: Any = {"metrics": {}, "card": {}, "files": (), "git_commit": "", "message": "", "params": "", "dvc_lock": ""}
    one: Any = SimpleNamespace(name="pets", **facts)
    old, new = ([f"{word} {number}" for number in range(100_000)] for word in ("old", "new"))

    assert diff(one, one, (old, new)).labels == (tuple(old), tuple(new))


def test_copy_to_a_stick_and_back(two: Command, tmp_path: Path) -> None:
    assert two("copy", "pets@2", "./stick").data == ["pets@2: copied to ./stick"]
    assert two("copy", "pets@2", "./stick", "--json").json["new"] is False
    back = two("copy", "pets@2", tmp_path / "other", "--registry", "./stick")

    assert back.code == 0
    assert Registry(tmp_path / "other").verify_all("pets").findings == ()


def test_prune_only_says_what_it_would_do_until_told(two: Command, tmp_path: Path) -> None:
    two("publish", make_bundle(tmp_path / "third", tag="3"), "--model", "pets")
    two("promote", "pets@3", "production")

    dry = two("prune", "pets", "--keep", "1")
    assert dry.data[0] == "would delete versions of pets: 1"
    assert dry.talk == ["nothing was deleted; to do it: petmodels prune pets --keep 1 --yes"]
    assert two("prune", "pets", "--keep", "1", "--json").json["deleted"] is False
    assert two("prune", "pets", "--keep", "1", "--yes").data[0] == "deleted versions of pets: 1"
    assert [row["version"] for row in two("list", "pets", "--json").json] == [3, 2]


def test_keygen_sign_and_trust(run: Command, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run("keygen", "my.key")
    run("publish", bundle, "--model", "pets", "--sign", "my.key")
    monkeypatch.setenv(TRUSTED_KEYS, made.data[0])

    assert run("show", "pets", "--json").json["signed_by"] == made.data
    assert run("pull", "pets@1").code == 0
    assert run("keygen", "my.key").talk == [
        "petmodels: a file of that name exists, and keys are never overwritten: my.key"
    ]


def test_show_tells_signatures_that_hold_from_those_that_do_not(
    run: Command, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = (run("keygen", name).data[0] for name in ("our.key", "their.key"))
    run("publish", bundle, "--model", "pets", "--sign", "our.key")
    path = tmp_path / "registry" / version_key("pets", 1)
    statement = load_statement(path.read_bytes(), "")
    claims = (Signature(theirs, statement.signatures[0].signature), Signature("ml-dsa-65:AAAA", "of another kind"))
    path.write_bytes(Statement(statement.payload, (*statement.signatures, *claims)).to_bytes())

    monkeypatch.setenv("PETMODELS_CACHE", str(tmp_path / "another"))  # the publisher's remembers what it has signed
    rows, found = run("show", "pets").data, run("show", "pets", "--json").json

    assert [row.split()[-1] for row in rows if row.startswith("signed by")] == [ours]
    assert [row for row in rows if row.startswith("signature doesn't hold")] == [
        f"signature doesn't hold  {theirs}, ml-dsa-65:AAAA"
    ]
    assert (found["signed_by"], found["signatures_that_do_not_hold"]) == ([ours], [theirs, "ml-dsa-65:AAAA"])


def test_doctor_answers_question_by_question(two: Command, tmp_path: Path) -> None:
    assert {row["answer"] for row in two("doctor", "--json").json} == {"yes"}
    assert two("doctor").data[0].split() == ["check", "answer", "found"]
    (tmp_path / "file").write_text("no folder")
    broken = two("doctor", "--registry", tmp_path / "file")
    assert broken.code == 1
    assert any("a registry's folder is wanted, this is a file" in line for line in broken.data)


def test_doctor_calls_trusted_keys_that_were_left_empty_a_fault(two: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED_KEYS, "")

    done = two("doctor", "--json")

    (keys,) = (row for row in done.json if row["question"] == "trusted keys")
    assert (done.code, keys["answer"]) == (1, "no")
    assert keys["found"].startswith("PETMODELS_TRUSTED_KEYS is set and holds no key")


def test_doctor_leaves_what_it_says_and_nothing_else(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "registry").mkdir()
    monkeypatch.setenv("PETMODELS_CACHE", str(tmp_path / "users" / "cache"))
    before = set(tmp_path.rglob("*"))

    assert run("doctor").code == 0

    left = {path.relative_to(tmp_path).as_posix() for path in set(tmp_path.rglob("*")) - before}
    assert left == {"users", "users/cache", "registry/petmodels.json", "registry/.lock"}


def test_doctor_makes_no_registry_of_a_typing_mistake(two: Command, tmp_path: Path) -> None:
    done = two("doctor", "--registry", tmp_path / "regsitry")

    told = f"no such folder; check the address, or make it with mkdir: {tmp_path}/regsitry"
    assert done.code == 3
    assert [line.split("  ")[-1] for line in done.data if "  no  " in line] == [told]
    assert not (tmp_path / "regsitry").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        ("pull pets@9", 3, "no version 9 of pets; published versions: 1, 2"),
        ("pull pets@champion", 3, "pets has no alias champion; it has: production"),
        ("show cats", 3, "no model cats in REGISTRY; models there: pets"),
        ("promote pets@2 latest", 1, "latest always names the newest version and can't be moved; "
         "choose another alias: latest"),
        ("promote pets@2 Prod", 1, "an alias is 1 to 64 of a-z 0-9 . _ - from a letter to a letter or digit: 'Prod'"),
        ("promote pets@2 a..b", 1, "an alias is 1 to 64 of a-z 0-9 . _ - from a letter to a letter or digit: 'a..b'"),
        ("history cats", 3, "no model cats in REGISTRY; models there: pets"),
        ("list --registry s3:/bucket/models", 1, "after s3: come two slashes, as in s3://bucket/prefix, file:///folder "
         "or a folder's path; a folder of this name is ./s3:/bucket/models"),
        ("list --registry gone", 3, "no registry in HERE/gone: nothing was ever published there"),
        ("verify --all --registry gone", 3, "no registry in HERE/gone: nothing was ever published there"),
        ("list --registry ../bundle1/model.onnx", 1, "a registry's folder is wanted, this is a file: "
         "HERE/../bundle1/model.onnx"),
        ("copy pets@1 REGISTRY", 1, "this is the registry itself, name another one: REGISTRY"),
        ("repair pets@1 REGISTRY", 1, "this is the registry itself, name another one: REGISTRY"),
        ("publish nowhere --model pets", 1, "no such folder; a bundle is a folder with a model in it: nowhere"),
        ("publish . --model pets", 1, "the folder is empty, there is nothing to publish: ."),
        ("publish . --model ../x", 1, "a model's name is 1 to 64 of a-z 0-9 . _ - between letters or digits: '../x'"),
        ("list --registry ftp://x/y", 1, "a registry is s3://bucket/prefix, file:///folder or a folder's path: "
         "ftp://x/y"),
        ("verify", 2, "give one version, or --all; for example: petmodels verify pets@7"),
        ("verify pets --all", 2, "give one version, or --all; for example: petmodels verify pets@7"),
        ("verify pets@2 --model pets", 2, "--model is for --all; for example: petmodels verify --all --model pets"),
        ("verify --all --model cats", 3, "no model cats in REGISTRY; models there: pets"),
        ("predict x.jpg --model pets --json --csv", 2, "choose one of --json and --csv"),
        ("predict missing.jpg --model pets", 7, "no such file: missing.jpg"),
        ("predict . --model pets", 3, "no images in: ."),
        ("predict - x.jpg - --model pets", 2, "one image can be read from stdin, so name it once: -"),
        ("predict x.jpg --model plain", 3, "no model plain in REGISTRY; models there: pets; the folder is ./plain"),
        ("predict x.jpg --model ./plain/file", 1, "not a folder; a model is NAME@VERSION, NAME@ALIAS or a bundle's "
         "folder: plain/file"),
        ("predict plain/pipe --model pets", 7, "not a plain file; use - for stdin: plain/pipe"),
        ("publish plain/file --model pets", 1, "not a folder; a bundle is a folder with a model in it: plain/file"),
        ("publish plain --model pets --dvc-lock plain/pipe", 1, "not a plain file: plain/pipe"),
        ("rollback production pets", 3, "no model production in REGISTRY; models there: pets"),
        ("pull pets@1 plain/file/model", 9, "this can't be used (Not a directory); choose another place, or choose "
         "another folder: plain/file/model"),
        ("predict x.jpg --model ./gone", 1, "no such folder; a model is NAME@VERSION, NAME@ALIAS or a bundle's folder: "
         "gone"),
        ("publish . --model pets --sign no.key", 1, "no key can be read here; petmodels keygen makes one: no.key"),
    ],
)  # fmt: skip
def test_a_mistake_costs_one_line_and_its_exit_code(
    two: Command, words: str, code: int, line: str, tmp_path: Path
) -> None:
    places = {"REGISTRY": str(tmp_path / "registry"), "HERE": str(tmp_path / "here")}
    for word, place in places.items():
        words, line = words.replace(word, place), line.replace(word, place)

    if "plain" in words:
        write_files(Path("plain"), {"file": b"text"})
        os.mkfifo("plain/pipe")

    done = two(*words.split())

    assert (done.code, done.data) == (code, [])
    assert done.talk[0] == f"petmodels: {line}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "predict LONG --model pets",
        "predict x.jpg --model ./LONG",
        "publish LONG --model pets",
        "publish ../bundle --model pets --dvc-lock LONG",
        "publish ../bundle --model pets --sign LONG",
        "pull pets@1 LONG",
        "copy pets@1 LONG",
        "list --registry LONG",
        "keygen LONG",
    ],
)
def test_a_name_that_no_file_can_have_costs_one_line(two: Command, bundle: Path, words: str) -> None:
    assert bundle.name == "bundle"

    done = two(*words.replace("LONG", "x" * 300).split())

    assert done.code in {1, 7, 9}
    assert done.talk[0].startswith("petmodels: ")
    assert "x" * 300 in done.talk[0]


@pytest.mark.slow
def test_a_file_whose_name_is_no_text_is_answered_and_named_in_valid_json(two: Command, tmp_path: Path) -> None:
    """On a terminal of strict UTF-8, as most are; JSON's own escape gives the name's bytes back."""
    name = os.fsdecode(b"caf\xe9.png")
    folder = tmp_path / name
    folder.mkdir()
    (folder / name).write_bytes(image_bytes("red"))
    command = [sys.executable, "-m", "petmodels", "predict", str(folder), "--model", "pets"]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict", "PYTHONPATH": str(Path(__file__).parents[2])}

    def said(*options: str) -> str:
        return subprocess.run(
            [*command, *options], capture_output=True, env=environment, check=True, encoding="utf-8"
        ).stdout

    assert os.fsencode(json.loads(said("--json"))["image"]).endswith(b"caf\xe9.png")
    assert "caf\\udce9.png,1,red," in said("--csv")
    assert "caf\N{REPLACEMENT CHARACTER}.png" in said()


def test_a_registry_whose_folders_name_is_no_text_can_be_used(run: Command, bundle: Path) -> None:
    place = os.fsdecode(b"caf\xe9")

    assert run("publish", bundle, "--model", "pets", "--registry", place).code == 0
    assert run("pull", "pets@1", place + "/model", "--registry", place, "--json").code == 0


@pytest.mark.parametrize("command", ["copy", "repair"])
def test_a_variable_that_is_not_set_names_no_registry(two: Command, command: str) -> None:
    done = two(command, "pets@1", "")

    assert (done.code, done.data) == (1, [])
    assert done.talk[0].startswith("petmodels: this address of a registry is empty; give one, for example: s3://")


def test_the_next_command_names_the_registry_that_the_environment_does_not(two: Command, bundle: Path) -> None:
    done = [two("publish", bundle, "--model", "pets", "--registry", "my stick")]
    done += [two("promote", "pets", "production", "--registry", "my stick")]

    assert [one.talk for one in done] == [
        ["published; next: petmodels promote pets@1 production --registry 'my stick'"],
        ["done; next: petmodels pull pets@production ./model --registry 'my stick'"],
    ]


@pytest.mark.parametrize("words", ["list --jsn", "prune pets --keep 0", "prune pets", "predict x.jpg", "promote pets"])
def test_what_can_not_be_understood_exits_2(run: Command, words: str) -> None:
    assert run(*words.split()).code == 2


def test_the_program_tells_its_version_and_helps_by_a_short_name_too(run: Command) -> None:
    assert run("--version").data == [f"petmodels {petmodels.__version__}"]
    assert run("-h").data == run("--help").data
    assert run("predict", "-h").data == run("predict", "--help").data


def test_a_list_says_that_there_is_more(two: Command) -> None:
    more = two("list", "pets", "--limit", "1")

    assert (len(more.data), more.talk) == (2, ["there are more; for example: --limit 10"])
    assert [row["version"] for row in two("list", "pets", "--limit", "1", "--json").json] == [2]
    assert two("list", "pets", "--limit", "2").talk == []


def test_history_is_told_in_the_order_of_time(two: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {"b": ("2026-01-01", "2026-01-03"), "a": ("2026-01-02", "2026-01-01")}  # a clock went back
    aliases = [
        SimpleNamespace(name=name, steps=[SimpleNamespace(serial=n, at=at, action="", version=1, note="")
                                          for n, at in enumerate(times)])
        for name, times in sorted(steps.items())
    ]  # fmt: skip
    monkeypatch.setattr(Registry, "aliases", lambda *_: aliases)

    rows = two("history", "pets", "--json").json

    assert [(row["alias"], row["serial"]) for row in rows] == [("b", 0), ("a", 0), ("a", 1), ("b", 1)]


def test_a_next_command_can_be_typed_whatever_the_folders_name(two: Command) -> None:
    Path("my folder").mkdir()

    done = two("pull", "pets@1", "my folder/the model")

    assert done.talk == ["pulled pets@1; next: petmodels predict IMAGE --model './my folder/the model'"]


def test_a_folder_that_may_not_be_read_is_told_and_the_others_are_answered(
    two: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(Path("cats"), {"a/1.jpg": image_bytes("red"), "b/2.jpg": image_bytes("red")})
    scan = os.scandir

    def refused(path: Any) -> Any:
        if str(path).endswith("/a"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    done = two("predict", "cats", "--model", "pets")

    assert [line.split()[-1] for line in done.data] == ["cats/b/2.jpg"]
    assert (done.code, done.talk) == (
        7,
        ["petmodels: a folder can't be read (Permission denied): cats/a", "petmodels: 1 folder could not be read"],
    )


@pytest.mark.parametrize(
    ("data", "code", "told"),
    [(b"", 7, "the file is empty, or was read to its end before: -"), (image_bytes("red"), 0, "")],
    ids=["empty", "an image"],
)
def test_what_comes_by_stdin_is_called_as_it_was_asked_for(
    two: Command, data: bytes, code: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))

    done = two("predict", "-", "--model", "pets", "--json")

    assert done.code == code
    assert [json.loads(line)["image"] for line in done.data] == ["-"] * (not code)
    assert done.talk[:1] == [f"petmodels: {told}"] * bool(code)


def test_without_a_registry_the_line_says_how_to_name_one(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PETMODELS_REGISTRY")

    done = run("list")

    assert (done.code, done.talk) == (
        1,
        ["petmodels: no registry given; set PETMODELS_REGISTRY or use --registry, for example: s3://my-bucket/models"],
    )


def test_a_store_that_does_not_answer_exits_5(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://ann:secret@127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not/printed/anywhere")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    done = run("list", "--registry", "s3://models/here")

    assert (done.code, len(done.talk)) == (5, 1)
    assert f"s3://models/here at 127.0.0.1:{port} did not answer (no connection)" in done.talk[0]
    assert "ann" not in done.talk[0]


@pytest.mark.parametrize(("name", "value"), [("AWS_MAX_ATTEMPTS", "many"), ("PETMODELS_TIMEOUT", "soon")])
def test_a_setting_that_is_no_number_is_refused(
    run: Command, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    done = run("list", "--registry", "s3://models/here")

    assert (done.code, len(done.talk)) == (1, 1)
    assert done.talk == [f"petmodels: {name} is no number: {value}"]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("AWS_MAX_ATTEMPTS", "0", "AWS_MAX_ATTEMPTS must be a number from 1 up: 0"),
        ("AWS_MAX_ATTEMPTS", "inf", "AWS_MAX_ATTEMPTS must be a number from 1 up: inf"),
        ("PETMODELS_TIMEOUT", "nan", "PETMODELS_TIMEOUT must be a number from 0.001 up: nan"),
        ("AWS_ENDPOINT_URL", "nowhere", "AWS_ENDPOINT_URL is no address such as https://host:9000"),
        ("AWS_ENDPOINT_URL", "http://[x", "AWS_ENDPOINT_URL is no address such as https://host:9000"),
        ("PETMODELS_REGISTRY", "s3://[x", "not an address (Invalid IPv6 URL): s3://[x"),
        ("PETMODELS_REGISTRY", "file://[x", "not an address (Invalid IPv6 URL): file://[x"),
        ("PETMODELS_REGISTRY", "s3://two words/x", "an S3 registry is s3://bucket or s3://bucket/prefix: s3://two w"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(
    run: Command, name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETMODELS_REGISTRY", "s3://models/here")
    monkeypatch.setenv(name, value)

    done = run("list")

    assert (done.code, len(done.talk)) == (1, 1)
    assert done.talk[0].startswith(f"petmodels: {told}")


def test_a_damaged_blob_exits_6(two: Command, tmp_path: Path) -> None:
    for blob in (tmp_path / "registry" / "pets" / "blobs").iterdir():
        blob.chmod(0o644)
        blob.write_bytes(b"x" * blob.stat().st_size)

    assert two("pull", "pets@1", "out").code == 6
    assert not Path("out").exists()


def test_without_onnxruntime_pull_works_and_predict_says_what_to_install(
    two: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    assert two("pull", "pets@2", "model").code == 0
    done = two("predict", "x.jpg", "--model", "./model")

    text = "petmodels: predicting needs onnxruntime, pulling does not; run: pip install 'petmodels[onnx]'"
    assert (done.code, done.talk) == (9, [f"{text} (for macOS and 64-bit Linux with glibc 2.28 or newer, no Alpine)"])


@pytest.mark.slow
def test_ctrl_c_ends_in_one_line(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "cat.png").write_bytes(image_bytes("red", kind="PNG"))
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-m", "petmodels", "predict", "cat.png", "-", "--model", str(bundle)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, env=environment, cwd=tmp_path) as process:  # type: ignore[call-overload]
        process.stdout.readline()  # the first answer is there, and now it waits for stdin
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "petmodels: interrupted; run it again to go on\n"
    assert process.returncode == 130


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["the process", "all threads but the main one"])
def test_a_second_ctrl_c_does_not_wait_for_a_file_of_any_size(tmp_path: Path, bundle: Path, whom: str) -> None:
    """Nor does one that wakes no thread that could act on it, as when it comes as the main one begins to wait."""
    os.truncate(bundle / "model.onnx", 10**12)  # takes no room, and minutes to be hashed
    command = [sys.executable, "-m", "petmodels", "publish", str(bundle), "--model", "pets", "--registry", "registry"]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path) as process:
        while not reads(process.pid, "model.onnx"):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.readline() == "petmodels: interrupted; run it again to go on\n"
        if whom == "the process":
            process.send_signal(signal.SIGINT)
        else:
            # Those that have nothing left to hash are just ending, and a signal to such a one may be lost with it; the
            # one that hashes goes on for minutes.
            threads = {int(path.name) for path in Path(f"/proc/{process.pid}/task").iterdir()} - {process.pid}
            assert [ctypes.CDLL(None).tgkill(process.pid, thread, signal.SIGINT) for thread in threads].count(0) > 0
        try:
            assert process.wait(30) == 130
        finally:
            process.kill()
        assert process.stderr.read() == ""


def reads(pid: int, name: str) -> bool:
    """Say whether the process has a file of this name open."""
    try:
        return any(path.resolve().name == name for path in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:  # closed just now
        return False


@pytest.mark.slow
def test_a_reader_that_leaves_early_is_no_error(two: Command, tmp_path: Path) -> None:
    command = f"{quote(sys.executable)} -m petmodels history pets --registry {tmp_path}/registry --json | head -n 1"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, check=False)

    assert (done.stdout, done.stderr) == ("[\n", "")


def test_what_a_stranger_wrote_does_not_steer_the_terminal(run: Command, bundle: Path) -> None:
    run("publish", bundle, "--model", "pets", "--message", "\x1b[2Jgone")

    assert run("list", "pets").data[1].endswith("\N{REPLACEMENT CHARACTER}[2Jgone")


def test_what_a_stranger_wrote_is_escaped_in_json_and_says_the_same(run: Command, bundle: Path) -> None:
    odd, letters = "\x9b31m \u202e \u2028 \x7f \U000e0001", "é ü 猫 🐈 5\u202fPM"
    run("publish", bundle, "--model", "pets", "--message", f"{odd} {letters}")

    lines = run("show", "pets", "--json").data

    assert all(line.replace("\u202f", " ").isprintable() for line in lines)
    (message,) = (line for line in lines if '"message"' in line)
    assert json.loads("\n".join(lines))["message"] == f"{odd} {letters}"
    assert message.endswith(rf'"\u009b31m \u202e \u2028 \u007f \udb40\udc01 {letters}",')


@pytest.mark.parametrize("option", ["--json", "--csv", "--top=1"])
def test_the_name_of_a_strangers_image_does_not_steer_the_terminal(run: Command, bundle: Path, option: str) -> None:
    Path("cats").mkdir()
    Path("cats/\x9b31m\x1b]0;é.png").write_bytes(image_bytes("red"))

    (line,) = (line for line in run("predict", "cats", "--model", bundle, option).data if "é.png" in line)

    assert line.isprintable()
    assert option == "--top=1" or r"\u009b31m\u001b]0;é.png" in line


def completion(*words: str, **environment: str) -> str:
    """Return what the installed program says to a shell that asks it for completions."""
    program = "import sys; sys.argv[0] = 'petmodels'; from petmodels.main import main; main()"
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_completion_script(shell: str) -> None:
    found = completion("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")

    assert f"_PETMODELS_COMPLETE=complete_{shell}" in found


@pytest.mark.slow
@pytest.mark.parametrize(("line", "word"), [("petmodels pro", "promote"), ("petmodels predict --cs", "--csv")])
def test_the_shell_completes_commands_and_options(line: str, word: str) -> None:
    asked = {"_PETMODELS_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}

    assert completion(**asked).split() == [word]
