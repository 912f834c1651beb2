"""Files and folders of this machine that may not be read: one line that names them, and nothing done without them."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import petmodels
from petmodels import Registry
from petmodels.bundle import Bundle, read_bundle
from petmodels.disk import all_below
from petmodels.errors import BundleError, ChecksumError, MachineError, PetmodelsError, RequestError
from petmodels.hashing import SINGLE_BYTES
from tests.petmodels.bundles import make_bundle, write_files
from tests.petmodels.commands import Command
from tests.petmodels.rights import closed


@pytest.mark.parametrize("mode", [0o000, 0o444], ids=["closed", "without its files"])
def test_a_folder_that_cant_be_read_is_not_published_without_it(
    mode: int, folder_registry: Registry, bundle: Path
) -> None:
    with closed(bundle / "self_test", mode), pytest.raises(BundleError, match=r"Permission denied\): .*/self_test"):
        folder_registry.publish(bundle, "pets")

    assert folder_registry.newest("pets") is None


@pytest.mark.parametrize("mode", [0o000, 0o444], ids=["closed", "without its files"])
def test_a_folder_that_cant_be_read_is_not_loaded_without_it(mode: int, bundle: Path) -> None:
    with closed(bundle / "self_test", mode), pytest.raises(BundleError, match=r"Permission denied\): .*/self_test"):
        petmodels.load(bundle)


@pytest.mark.parametrize("ask", [petmodels.load, read_bundle])
def test_a_folder_in_a_closed_one_is_not_called_absent(ask: Callable[[Path], object], bundle: Path) -> None:
    with (
        closed(bundle.parent),
        pytest.raises(BundleError, match=r"^it can't be read \(Permission denied\); .*/bundle$"),
    ):
        ask(bundle)


def test_what_else_lies_in_ones_own_folder_is_not_looked_at(bundle: Path) -> None:
    (bundle / "lost+found").mkdir()
    (bundle / "loop").symlink_to("loop")

    with closed(bundle / "lost+found"):
        model = petmodels.load(bundle)

    assert {"model.onnx", "self_test/01.png"} <= set(model.files)


@pytest.mark.parametrize("name", ["model.onnx", "labels.json", "preprocess.json", "card.json", "self_test.json"])
def test_a_file_of_ones_own_folder_that_cant_be_read_is_one_line(name: str, run: Command, bundle: Path) -> None:
    with closed(bundle / name):
        done = run("predict", bundle / "self_test" / "01.png", "--model", bundle)

    told = f"petmodels: a file or folder can't be read (Permission denied): {bundle / name}"
    assert (done.code, done.data, done.talk) == (1, [], [told])


@pytest.mark.parametrize("option", ["--dvc-lock", "--params"])
def test_a_text_to_publish_that_cant_be_read_is_one_line(option: str, run: Command, bundle: Path) -> None:
    text = bundle.with_name("text")
    text.write_text("train: {}")

    with closed(text):
        done = run("publish", bundle, "--model", "pets", option, text)

    told = f"petmodels: a file or folder can't be read (Permission denied): {text}"
    assert (done.code, done.data, done.talk) == (1, [], [told])


@pytest.fixture
def published(folder_registry: Registry, bundle: Path) -> Registry:
    """Return a registry with two versions and an alias, which this machine has seen, and what it needs of them."""
    for tag in ("older", "newer"):
        folder_registry.publish(make_bundle(bundle, tag=tag), "pets")
        folder_registry.promote("pets", "production")
    folder_registry.load("pets@1")
    folder_registry.mirror(bundle.with_name("mirror"))
    return folder_registry


@pytest.mark.parametrize("part", ["..", "", "pets", "pets/versions"])
def test_a_memory_that_cant_be_read_is_no_empty_one(part: str, published: Registry, bundle: Path) -> None:
    folder = published.memory.folder / part
    newer = make_bundle(bundle, tag="newest")

    with closed(folder):
        told = [told_by(lambda: published.publish(newer, "pets")), told_by(published.models_seen),
                told_by(lambda: published.verify_all("pets"))]  # fmt: skip

    where = r"not allowed to read here; check its rights, or set PETMODELS_CACHE: .*/seen"
    assert all(isinstance(one, MachineError) and re.match(where, str(one)) for one in told)
    assert published.newest("pets") == 2


def test_a_stray_file_in_the_memory_is_no_model(published: Registry) -> None:
    for folder in (published.memory.folder, published.memory.folder / "pets" / "versions"):
        (folder / ".DS_Store").write_bytes(b"")

    assert (published.models_seen(), published.memory.versions("pets")) == (["pets"], [1, 2])


PLACES = ["cache/seen", "cache/seen/*", "cache/seen/*/pets", "cache/seen/*/pets/versions", "cache/seen/*/pets/aliases",
          "cache/seen/*/pets/versions/1.json", "cache/seen/*/pets/aliases/production.jsonl", "cache", "cache/blobs",
          "cache/blobs/*", "registry", "registry/petmodels.json", "registry/.lock", "registry/pets",
          "registry/pets/versions", "registry/pets/versions/*-1.json", "registry/pets/aliases",
          "registry/pets/aliases/production.jsonl", "registry/pets/blobs", "registry/pets/intents",
          "mirror", "mirror/pets", "bundle", "bundle/labels.json"]  # fmt: skip


MODES = [0o000, *(pytest.param(mode, marks=pytest.mark.slow) for mode in (0o444, 0o555))]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", PLACES)
def test_whatever_may_not_be_read_or_written_a_registry_raises_its_own_errors(
    place: str, mode: int, published: Registry, bundle: Path, tmp_path: Path
) -> None:
    paths, newer = sorted(tmp_path.glob(place)), make_bundle(bundle, tag="newest")

    with ExitStack() as held:
        for path in paths:
            held.enter_context(closed(path, mode))
        told = [told_by(ask) for ask in every_method(published, newer)]

    assert paths
    assert mode or any(told), "the place matters to nobody"


def every_method(registry: Registry, bundle: Path) -> list[Callable[[], object]]:
    """Return a call of each method; those that change most come last."""
    other = bundle.with_name("mirror")
    return [
        registry.models, registry.models_seen, lambda: registry.versions("pets"), lambda: registry.newest("pets"),
        lambda: registry.listing("pets"), lambda: registry.aliases("pets"),
        lambda: registry.alias("pets", "production"), lambda: registry.resolve("pets@1"),
        lambda: registry.manifest("pets"), lambda: registry.manifest("pets@production"),
        lambda: registry.load("pets@1"), lambda: registry.load("pets@production"), lambda: petmodels.load(bundle),
        lambda: registry.verify("pets@2"), lambda: registry.verify_all("pets"), lambda: registry.diff("pets@1", "pets"),
        lambda: registry.find(bundle / "labels.json"), lambda: registry.find("0" * 64, "pets"),
        lambda: registry.prune("pets", keep=1), lambda: registry.withdraw("pets@1", "asked for"),
        lambda: registry.publish(bundle, "pets"),
        lambda: registry.promote("pets@1", "production"), lambda: registry.rollback("pets", "production"),
        lambda: registry.pull("pets@1"), lambda: registry.pull("pets@2", bundle.with_name("pulled")),
        lambda: registry.copy("pets@2", other), lambda: registry.mirror(other),
        lambda: registry.repair("pets@1", other), lambda: registry.withdraw("pets@1", "asked for", is_dry=False),
        lambda: registry.prune("pets", keep=1, is_dry=False),
    ]  # fmt: skip


def told_by(ask: Callable[[], object]) -> PetmodelsError | None:
    """Return the error of petmodels' own that it ends with, if any; what else it raises is the test's failure."""
    try:
        ask()
    except PetmodelsError as error:
        return error
    return None


@pytest.mark.parametrize("size_bytes", [10, SINGLE_BYTES + 1])
def test_a_file_that_goes_while_it_is_published_is_one_line(
    size_bytes: int, registry: Registry, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = bundle / "weights"
    weights.write_bytes(bytes(size_bytes))
    monkeypatch.setattr("petmodels.registry.read_bundle", lambda folder: gone_after(read_bundle(folder), weights))

    with pytest.raises(ChecksumError, match=r"the file can't be read any more; publish again: .*/weights$"):
        registry.publish(bundle, "pets")


def gone_after(read: Bundle, path: Path) -> Bundle:
    """Take a file of a bundle away, now that it was read."""
    path.unlink()
    return read


@pytest.mark.parametrize(
    "ask",
    [
        lambda _: Registry("other").models(),
        lambda registry: registry.pull("pets@1", "out"),
        lambda registry: registry.copy("pets@1", "./other"),
        lambda registry: registry.mirror("other"),
    ],
)
def test_a_folder_named_from_one_that_is_gone_is_one_line(
    ask: Callable[[Registry], object], published: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    with pytest.raises(RequestError, match=r"the folder that you are in is gone; .*: (other|out)$"):
        ask(published)


def test_what_another_pull_brings_meanwhile_is_nobodys_own_file(
    folder_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for files in ({"old/a": b"a"}, {"new/b": b"b"}, {"c": b"c"}):
        folder_registry.publish(write_files(tmp_path / next(iter(files))[0], files), "pets")
    target = folder_registry.pull("pets@1", tmp_path / "pulled")
    other, meanwhile = Registry(folder_registry.storage.address, cache=tmp_path / "other"), ["pets@2"]

    def walked(folder: Path) -> Iterator[Path]:
        if meanwhile:
            other.pull(meanwhile.pop(), target)
        return all_below(folder)

    monkeypatch.setattr("petmodels.pull.all_below", walked)

    assert (folder_registry.pull("pets@3", target) / "c").read_bytes() == b"c"


def test_a_pull_puts_nothing_in_the_place_of_what_it_cant_see(published: Registry, tmp_path: Path) -> None:
    target = published.pull("pets@1", tmp_path / "pulled")
    (target / "mine").mkdir()
    (target / "mine" / "notes.txt").write_text("by hand")

    with closed(target / "mine"):
        for spec in ("pets@1", "pets@2"):
            with pytest.raises(RequestError, match=r"would be lost; move it away: .*/pulled/mine$"):
                published.pull(spec, target)

    assert (target / "mine" / "notes.txt").read_text() == "by hand"
