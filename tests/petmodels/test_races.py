"""Sixteen processes at once, on a folder and on a real S3: nothing is lost, nothing is there twice."""

from pathlib import Path
from typing import Any

import pytest

from petmodels.registry import Registry
from petmodels.tombstone import Tombstone
from petmodels.versions import read_manifest, read_version
from tests.petmodels.bundles import write_files
from tests.petmodels.race_runner import race

NUM_PROCESSES = 16


@pytest.fixture
def caches(tmp_path: Path) -> str:
    return str(tmp_path / "caches" / "{number}")


@pytest.mark.slow
def test_sixteen_publish_at_once_and_get_consecutive_numbers(address: str, tmp_path: Path, caches: str) -> None:
    answers = race("publish", NUM_PROCESSES, address=address, folder=tmp_path / "bundles", cache=caches, each=2)

    registry = Registry(address)
    numbers = [number for own in answers for number in own]
    assert sorted(numbers) == list(range(1, 2 * NUM_PROCESSES + 1))
    assert registry.verify_all("pets").findings == ()
    manifests = [read_manifest(registry.storage, "pets", number) for number in range(2, 2 * NUM_PROCESSES + 1)]
    assert [one.parent and one.parent.version for one in manifests] == list(range(1, 2 * NUM_PROCESSES))
    assert list(registry.storage.list("pets/intents/")) == []


@pytest.mark.slow
def test_sixteen_promote_at_once_and_each_step_is_in_the_history(address: str, tmp_path: Path, caches: str) -> None:
    registry = Registry(address)
    for number in range(NUM_PROCESSES):
        registry.publish(write_files(tmp_path / str(number), {"a": bytes([number])}), "pets")

    steps = race("promote", NUM_PROCESSES, address=address, cache=caches)

    history = registry.aliases("pets")[0].steps
    assert sorted(steps) == list(range(1, NUM_PROCESSES + 1))
    assert sorted(step.version for step in history) == list(range(1, NUM_PROCESSES + 1))
    assert [step.previous for step in history[1:]] == [step.sha256 for step in history[:-1]]


@pytest.mark.slow
def test_sixteen_roll_back_at_once_and_only_what_each_has_seen(address: str, tmp_path: Path, caches: str) -> None:
    registry = Registry(address)
    for number in range(1, 21):
        registry.publish(write_files(tmp_path / str(number), {"a": bytes([number])}), "pets")
        registry.promote(f"pets@{number}", "production")

    answers = race("rollback", NUM_PROCESSES, address=address, cache=caches)

    done = [one for one in answers if isinstance(one, int)]
    refused = [one for one in answers if isinstance(one, str)]
    alias = registry.aliases("pets")[0]
    assert done
    assert len(set(done)) == len(done) == len(alias.steps) - 20
    assert alias.version == 20 - len(done)
    assert all(one.startswith("ConflictError: somebody moved it meanwhile") for one in refused)


@pytest.mark.slow
def test_withdrawing_beside_promoting_leaves_no_alias_at_a_tombstone(address: str, tmp_path: Path, caches: str) -> None:
    registry = Registry(address)
    for number in range(1, 9):
        registry.publish(write_files(tmp_path / str(number), {"own": b"%d" % number, "shared": b"shared"}), "pets")

    answers = race("promote_or_withdraw", 4, address=address, cache=caches, versions=8)

    told = [tuple(one) for own in answers for one in own]
    withdrawn = {version for version, what in told if what == "withdrawn"}
    promoted = {version for version, what in told if what == "promoted"}
    assert withdrawn | promoted
    assert withdrawn & promoted == set()
    assert {what for _, what in told} <= {"withdrawn", "promoted", "ConflictError", "WithdrawnError", "RequestError"}
    assert {alias.version for alias in registry.aliases("pets")} == promoted
    verified = registry.verify_all("pets")
    assert (verified.findings, verified.num_withdrawn) == ((), len(withdrawn))


@pytest.mark.slow
def test_withdrawing_beside_publish_and_prune_loses_no_blob_and_no_tombstone(
    address: str, tmp_path: Path, caches: str
) -> None:
    registry = Registry(address)
    for number in range(5):
        bundle = write_files(tmp_path / "bundles" / str(number), {"own": b"%d" % number, "shared": b"shared"})
        registry.publish(bundle, "pets")

    bundles = tmp_path / "bundles"
    answers = race("prune_withdraw_or_publish", NUM_PROCESSES // 2, address=address, cache=caches, bundles=bundles)

    assert [one for one in answers if isinstance(one, str)] == []
    withdrawn = {version for own in answers[1::4] for version in own}
    found = [read_version(registry.storage, "pets", version) for version in sorted(withdrawn)]
    assert withdrawn
    assert all(isinstance(one, Tombstone) for one in found)
    assert registry.verify_all("pets").findings == ()
    published = [version for number, own in enumerate(answers) if number % 4 > 1 for version in own]
    assert sorted(published) == list(range(6, 6 + len(published)))


@pytest.mark.slow
def test_publish_during_prune_loses_no_blob(address: str, tmp_path: Path, caches: str) -> None:
    registry = Registry(address)
    for number in range(5):
        bundle = write_files(tmp_path / "bundles" / str(number), {"own": b"%d" % number, "shared": b"shared"})
        registry.publish(bundle, "pets")

    answers = race("prune_or_publish", NUM_PROCESSES, address=address, cache=caches, bundles=tmp_path / "bundles")

    assert [one for one in answers if isinstance(one, str)] == []
    assert any(versions for pruned in answers[::4] for versions in pruned)
    assert registry.verify_all("pets").findings == ()
    published = [version for number, own in enumerate(answers) if number % 4 for version in own]
    assert sorted(published) == list(range(6, 6 + len(published)))
    assert registry.versions("pets")[0] == max(published)
    assert list(registry.storage.list("pets/intents/")) == []


def test_a_number_that_was_taken_and_pruned_meanwhile_is_not_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others, registry = Registry(tmp_path / "registry"), Registry(tmp_path / "registry")
    bundles = [write_files(tmp_path / str(number), {"a": bytes([number])}) for number in range(4)]
    others.publish(bundles[0], "pets")
    upload, taken = registry.storage.upload, []

    def slow_upload(*words: Any) -> bool:
        taken.extend(others.publish(bundle, "pets").manifest.version for bundle in bundles[1:3])
        others.promote("pets@3", "production")
        others.prune("pets", keep=1, is_dry=False)
        return upload(*words)

    monkeypatch.setattr(registry.storage, "upload", slow_upload)
    published = registry.publish(bundles[3], "pets")

    assert taken == [2, 3]
    assert published.manifest.version == 4
    assert registry.verify_all("pets").findings == ()
