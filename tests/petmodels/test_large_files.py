"""Files that go up in parts: what the store says of their hash is compared, and no change on the way passes."""

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from petmodels.bundle import read_bundle
from petmodels.errors import ChecksumError, StoreError
from petmodels.hashing import Digest, composite, digest_of
from petmodels.publish import Origin, publish
from petmodels.registry import Registry
from petmodels.storage import NotStoredError
from petmodels.versions import stored_versions
from tests.petmodels.bundles import write_files

MIB = 2**20
LARGE = bytes(range(256)) * (11 * MIB // 256)
OTHER = LARGE[:-1] + b"?"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send files in parts of 5 MiB, the smallest that S3 takes, from 1 MiB on."""
    monkeypatch.setattr("petmodels.hashing.SINGLE_BYTES", MIB)
    monkeypatch.setattr("petmodels.hashing.PART_BYTES", 5 * MIB)


def put_in_place(registry: Registry, key: str, path: Path) -> None:
    """Let an object have other bytes, as somebody who may write there could."""
    registry.storage.delete(key)
    assert registry.storage.upload(key, path, digest_of(path), lambda _: None)


def test_a_digest_has_the_hashes_of_the_parts_of_a_large_file_alone(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "b", {"large": LARGE, "small": LARGE[:MIB]})

    large, small = digest_of(folder / "large"), digest_of(folder / "small")

    parts = tuple(hashlib.sha256(LARGE[start : start + 5 * MIB]).digest() for start in range(0, len(LARGE), 5 * MIB))
    assert large == Digest(hashlib.sha256(LARGE).hexdigest(), parts)
    assert small == Digest(hashlib.sha256(LARGE[:MIB]).hexdigest())


@pytest.mark.slow
def test_the_store_gives_back_the_hash_that_the_parts_have(s3_address: str, tmp_path: Path) -> None:
    registry, bundle = Registry(s3_address), write_files(tmp_path / "b", {"large": LARGE})
    registry.publish(bundle, "pets")

    found = registry.storage.find(f"pets/blobs/{hashlib.sha256(LARGE).hexdigest()}")

    assert found is not None
    assert found.sha256 == composite(digest_of(bundle / "large").parts)


def test_each_part_goes_up_with_its_hash_for_a_store_that_looks_at_it(
    s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, path = Registry(s3_address), write_files(tmp_path / "b", {"large": LARGE}) / "large"
    client: Any = registry.storage.client  # type: ignore[attr-defined]
    send, sent = client.upload_part, {}

    def watched(**given: Any) -> Any:
        sent[given["PartNumber"]] = given.get("ChecksumSHA256")
        return send(**given)

    monkeypatch.setattr(client, "upload_part", watched)
    registry.storage.upload("pets/blobs/x", path, digest_of(path), lambda _: None)

    parts = enumerate(digest_of(path).parts, start=1)
    assert sent == {number: base64.b64encode(part).decode() for number, part in parts}


@pytest.mark.slow
def test_a_large_blob_of_the_right_size_is_not_believed(registry: Registry, tmp_path: Path) -> None:
    bundle, other = write_files(tmp_path / "b", {"large": LARGE}), write_files(tmp_path / "o", {"large": OTHER})
    (file,) = registry.publish(bundle, "pets").manifest.files
    put_in_place(registry, f"pets/blobs/{file.blob}", other / "large")

    again = registry.publish(bundle, "pets")

    assert (again.is_new, again.sent_bytes) == (True, len(LARGE))
    assert again.manifest.files[0].blob.startswith(f"{file.sha256}.")
    assert (registry.pull("pets@2", tmp_path / "out") / "large").read_bytes() == LARGE
    assert registry.publish(bundle, "pets").is_new is False


@pytest.mark.slow
def test_a_large_blob_that_came_in_other_parts_is_read_and_found_whole(
    s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, bundle = Registry(s3_address), write_files(tmp_path / "b", {"large": LARGE})
    registry.publish(bundle, "pets")
    monkeypatch.setattr("petmodels.hashing.PART_BYTES", 6 * MIB)

    again = registry.publish(write_files(bundle, {"small": b"s"}), "pets")

    assert (again.sent_bytes, again.present_bytes) == (1, len(LARGE))


@pytest.mark.slow
def test_a_copy_does_not_rely_on_other_bytes_of_the_right_size(registry: Registry, tmp_path: Path) -> None:
    source = Registry(tmp_path / "source")
    (file,) = source.publish(write_files(tmp_path / "b", {"large": LARGE}), "pets").manifest.files
    key, other = f"pets/blobs/{file.blob}", write_files(tmp_path / "o", {"large": OTHER})
    assert registry.storage.upload(key, other / "large", digest_of(other / "large"), lambda _: None)

    with pytest.raises(ChecksumError, match=f"the other registry holds other bytes under this name: .*/{key}"):
        source.copy("pets@1", registry.storage.address)

    assert not list(stored_versions(registry.storage, "pets"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "change"),
    [
        (11 * MIB, lambda data: data[:-1] + b"?"),
        (11 * MIB, lambda data: b"?" + data[1:]),
        (11 * MIB, lambda data: data + b"more"),
        (10 * MIB, lambda data: data + b"more"),
        (11 * MIB, lambda data: data[:-1]),
        (10 * MIB, lambda data: data[: 5 * MIB]),
        (1000, lambda data: data[:-1] + b"?"),
        (1000, lambda data: data[:-1]),
    ],
    ids=["last byte", "first byte", "longer", "a part more", "shorter", "a part less", "small", "small and shorter"],
)
def test_a_file_that_changes_after_it_was_read_is_not_published(
    registry: Registry, tmp_path: Path, size: int, change: Callable[[bytes], bytes]
) -> None:
    path = write_files(tmp_path / "b", {"file": LARGE[:size]}) / "file"
    bundle = read_bundle(path.parent)
    path.write_bytes(change(path.read_bytes()))

    with pytest.raises(ChecksumError, match=f"^the file changed while it was published; publish again: {path}$"):
        publish(registry.storage, "pets", bundle, Origin(), memory=registry.memory)

    assert not list(stored_versions(registry.storage, "pets"))
    assert list(registry.storage.unfinished("pets/")) == []
    with pytest.raises(NotStoredError):
        b"".join(registry.storage.download(f"pets/blobs/{bundle.files[0].sha256}", 0, 1))


def test_a_file_that_changes_while_it_is_read_is_not_published(s3_address: str, tmp_path: Path) -> None:
    registry, path = Registry(s3_address), write_files(tmp_path / "b", {"file": LARGE}) / "file"
    real, hashed = hashlib.sha256, 0

    def watched(*given: bytes) -> Any:
        nonlocal hashed
        hashed += len(given) and len(given[0]) == 5 * MIB
        if hashed == 1:
            path.write_bytes(b"?" + LARGE[1:-1] + b"?")  # its last byte is yet to be read
        return real(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("petmodels.hashing.hashlib.sha256", watched)
        bundle = read_bundle(path.parent)
    assert bundle.files[0].sha256 == real(LARGE[:-1] + b"?").hexdigest()

    with pytest.raises(ChecksumError, match=f"^the file changed while it was published; publish again: {path}$"):
        publish(registry.storage, "pets", bundle, Origin(), memory=registry.memory)


def test_a_completion_that_fails_while_another_wrote_other_bytes_is_no_success(
    s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, other = Registry(s3_address), write_files(tmp_path / "o", {"large": OTHER}) / "large"
    path = write_files(tmp_path / "b", {"large": LARGE}) / "large"
    client: Any = registry.storage.client  # type: ignore[attr-defined]
    complete = client.complete_multipart_upload

    def failing(**given: Any) -> Any:
        monkeypatch.setattr(client, "complete_multipart_upload", complete)
        assert registry.storage.upload("pets/blobs/x", other, digest_of(other), lambda _: None)
        raise StoreError("the store answered 500")

    monkeypatch.setattr(client, "complete_multipart_upload", failing)

    with pytest.raises(StoreError, match="the store answered 500"):
        registry.storage.upload("pets/blobs/x", path, digest_of(path), lambda _: None)


def test_a_file_of_the_cache_that_changes_before_it_is_copied_is_not_sent(
    folder_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_registry.publish(write_files(tmp_path / "b", {"file": b"right"}), "pets")
    target = Registry(tmp_path / "target")
    intact: Any = folder_registry.cache.fetch

    def spoiled(*given: Any) -> Path:
        path: Path = intact(*given)
        path.chmod(0o644)
        path.write_bytes(b"wrong")
        return path

    monkeypatch.setattr(type(folder_registry.cache), "fetch", lambda _, *given: spoiled(*given))

    with pytest.raises(ChecksumError, match=r"^the file changed since it was checked; run it again: "):
        folder_registry.copy("pets@1", target.storage.address)

    assert not list(stored_versions(target.storage, "pets"))
