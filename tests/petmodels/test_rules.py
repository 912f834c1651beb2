"""What the rules of a bucket, its keys and its roles refuse, as AWS answers, through a proxy in front of a real S3."""

from pathlib import Path

import pytest

from petmodels.doctor import examine
from petmodels.errors import AccessError, ArchivedError
from petmodels.names import blob_key, version_key
from petmodels.registry import Registry
from tests.petmodels.bundles import write_files
from tests.petmodels.commands import Command
from tests.petmodels.proxy import FOREVER, Fault, Proxy

pytestmark = pytest.mark.slow

ARCHIVED = "<Error><Code>InvalidObjectState</Code><StorageClass>GLACIER</StorageClass></Error>"
NOT_ASSUMED = (
    '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
    "<Code>AccessDenied</Code><Message>User: x is not authorized to perform: sts:AssumeRole</Message></Error>"
    "<RequestId>x</RequestId></ErrorResponse>"
)
GLACIER = ("x-amz-storage-class", "GLACIER")
RESTORED = 'ongoing-request="false", expiry-date="Fri, 01 Jan 2027 00:00:00 GMT"'


@pytest.fixture
def published(proxy: Proxy, s3_address: str, tmp_path: Path) -> Registry:
    """Return a registry with pets@1, two files, reached through the proxy."""
    registry = Registry(s3_address)
    registry.publish(write_files(tmp_path / "bundle", {"a.txt": b"a", "b.txt": b"b"}), "pets")
    return registry


def archive(registry: Registry, proxy: Proxy, *headers: tuple[str, str]) -> str:
    """Have the store answer for the first file with these headers, or refuse it as archived; return the file's key."""
    file = registry.manifest("pets@1").files[0]
    key = blob_key("pets", file.blob)
    if not headers:
        proxy.faults.append(Fault(method="GET", part=key, status=403, text=ARCHIVED, times=FOREVER))
    proxy.faults.append(Fault(method="HEAD", part=key, adds=headers or (GLACIER,), times=FOREVER))
    return key


def test_an_archived_blob_is_named_and_not_taken_for_there(published: Registry, proxy: Proxy, tmp_path: Path) -> None:
    key = archive(published, proxy)
    fresh = Registry(published.storage.address, cache=tmp_path / "fresh")
    told = rf"archived \(storage class GLACIER\); restore it .*, and take away the rule that moves it \(read {key}\)"

    with pytest.raises(ArchivedError, match=told):
        fresh.pull("pets@1", tmp_path / "out")
    for bundle in ({"a.txt": b"a", "b.txt": b"b"}, {"a.txt": b"a", "b.txt": b"b", "c.txt": b"c"}):
        with pytest.raises(ArchivedError, match=told):
            published.publish(write_files(tmp_path / f"with {len(bundle)}", bundle), "pets")
    assert published.versions("pets") == [1]


def test_an_archived_blob_hides_no_other_finding(published: Registry, proxy: Proxy, tmp_path: Path) -> None:
    archive(published, proxy)
    published.publish(write_files(tmp_path / "next", {"c.txt": b"c"}), "pets")
    proxy.faults.append(Fault(method="GET", part=blob_key("pets", ""), flip=True, times=FOREVER))

    findings = published.verify_all("pets").findings

    assert [finding.partition(" (")[0] for finding in findings] == [
        "pets@1/a.txt: archived", "pets@1/b.txt: its bytes were changed", "pets@2/c.txt: its bytes were changed",
    ]  # fmt: skip


def test_a_mirror_brings_what_is_not_archived(published: Registry, proxy: Proxy, tmp_path: Path) -> None:
    archive(published, proxy)
    published.publish(write_files(tmp_path / "next", {"c.txt": b"c"}), "pets")

    done = published.mirror(tmp_path / "backup", ["pets"])

    assert (done.versions, [finding.partition(" (")[0] for finding in done.findings]) == (
        ["pets@2"],
        ["pets@1: archived"],
    )


def test_a_blob_that_was_restored_is_there(published: Registry, proxy: Proxy, tmp_path: Path) -> None:
    archive(published, proxy, GLACIER, ("x-amz-restore", RESTORED))

    assert not published.publish(tmp_path / "bundle", "pets").is_new


def test_what_intelligent_tiering_has_archived_is_not_taken_for_there(
    published: Registry, proxy: Proxy, tmp_path: Path
) -> None:
    archive(
        published, proxy, ("x-amz-storage-class", "INTELLIGENT_TIERING"), ("x-amz-archive-status", "ARCHIVE_ACCESS")
    )

    with pytest.raises(ArchivedError, match=r"archived \(storage class ARCHIVE_ACCESS\)"):
        published.publish(tmp_path / "bundle", "pets")


def test_an_archived_manifest_hides_no_other_finding(published: Registry, proxy: Proxy, tmp_path: Path) -> None:
    published.publish(write_files(tmp_path / "next", {"c.txt": b"c"}), "pets")
    proxy.faults.append(Fault(method="GET", part=version_key("pets", 1), status=403, text=ARCHIVED, times=FOREVER))
    proxy.faults.append(Fault(method="GET", part=blob_key("pets", ""), flip=True, times=FOREVER))

    findings = Registry(published.storage.address, cache=tmp_path / "fresh").verify_all("pets").findings

    assert [finding.partition(" (")[0] for finding in findings] == [
        "pets@1: archived", "pets@2/c.txt: its bytes were changed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "question"),
    [
        (Fault(method="GET", part="petmodels.json", status=403, code="AccessDenied", times=FOREVER), "be read"),
        (Fault(method="GET", part="list-type=2", status=403, code="AccessDenied", times=FOREVER), "be listed"),
    ],
)
def test_doctor_fails_where_reading_is_denied(
    published: Registry, proxy: Proxy, run: Command, fault: Fault, question: str
) -> None:
    proxy.faults.append(fault)

    done = run("doctor", "--json", "--registry", published.storage.address)

    assert done.code == AccessError.exit_code
    assert [row["question"] for row in done.json if row["answer"] == "no"] == [f"registry can {question}"]


def test_a_write_that_is_denied_is_no_fault(published: Registry, proxy: Proxy) -> None:
    proxy.faults.append(Fault(method="PUT", status=403, code="AccessDenied", times=FOREVER))

    answers = {check.question: check.answer for check in examine(published.storage.address)}

    assert answers["registry can be written, conditions hold"] == "not allowed"
    assert "no" not in answers.values()


def as_profile(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    """Take the credentials from a profile of ~/.aws/config, and from nowhere else."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (folder / "config").write_text(f"[profile team]\n{text}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_PROFILE", "team")


def test_a_role_that_cannot_be_assumed_is_named(
    proxy: Proxy, s3_address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("[base]\naws_access_key_id = k\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    as_profile(monkeypatch, tmp_path, "role_arn = arn:aws:iam::1:role/x\nsource_profile = base\n")
    proxy.faults.append(Fault(method="POST", status=403, text=NOT_ASSUMED, times=FOREVER))

    with pytest.raises(AccessError, match="the role can't be assumed: AccessDenied; look at AWS_PROFILE") as refused:
        Registry(s3_address).versions("pets")

    assert "not allowed" not in str(refused.value)
    assert [method for method, *_ in proxy.requests] == ["POST"]


def test_a_program_that_gives_no_credentials_is_blamed_without_what_it_says(
    s3_address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    as_profile(monkeypatch, tmp_path, "credential_process = sh -c 'echo the-password >&2; exit 1'\n")

    with pytest.raises(
        AccessError, match=r"credentials can't be fetched \(custom-process\); look at AWS_PRO"
    ) as refused:
        Registry(s3_address).versions("pets")

    assert "the-password" not in str(refused.value)


def test_the_region_that_a_refusal_names_is_the_one_that_is_read(
    proxy: Proxy, s3_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.faults.append(Fault(method="GET", status=400, code="AuthorizationHeaderMalformed", times=FOREVER))

    with pytest.raises(AccessError, match="the bucket is in another region; set AWS_DEFAULT_REGION, or") as refused:
        Registry(s3_address).versions("pets")

    (name,) = {word.rstrip(",") for word in str(refused.value).split() if word.startswith("AWS_")}
    monkeypatch.setenv(name, "eu-west-3")
    assert Registry(s3_address).storage.client.meta.region_name == "eu-west-3"  # type: ignore[attr-defined]
