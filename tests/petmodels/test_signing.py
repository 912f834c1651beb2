"""Signatures: what is signed, by which key file, and which keys a machine trusts."""

import base64
from pathlib import Path

import pytest
from nacl.signing import SigningKey, VerifyKey

import petmodels
from petmodels.documents import Signature, Statement, load_statement
from petmodels.errors import RequestError, SignatureError
from petmodels.publish import Origin
from petmodels.registry import Registry
from petmodels.signing import TRUSTED_KEYS, check_key_file, check_signed, new_key, signed, trusted_keys
from tests.petmodels.bundles import write_files


def test_a_signature_can_be_checked_by_the_formats_description_alone(tmp_path: Path) -> None:
    public = new_key(tmp_path / "key")
    statement = signed(Statement('{"format":1}'), tmp_path / "key")

    signature = base64.b64decode(statement.signatures[0].signature)
    VerifyKey(base64.b64decode(public)).verify(b"petmodels statement 1\n" + b'{"format":1}', signature)


def test_a_signature_made_for_something_else_is_none(tmp_path: Path) -> None:
    public = new_key(tmp_path / "key")
    seed = base64.b64decode((tmp_path / "key").read_text().split()[1])
    bare = base64.b64encode(SigningKey(seed).sign(b'{"format":1}').signature).decode()

    with pytest.raises(SignatureError, match="here carries a wrong signature"):
        check_signed(Statement('{"format":1}', (Signature(public, bare),)), frozenset({public}), "here")


@pytest.mark.parametrize("signature", ["", "no base64", base64.b64encode(b"short").decode()])
def test_a_signature_that_is_none_is_refused(tmp_path: Path, signature: str) -> None:
    public = new_key(tmp_path / "key")

    with pytest.raises(SignatureError, match="here carries a wrong signature"):
        check_signed(Statement("{}", (Signature(public, signature),)), frozenset({public}), "here")


def test_an_entry_whose_key_nobody_trusts_is_ignored_and_kept_whatever_it_holds(tmp_path: Path) -> None:
    """So another algorithm can be added beside this one, without a new format."""
    public = new_key(tmp_path / "key")
    odd = (Signature("ml-dsa-65:AAAA", "of another kind"), Signature("!!", ""), Signature(public, "a wrong one"))
    statement = signed(Statement("{}", odd), tmp_path / "key")

    read = load_statement(statement.to_bytes(), "here")
    check_signed(read, frozenset({public}), "here")

    assert read.signatures[:3] == odd


def test_a_key_is_compared_as_text(tmp_path: Path) -> None:
    public = new_key(tmp_path / "key")
    (signature,) = signed(Statement("{}"), tmp_path / "key").signatures
    unpadded = Statement("{}", (Signature(public.rstrip("="), signature.signature),))

    with pytest.raises(SignatureError, match="here is signed by a key that isn't trusted here"):
        check_signed(unpadded, frozenset({public}), "here")


@pytest.mark.parametrize("text", ["", "petmodels-secret-key", "petmodels-secret-key AAAA\n", "ssh-ed25519 AAAA\n", "é"])
def test_a_file_that_is_no_key_is_refused_before_any_work(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)

    with pytest.raises(RequestError, match=r"key.*: .*/key"):
        check_key_file(tmp_path / "key")


def test_trusted_keys_are_separated_by_commas_or_spaces(tmp_path: Path) -> None:
    keys = [new_key(tmp_path / name) for name in "ab"]

    assert trusted_keys({TRUSTED_KEYS: ",".join(keys)}) == trusted_keys({TRUSTED_KEYS: "  ".join(keys)}) == set(keys)
    assert trusted_keys({}) == frozenset()


@pytest.mark.parametrize("value", ["", " ", ",", " , \t"])
def test_a_setting_that_was_left_empty_trusts_nobody(
    folder_registry: Registry, bundle: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """As where a file has ${KEYS} and nobody filled it in: it was taken for a wish to check no signature."""
    folder_registry.publish(bundle, "pets")
    folder_registry.pull("pets@1", bundle.parent / "model")
    monkeypatch.setenv(TRUSTED_KEYS, value)

    for spec in ("pets@1", bundle.parent / "model"):
        with pytest.raises(
            RequestError, match="PETMODELS_TRUSTED_KEYS is set and holds no key; to ask for no signature"
        ):
            petmodels.load(spec, registry=folder_registry.storage.address)
    with pytest.raises(RequestError, match="unset it"):
        folder_registry.verify("pets@1")


def test_a_trusted_key_that_is_none_stops_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED_KEYS, "AAAA")

    with pytest.raises(RequestError, match="holds something that is no public key of petmodels keygen: AAAA"):
        trusted_keys()


def test_a_version_seen_before_the_key_was_set_is_refused_too(
    folder_registry: Registry, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_registry.publish(bundle, "pets")
    folder_registry.load("pets@1")
    monkeypatch.setenv(TRUSTED_KEYS, new_key(tmp_path / "key"))

    with pytest.raises(SignatureError, match="manifest of pets@1 is not signed"):
        petmodels.load("pets@1", registry=tmp_path / "registry")
    assert "is not signed" in folder_registry.verify("pets@1").findings[0]


def test_a_signature_survives_a_copy(
    folder_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRUSTED_KEYS, new_key(tmp_path / "key"))
    bundle = write_files(tmp_path / "plain", {"a": b"a"})
    folder_registry.publish(bundle, "pets", Origin(key_file=tmp_path / "key"))

    folder_registry.copy("pets@1", tmp_path / "stick")

    assert Registry(tmp_path / "stick", cache=tmp_path / "other").pull("pets@1").exists()


def test_production_outlives_a_keys_replacement_once_it_is_published_again(
    tmp_path: Path, folder_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (new_key(tmp_path / name) for name in ("old", "new"))
    folder_registry.publish(write_files(tmp_path / "bundle", {"a": b"1"}), "pets", Origin(key_file=tmp_path / "old"))
    folder_registry.promote("pets@1", "production")
    monkeypatch.setenv(TRUSTED_KEYS, f"{old}, {new}")
    pulled = Registry(tmp_path / "registry").pull("pets@production", tmp_path / "pulled")
    Registry(tmp_path / "registry").publish(pulled, "pets", Origin(key_file=tmp_path / "new"))
    Registry(tmp_path / "registry").promote("pets@2", "production")

    monkeypatch.setenv(TRUSTED_KEYS, new)
    registry = Registry(tmp_path / "registry")

    assert registry.manifest("pets@production").version == 2
    with pytest.raises(SignatureError, match="the manifest of pets@1 is signed by a key that isn't trusted here"):
        registry.rollback("pets", "production")
