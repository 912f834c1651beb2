"""What networks and stores do wrong, through a proxy in front of a real S3: the right retry, or one clear line."""

import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest

from petmodels.bundle import read_bundle
from petmodels.errors import (
    AccessError,
    ChecksumError,
    NotFoundError,
    PetmodelsError,
    StoreError,
    UnreachableError,
    UnsupportedStoreError,
    WithdrawnError,
)
from petmodels.publish import Origin, publish
from petmodels.registry import Registry
from petmodels.storage import Storage
from petmodels.writable import check_writable
from tests.petmodels.bundles import write_files
from tests.petmodels.commands import Command
from tests.petmodels.proxy import FOREVER, Fault, Proxy
from tests.petmodels.stores import BUCKET

pytestmark = pytest.mark.slow  # each waits for the pauses between repeats

MIB = 2**20


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between repeats, which grow to seconds."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.02)


@pytest.fixture
def published(proxy: Proxy, s3_address: str, tmp_path: Path) -> Registry:
    """Return a registry with pets@1, a large and a small file, reached through the proxy."""
    large = bytes(range(256)) * (3 * MIB // 256)
    registry = Registry(s3_address)
    registry.publish(write_files(tmp_path / "bundle", {"weights": large, "b.txt": b"b"}), "pets")
    registry.promote("pets@1", "production")
    proxy.requests.clear()
    return registry


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500, code="InternalError", times=2),
        Fault(status=503, code="SlowDown", times=2),
        Fault(status=502, times=2),
        Fault(reset="before", times=2),
        Fault(reset="after", times=2),
        Fault(method="GET", part="/blobs/", cut_after=1000, times=2),
        Fault(method="GET", part="/versions/", cut_after=10, times=2),
        Fault(method="GET", part="/aliases/", cut_after=0, times=2),
    ],
    ids=["500", "slow down", "502 without a word", "reset", "reset after", "cut blob", "cut manifest", "cut alias"],
)
def test_a_pull_survives_what_passes(published: Registry, proxy: Proxy, fault: Fault, tmp_path: Path) -> None:
    proxy.faults.append(fault)

    target = Registry(published.storage.address, cache=tmp_path / "fresh").pull("pets@production", tmp_path / "out")

    assert fault.times == 0
    assert (target / "weights").stat().st_size == 3 * MIB


def test_a_cut_download_goes_on_where_it_broke(published: Registry, proxy: Proxy, tmp_path: Path) -> None:
    blob = next(stored.key for stored in published.storage.list("pets/blobs/") if stored.size_bytes == 3 * MIB)
    proxy.faults.append(Fault(method="GET", part=blob, cut_after=2 * MIB))

    Registry(published.storage.address, cache=tmp_path / "fresh").pull("pets@1", tmp_path / "out")

    starts = [int(span.removeprefix("bytes=").partition("-")[0] or 0)
              for method, path, span in proxy.requests if method == "GET" and blob in path]  # fmt: skip
    assert len(starts) == 2
    assert starts[0] == 0
    assert MIB <= starts[1] <= 2 * MIB


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every large file shared among connections at once, in small ranges."""
    monkeypatch.setattr("petmodels.s3_download.PATIENCE_SECONDS", 0)
    monkeypatch.setattr("petmodels.s3_download.RANGE_BYTES", MIB // 2)


@pytest.mark.parametrize("fault", [Fault(), Fault(cut_after=1000, times=3), Fault(status=503, times=2)])
def test_a_slow_file_comes_over_several_connections(
    published: Registry, proxy: Proxy, impatient: None, fault: Fault, tmp_path: Path
) -> None:
    fault.method, fault.part, fault.skip = "GET", "/blobs/", 2
    proxy.faults.append(fault)

    target = Registry(published.storage.address, cache=tmp_path / "fresh").pull("pets@1", tmp_path / "out")

    assert (target / "weights").read_bytes() == bytes(range(256)) * (3 * MIB // 256)
    assert len([path for _, path, _ in proxy.requests if "/blobs/" in path]) >= 6


def test_a_download_over_several_connections_keeps_what_came_in_order(
    published: Registry, proxy: Proxy, impatient: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fresh = Registry(published.storage.address, cache=tmp_path / "fresh")
    proxy.faults.append(Fault(method="GET", part="/blobs/", skip=4, status=503, code="SlowDown", times=FOREVER))
    with pytest.raises(UnreachableError, match="overloaded"):
        fresh.pull("pets@1", tmp_path / "out")
    kept = [path.stat().st_size for path in (tmp_path / "fresh").rglob("*.partial") if path.stat().st_size > 0]
    proxy.faults.clear()
    proxy.requests.clear()

    target = fresh.pull("pets@1", tmp_path / "out")

    assert (target / "weights").read_bytes() == bytes(range(256)) * (3 * MIB // 256)
    assert len(kept) == 1
    assert any(span.startswith(f"bytes={kept[0]}-") for _, _, span in proxy.requests)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503, code="SlowDown", times=2),
        Fault(method="PUT", part="/blobs/", reset="before", times=2),
        Fault(method="PUT", part="/blobs/", reset="after", times=2),
        Fault(method="PUT", part="/versions/", reset="after"),
        Fault(method="PUT", part="/versions/", status=500, code="InternalError", times=2),
        Fault(method="PUT", part="/versions/", status=409, code="ConditionalRequestConflict"),
        Fault(method="POST", part="uploads", status=503, code="SlowDown"),
        Fault(method="PUT", part="partNumber=1", reset="after"),
        Fault(method="POST", part="uploadId", reset="after"),
        Fault(method="PUT", part="/intents/", reset="after"),
        Fault(method="DELETE", part="/intents/", reset="after"),
    ],
    ids=["slow down", "reset", "blob's answer lost", "manifest's answer lost", "500", "conflict", "multipart refused",
         "part's answer lost", "completion's answer lost", "intent's answer lost", "delete's answer lost"],
)  # fmt: skip
def test_a_publish_survives_what_passes(
    proxy: Proxy, s3_address: str, fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("petmodels.hashing.SINGLE_BYTES", MIB)
    monkeypatch.setattr("petmodels.hashing.PART_BYTES", 5 * MIB)
    registry = Registry(s3_address)
    proxy.faults.append(fault)

    published = registry.publish(write_files(tmp_path / "b", {"large": b"0123" * (6 * MIB // 4), "a": b"a"}), "pets")

    assert fault.times == 0
    assert published.manifest.version == 1
    assert registry.versions("pets") == [1]
    assert registry.verify_all("pets").findings == ()


def test_a_promotion_whose_answer_got_lost_is_no_conflict_and_no_second_step(published: Registry, proxy: Proxy) -> None:
    proxy.faults.append(Fault(method="PUT", part="/aliases/", reset="after"))

    assert len(published.promote("pets@1", "staging").steps) == 1


ALWAYS = {"times": FOREVER}
NO_KEY = "<Error><Code>AccessDenied</Code><Message>x is not authorized to perform: kms:Decrypt on y</Message></Error>"


@pytest.mark.parametrize(
    ("fault", "error", "match"),
    [
        (Fault(status=503, code="SlowDown", **ALWAYS), UnreachableError, r"overloaded or broken \(SlowDown\); try"),
        (Fault(status=500, code="InternalError", **ALWAYS), UnreachableError, "overloaded or broken"),
        (Fault(status=400, code="ThrottlingException", **ALWAYS), UnreachableError, "overloaded or broken"),
        (Fault(status=429, code="TooManyRequests", **ALWAYS), UnreachableError, "overloaded or broken"),
        (Fault(reset="before", **ALWAYS), UnreachableError, r"did not answer \(connection closed\); try again later"),
        (Fault(stall_seconds=2, **ALWAYS), UnreachableError, r"did not answer \(no answer in time\); try again later"),
        (Fault(part="/blobs/", cut_after=5, **ALWAYS), UnreachableError, "broke off in the middle"),
        (Fault(part="/blobs/", flip=True, **ALWAYS), ChecksumError, "bytes are not the published ones; .* of pets"),
        (Fault(status=403, code="RequestTimeTooSkewed", **ALWAYS), AccessError, "this machine's clock is off"),
        (Fault(status=400, code="ExpiredToken", **ALWAYS), AccessError, "credentials have expired; renew them"),
        (Fault(status=403, code="InvalidAccessKeyId", **ALWAYS), AccessError, "store doesn't know this access key"),
        (Fault(status=403, code="SignatureDoesNotMatch", **ALWAYS), AccessError, "secret key doesn't fit"),
        (Fault(status=403, code="AccessDenied", **ALWAYS), AccessError, "not allowed to read pets/aliases/production"),
        (Fault(method="GET", status=301, code="PermanentRedirect", **ALWAYS), AccessError, "set AWS_DEFAULT_REGION"),
        (Fault(status=400, code="AuthorizationHeaderMalformed", **ALWAYS), AccessError, "in another region"),
        (Fault(status=400, code="KMS.DisabledException", **ALWAYS), AccessError, r"bucket refuses \(KMS.Dis"),
        (Fault(status=403, text=NO_KEY, **ALWAYS), AccessError, r"KMS key of the bucket refuses \(Acc"),
        (Fault(status=404, code="NoSuchBucket", **ALWAYS), NotFoundError, "no such bucket; check the address"),
        (Fault(status=418, code="Teapot", **ALWAYS), StoreError, "the store answered 418 Teapot when asked to read"),
    ],
)  # fmt: skip
def test_what_stays_wrong_is_one_clear_line(
    published: Registry, proxy: Proxy, fault: Fault, error: type[PetmodelsError], match: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    monkeypatch.setenv("PETMODELS_TIMEOUT", "0.5")
    proxy.faults.append(fault)

    with pytest.raises(error, match=match) as refused:
        Registry(published.storage.address, cache=tmp_path / "fresh").pull("pets@production", tmp_path / "out")

    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value).replace("secret key", "").replace("SECRET_ACCESS_KEY", "")
    assert list(tmp_path.glob("*out*")) == []
    print(f"{error.__name__}: {refused.value}")


def test_bytes_that_change_on_the_way_up_are_refused_by_the_store(
    proxy: Proxy, s3_address: str, tmp_path: Path
) -> None:
    registry = Registry(s3_address)
    bundle = write_files(tmp_path / "b", {"a": b"a" * 1000})
    proxy.faults.append(Fault(method="GET", part="/blobs/", flip=True, times=FOREVER))
    registry.publish(bundle, "pets")

    with pytest.raises(ChecksumError, match="bytes are not the published ones"):
        registry.pull("pets@1", tmp_path / "out")
    assert registry.verify("pets@1").findings == ("pets@1/a: its bytes were changed",)


@pytest.mark.parametrize("header", ["if-none-match", "if-match"])
def test_a_store_that_ignores_conditions_is_refused_for_writing(
    proxy: Proxy, s3_address: str, bundle: Path, header: str
) -> None:
    proxy.faults.append(Fault(method="PUT", without=(header,), times=FOREVER))

    with pytest.raises(UnsupportedStoreError, match=r"this store ignores conditional writes, .* use another one"):
        Registry(s3_address).publish(bundle, "pets")

    assert list(Registry(s3_address).storage.list("pets/")) == []


def with_a_list(s3_address: str) -> tuple[Storage, str]:
    """Make a registry with an object beside it that is there to be replaced; return its ETag, too."""
    storage = Registry(s3_address).storage
    check_writable(storage)
    storage.create("list", b"1")
    return storage, storage.read("list", 9)[1]


def test_on_a_store_that_compares_bare_etags_aliases_move_and_versions_go(
    proxy: Proxy, s3_address: str, tmp_path: Path
) -> None:
    """Ceph's gateway (radosgw 16.2.15) answers 412 to each PUT whose If-Match has its quotes."""
    proxy.faults.append(Fault(method="PUT", if_match="bare", times=FOREVER))
    registry = Registry(s3_address)
    for number in (1, 2):
        registry.publish(write_files(tmp_path / f"b{number}", {"a": b"%d" % number}), "pets")

    steps = [len(registry.promote(f"pets@{number}", "production").steps) for number in (1, 2, 1, 2)]
    rolled_back = registry.rollback("pets", "production")
    registry.withdraw("pets@2", "wrong labels", is_dry=False)

    assert (steps, rolled_back.version) == ([1, 2, 3, 4], 1)
    with pytest.raises(WithdrawnError, match="pets@2 was withdrawn"):
        registry.pull("pets@2", tmp_path / "out")


def test_which_form_of_an_etag_a_store_compares_is_asked_once(proxy: Proxy, s3_address: str) -> None:
    proxy.faults.append(Fault(method="PUT", if_match="bare", times=FOREVER))
    storage, etag = with_a_list(s3_address)
    proxy.requests.clear()

    assert storage.replace("list", b"2", etag)
    assert len(proxy.requests) == 1
    assert not storage.replace("list", b"3", etag)
    assert storage.read("list", 9)[0] == b"2"


def test_a_store_whose_form_of_an_etag_comes_to_be_another_is_asked_again(
    published: Registry, proxy: Proxy, tmp_path: Path
) -> None:
    """Ceph's gateways may be upgraded one by one."""
    published.publish(write_files(tmp_path / "b2", {"a": b"2"}), "pets")
    proxy.faults.append(Fault(method="PUT", if_match="bare", times=FOREVER))
    published.promote("pets@2", "production")
    proxy.faults[:] = [Fault(method="PUT", if_match="quoted", times=FOREVER)]

    assert len(published.promote("pets@1", "production").steps) == 3


@pytest.mark.parametrize("word", ["promote", "publish"])
def test_the_registrys_own_document_is_replaced_once_only(
    published: Registry, proxy: Proxy, s3_address: str, tmp_path: Path, word: str
) -> None:
    """Each replacement is one more version of it where a bucket keeps them, and one more write to replicate."""
    etag = published.storage.find("petmodels.json")
    proxy.requests.clear()
    another = Registry(s3_address, cache=tmp_path / "another")

    if word == "publish":
        another.publish(write_files(tmp_path / "b2", {"a": b"2"}), "pets")
    else:
        another.promote("pets@1", "production")

    writes = [path for method, path, _ in proxy.requests if method == "PUT" and "petmodels.json" in path]
    assert (len(writes), published.storage.find("petmodels.json")) == (2, etag)  # the two that are refused


def test_a_wrong_etag_is_tried_on_nothing_but_the_registrys_own_document(proxy: Proxy, s3_address: str) -> None:
    """A store that ignores an ETag without quotes takes it, whatever others have written since the last read."""
    storage, etag = with_a_list(s3_address)
    proxy.faults.append(Fault(method="PUT", if_match="ignored", times=FOREVER))

    with pytest.raises(UnsupportedStoreError, match="ignores an If-Match without quotes"):
        storage.replace("list", b"2", etag)
    assert storage.read("list", 9)[0] == b"1"


@pytest.mark.parametrize("if_match", ["bare", ""])
def test_a_first_replacement_of_what_has_changed_is_refused_in_any_form(
    proxy: Proxy, s3_address: str, if_match: str
) -> None:
    proxy.faults.append(Fault(method="PUT", if_match=if_match, times=FOREVER))
    storage, etag = with_a_list(s3_address)
    storage.replace("list", b"2", etag)

    assert not Registry(s3_address).storage.replace("list", b"3", etag)
    assert storage.read("list", 9)[0] == b"2"


def test_a_repeated_replacement_in_the_second_form_meets_its_own_object(proxy: Proxy, s3_address: str) -> None:
    proxy.faults.append(Fault(method="PUT", if_match="bare", times=FOREVER))
    storage, etag = with_a_list(s3_address)
    proxy.faults.insert(0, Fault(method="PUT", part="list", if_match="bare", reset="after"))

    assert storage.replace("list", b"2", etag)
    assert storage.read("list", 9)[0] == b"2"


@pytest.mark.parametrize("word", ["publish", "doctor"])
def test_a_store_that_refuses_to_replace_what_nobody_has_changed_is_named(
    proxy: Proxy, s3_address: str, bundle: Path, run: Command, word: str
) -> None:
    proxy.faults.append(Fault(method="PUT", if_match="never", times=FOREVER))
    words = (bundle, "--model", "pets") if word == "publish" else ()

    for _ in range(2):  # the first try makes the registry's own document
        done = run(word, *words, "--registry", s3_address)

        assert done.code == 8
        refused = [line for line in (*done.data, *done.talk) if "refuses to replace what nobody has changed" in line]
        assert len(refused) == 1
    assert list(Registry(s3_address).storage.list("pets/")) == []


@pytest.mark.parametrize(
    "step",
    [
        lambda registry: registry.promote("pets@2", "production"),
        lambda registry: registry.withdraw("pets@2", "wrong labels", is_dry=False),
    ],
    ids=["promote", "withdraw"],
)
def test_a_store_that_comes_to_refuse_what_nobody_has_changed_blames_nobody(
    published: Registry, proxy: Proxy, tmp_path: Path, step: Callable[[Registry], object]
) -> None:
    published.publish(write_files(tmp_path / "b2", {"a": b"2"}), "pets")
    proxy.faults.append(Fault(method="PUT", if_match="never", times=FOREVER))

    with pytest.raises(UnsupportedStoreError, match="refuses to replace what nobody has changed"):
        step(published)


def test_doctor_has_the_document_of_a_registry_that_is_there_replaced(
    published: Registry, proxy: Proxy, run: Command
) -> None:
    proxy.faults.append(Fault(method="PUT", if_match="never", times=FOREVER))

    done = run("doctor", "--registry", published.storage.address)

    assert done.code == 8
    assert any("refuses to replace what nobody has changed" in line for line in (*done.data, *done.talk))


def test_another_writers_request_that_is_under_way_is_waited_for(
    published: Registry, proxy: Proxy, tmp_path: Path
) -> None:
    published.publish(write_files(tmp_path / "b2", {"a": b"2"}), "pets")
    busy = Fault(method="PUT", part="/aliases/", status=409, code="ConditionalRequestConflict", times=5)
    proxy.faults.append(busy)

    moved = published.promote("pets@2", "production")

    assert (moved.version, busy.times) == (2, 0)


@pytest.mark.parametrize("size", [1000, 17 * MIB], ids=["in one request", "in parts"])
def test_a_file_that_changes_is_not_published_where_the_store_checks_nothing(
    proxy: Proxy, s3_address: str, tmp_path: Path, size: int
) -> None:
    checks = ("x-amz-checksum-sha256", "x-amz-checksum-algorithm", "x-amz-sdk-checksum-algorithm")
    proxy.faults.append(Fault(part="/blobs/", without=checks, times=FOREVER))
    registry, path = Registry(s3_address), write_files(tmp_path / "b", {"file": b"a" * size}) / "file"
    bundle = read_bundle(path.parent)
    path.write_bytes(b"?" + b"a" * (size - 1))

    with pytest.raises(ChecksumError, match=f"^the file changed while it was published; publish again: {path}$"):
        publish(registry.storage, "pets", bundle, Origin(), memory=registry.memory)

    assert list(registry.storage.list("pets/")) == []


@pytest.mark.parametrize("size", [1000, 17 * MIB], ids=["in one request", "in parts"])
def test_bytes_that_a_store_gets_wrong_are_not_blamed_on_the_file(
    proxy: Proxy, s3_address: str, tmp_path: Path, size: int
) -> None:
    proxy.faults.append(Fault(method="PUT", part="/blobs/", status=400, code="BadDigest", times=FOREVER))
    bundle = write_files(tmp_path / "b", {"file": b"a" * size})

    with pytest.raises(ChecksumError, match="the store received other bytes than were to be sent; run again"):
        Registry(s3_address).publish(bundle, "pets")


@pytest.mark.parametrize(("minutes", "match"), [(-20, "this machine's clock is off"), (10, "not allowed to list")])
def test_a_refusal_by_a_store_with_another_time_names_the_clock(
    published: Registry, proxy: Proxy, minutes: int, match: str
) -> None:
    date = formatdate(time.time() + 60 * minutes, usegmt=True)
    proxy.faults.append(Fault(status=403, code="AccessDenied", date=date, times=FOREVER))

    with pytest.raises(AccessError, match=match):
        published.versions("pets")


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("AWS_ACCESS_KEY_ID", "stranger", "the store doesn't know this access key|not allowed"),
        ("AWS_SECRET_ACCESS_KEY", "wrong-secret", "the secret key doesn't fit the access key|not allowed"),
    ],
)
def test_credentials_that_the_real_store_refuses(
    s3_address: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str, match: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(AccessError, match=match) as refused:
        Registry(s3_address).versions("pets")
    assert value not in str(refused.value)


def test_without_credentials_the_line_says_what_to_set(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)

    with pytest.raises(AccessError, match="no credentials found; set AWS_PROFILE"):
        Registry(s3_address).versions("pets")


def test_a_bucket_that_is_not_there(s3_address: str) -> None:
    with pytest.raises(NotFoundError, match=f"no such bucket; check the address .*: s3://no-{BUCKET}/x"):
        Registry(f"s3://no-{BUCKET}/x").versions("pets")


def test_a_clock_that_is_off_is_named(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import botocore.auth
    from botocore.compat import get_current_datetime

    def an_hour_ahead(remove_tzinfo: bool = True) -> object:
        from datetime import timedelta

        return get_current_datetime(remove_tzinfo) + timedelta(hours=1)

    monkeypatch.setattr(botocore.auth, "get_current_datetime", an_hour_ahead)

    with pytest.raises(AccessError, match="this machine's clock is off"):
        Registry(s3_address).versions("pets")
