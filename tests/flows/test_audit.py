"""An audit says what a registry holds, what each version cost, and what is broken."""

import shutil
import socket
from pathlib import Path

import pytest

from flows import reach
from flows.audit import audited, findings, page, rows, summary
from flows.settings import Settings
from petmodels.errors import NotFoundError
from petmodels.registry import Registry
from tests.petmodels.bundles import write_files


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A registry with two versions that share a file; production went from the first to the second."""
    found = Registry(tmp_path / "registry", cache=tmp_path / "cache")
    for number, files in enumerate(({"a": b"1", "shared": b"x" * 2000}, {"a": b"22", "shared": b"x" * 2000})):
        found.publish(write_files(tmp_path / f"bundle-{number}", files), "pets")
        found.promote(f"pets@{number + 1}", "production", message="better | and smaller")
    return found


def test_each_version_is_charged_for_what_it_added(registry: Registry) -> None:
    table = rows([audited(registry, "pets")])

    assert [(row["version"], row["aliases"], row["size"], row["added"]) for row in table] == [
        ("pets@2", "production", "2.0 kB", "2 B"),
        ("pets@1", "", "2.0 kB", "2.0 kB"),
    ]


def test_a_sound_registry_is_said_to_be_sound(registry: Registry) -> None:
    audits = [audited(registry, "pets")]

    assert findings(audits) == []
    assert summary(audits, "here") == "nothing is broken: 2 versions, 2.0 kB, in here"
    text = page(audits, "All is well.")
    assert "| production | 2 |" in text
    assert "better \\| and smaller |" in text
    assert "would free nothing" in text


def test_what_killed_writers_left_is_counted(registry: Registry) -> None:
    registry.storage.create(f"pets/blobs/{'0' * 64}", b"y" * 500)

    text = page([audited(registry, "pets")], "")

    assert "1 file, 500 B, and 0 unfinished uploads" in text


def test_changed_bytes_and_a_broken_manifest_are_named_and_hide_nothing(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "registry/pets"
    shared = next(path for path in (folder / "blobs").iterdir() if path.stat().st_size == 2000)
    shared.write_bytes(b"y" * 2000)
    first = next((folder / "versions").glob("*-1.json"))
    first.write_bytes(b"{}")

    audits = [audited(registry, "pets")]

    assert summary(audits, "").startswith("broken, do not use: pets@1: ")
    assert summary(audits, "").endswith(" (and 1 more); petmodels repair puts back what another registry still has")
    assert "pets@2/shared: its bytes were changed" in findings(audits)
    assert [row["size"] for row in rows(audits)] == ["2.0 kB", "broken"]
    assert "A prune would refuse" in page(audits, "")


def test_a_withdrawn_version_is_told_with_its_reason_and_breaks_nothing(registry: Registry) -> None:
    registry.withdraw("pets@1", "asked for | by its owner", is_dry=False)

    audits = [audited(registry, "pets")]

    assert findings(audits) == []
    assert [(row["version"], row["size"], row["added"]) for row in rows(audits)] == [
        ("pets@2", "2.0 kB", "2.0 kB"),
        ("pets@1", "withdrawn", "withdrawn"),
    ]
    assert "- pets@1 was withdrawn on 20" in page(audits, "")
    assert "asked for \\| by its owner" in page(audits, "")


def test_a_model_of_which_every_version_was_withdrawn_is_no_error(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry", cache=tmp_path / "cache")
    registry.publish(write_files(tmp_path / "bundle", {"a": b"1"}), "pets")
    registry.withdraw("pets@1", "asked for", is_dry=False)

    assert "Every version was withdrawn." in page([audited(registry, "pets")], "")


def test_an_alias_that_was_rolled_back_is_broken_and_hides_no_other(registry: Registry, tmp_path: Path) -> None:
    registry.promote("pets@1", "canary")
    path = tmp_path / "registry/pets/aliases/production.jsonl"
    registry.resolve("pets@production")
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])

    audits = [audited(registry, "pets")]

    memory = registry.memory.folder / "pets"
    assert findings(audits) == [
        "pets@production: the registry shows an older pets@production (step 1, pets@1) than this machine has seen "
        "(step 2, pets@2); somebody rolled the store back: bring the newer state back or, if it was meant, delete "
        f"{memory} on each machine that says this: {tmp_path / 'registry'}"
    ]
    assert summary(audits, "") == f"broken, do not use: {findings(audits)[0]}"
    assert "| canary | 1 |" in page(audits, "")
    assert "| production |" not in page(audits, "")

    shutil.rmtree(memory)
    assert findings([audited(registry, "pets")]) == []


def test_an_alias_that_was_seen_and_is_gone_is_broken(registry: Registry, tmp_path: Path) -> None:
    registry.resolve("pets@production")
    (tmp_path / "registry/pets/aliases/production.jsonl").unlink()

    audits = [audited(registry, "pets")]

    assert findings(audits)[0].startswith("pets@production: this machine has seen it, and it is gone; bring it back ")
    assert "No sound alias names a version." in page(audits, "")


def test_versions_that_were_seen_and_are_gone_are_broken(registry: Registry, tmp_path: Path) -> None:
    registry.publish(write_files(tmp_path / "third", {"a": b"third"}), "pets")
    registry.publish(write_files(tmp_path / "cat", {"a": b"cat"}), "cats")
    (tmp_path / "registry/pets/versions/99999996-3.json").unlink()
    shutil.rmtree(tmp_path / "registry/cats")

    audits = [audited(registry, model) for model in registry.models_seen()]

    assert [finding.partition(", and ")[0] for finding in findings(audits)] == [
        "cats@1: this machine has seen cats@1",
        "pets@3: this machine has seen pets@3",
    ]
    assert "## cats\n\nNo version is there any more." in page(audits, "")


def test_a_first_publish_that_was_killed_is_told_and_breaks_nothing(registry: Registry) -> None:
    registry.storage.create(f"cats/blobs/{'0' * 64}", b"y" * 500)

    audits = [audited(registry, model) for model in registry.models()]

    assert summary(audits, "here") == "nothing is broken: 2 versions, 2.0 kB, in here"
    text = page(audits, "")
    assert "## cats\n\nNo version was published yet" in text
    assert "1 file, 500 B, and 0 unfinished uploads" in text


def test_a_model_without_versions_is_an_error_that_names_the_others(registry: Registry) -> None:
    with pytest.raises(NotFoundError, match=r"no model cats .* models there: pets"):
        audited(registry, "cats")


def test_a_git_remote_that_says_nothing_holds_no_audit_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over ssh and git:// git would wait without end, and nobody be told of what the audit has found."""
    monkeypatch.setattr(reach, "MOST_SECONDS", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"git://127.0.0.1:{silent.getsockname()[1]}/project.git"
        place = {"registry": str(tmp_path), "git": address, "dvc_remote": str(tmp_path), "workspaces": tmp_path}

        told = reach.lacking(Settings(**place))

        silent.settimeout(10)
        connection, _ = silent.accept()
        with connection:
            connection.settimeout(10)
            while connection.recv(4096):  # until git is gone
                pass
    assert told[0] == "git ls-remote: it hasn't ended within 3 seconds"
