"""A registry whose bytes somebody changed: each change is refused by name, and nothing is written."""

import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from petmodels.documents import Statement, load_statement
from petmodels.errors import (
    ChecksumError,
    FormatError,
    NotFoundError,
    PetmodelsError,
    ReplayError,
    SignatureError,
    UnreachableError,
)
from petmodels.loading import load
from petmodels.names import version_key
from petmodels.publish import Origin
from petmodels.registry import Registry
from petmodels.s3 import S3Storage
from petmodels.signing import TRUSTED_KEYS, new_key, signed
from tests.petmodels.bundles import make_bundle, onnx_that_reads, write_files
from tests.petmodels.commands import Command

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def root(folder_registry: Registry, tmp_path: Path) -> Path:
    """Return the folder of a registry with pets@1 and pets@2, of which production names the second."""
    for number in (1, 2):
        bundle = write_files(tmp_path / f"bundle{number}", {"weights": b"w" * 5000 + bytes([number]), "b.txt": b"b"})
        folder_registry.publish(bundle, "pets")
        folder_registry.promote(f"pets@{number}", "production")
    return tmp_path / "registry"


def blob_of(root: Path, version: int, path: str) -> Path:
    manifest = Registry(root).storage.read(version_key("pets", version), 10**6)[0]
    files = json.loads(load_statement(manifest, "").payload)["files"]
    return root / "pets" / "blobs" / next(file["blob"] for file in files if file["path"] == path)


def change_manifest(root: Path, version: int, change: Change) -> None:
    path = root / version_key("pets", version)
    payload = json.loads(load_statement(path.read_bytes(), "").payload)
    change(payload)
    path.write_bytes(Statement(json.dumps(payload)).to_bytes())


def assert_refused(root: Path, target: Path, error: type[PetmodelsError], match: str, spec: str = "pets@2") -> None:
    with pytest.raises(error, match=match) as refused:
        Registry(root, cache=target.parent / "fresh cache").pull(spec, target)
    assert "\n" not in str(refused.value)
    assert not target.exists()
    assert list(target.parent.glob(f".{target.name}*")) == []
    print(f"{error.__name__}: {refused.value}")


def test_a_wrong_byte_is_refused(root: Path, tmp_path: Path) -> None:
    blob = blob_of(root, 2, "weights")
    blob.chmod(0o644)
    blob.write_bytes(b"x" + blob.read_bytes()[1:])

    assert_refused(root, tmp_path / "out", ChecksumError, "bytes are not the published ones; .*: weights of pets")
    assert Registry(root).verify("pets@2").findings == ("pets@2/weights: its bytes were changed",)


def test_a_truncated_blob_is_refused(root: Path, tmp_path: Path) -> None:
    blob = blob_of(root, 2, "weights")
    blob.write_bytes(blob.read_bytes()[:-1])

    assert_refused(root, tmp_path / "out", ChecksumError, "bytes are not the published ones; .*: weights of pets")
    assert Registry(root).verify("pets@2").findings == ("pets@2/weights: fewer bytes than published: 5000 of 5001",)


def test_an_oversized_blob_is_refused_and_not_read_past_its_size(root: Path, tmp_path: Path) -> None:
    blob = blob_of(root, 2, "b.txt")
    with blob.open("r+b") as file:
        file.truncate(2**40)
        file.write(b"x")

    assert_refused(root, tmp_path / "out", ChecksumError, "bytes are not the published ones; .*: b.txt of pets")
    assert Registry(root).verify("pets@2").findings == ("pets@2/b.txt: more bytes than published: 2 of 1",)


def test_a_blob_with_more_than_its_bytes_is_pulled_and_told_by_verify(root: Path, tmp_path: Path) -> None:
    """Who reads asks for as many bytes as were published, and these are right."""
    blob = blob_of(root, 2, "b.txt")
    blob.chmod(0o644)
    blob.write_bytes(b"bxx")

    pulled = Registry(root, cache=tmp_path / "fresh cache").pull("pets@2", tmp_path / "out")

    assert (pulled / "b.txt").read_bytes() == b"b"
    assert Registry(root).verify("pets@2").findings == ("pets@2/b.txt: more bytes than published: 2 of 1",)


def test_verify_reads_a_blob_for_each_size_that_versions_claim(root: Path, tmp_path: Path) -> None:
    change_manifest(root, 2, _file(size=2))

    assert_refused(root, tmp_path / "out", ChecksumError, "bytes are not the published ones; .*: b.txt of pets")
    findings = Registry(root, cache=tmp_path / "other cache").verify_all("pets").findings
    assert "pets@2/b.txt: fewer bytes than published: 1 of 2" in findings


def test_a_lost_blob_is_refused(root: Path, tmp_path: Path) -> None:
    blob_of(root, 2, "weights").unlink()

    assert_refused(
        root, tmp_path / "out", ChecksumError, "the registry has lost this file's bytes; .*: weights of pets"
    )
    assert Registry(root).verify_all("pets").findings == ("pets@2/weights: its bytes are gone",)


def test_a_blob_that_is_a_link_is_refused(root: Path, tmp_path: Path) -> None:
    blob = blob_of(root, 2, "weights")
    blob.unlink()
    blob.symlink_to("/etc/passwd")

    assert_refused(root, tmp_path / "out", ChecksumError, "holds a symbolic link instead of a file")


def test_a_manifest_swapped_for_another_versions_is_refused(root: Path, tmp_path: Path) -> None:
    first, second = (root / version_key("pets", number) for number in (1, 2))
    second.write_bytes(first.read_bytes())

    assert_refused(root, tmp_path / "out", FormatError, "the manifest of pets@2 is another version's: pets@1")


def test_a_rewritten_manifest_is_refused_for_an_alias_that_names_its_hash(root: Path, tmp_path: Path) -> None:
    change_manifest(root, 2, lambda content: content.update(message="improved"))

    match = "manifest of pets@2 is not the one that the alias was given; it was swapped"
    assert_refused(root, tmp_path / "out", ChecksumError, match, "pets@production")
    seen, promoted = Registry(root).verify_all("pets").findings
    assert "the registry shows another pets@2 than this machine has seen" in seen
    assert "not the one that was promoted" in promoted


def test_a_rewritten_manifest_is_refused_where_the_first_was_seen(root: Path) -> None:
    registry = Registry(root)
    registry.pull("pets@production")
    change_manifest(root, 2, lambda content: content.update(message="improved"))
    alias = root / "pets" / "aliases" / "production.jsonl"
    lines = alias.read_bytes().splitlines(keepends=True)
    new = load_statement((root / version_key("pets", 2)).read_bytes(), "").sha256
    alias.write_bytes(lines[0] + lines[1].replace(registry.resolve("pets@2").statement.sha256.encode(), new.encode()))

    with pytest.raises(ReplayError, match="history of pets@production was rewritten at or before step 2"):
        registry.pull("pets@production")


def test_an_older_alias_played_again_is_refused_by_who_saw_the_newer(root: Path) -> None:
    alias = root / "pets" / "aliases" / "production.jsonl"
    registry = Registry(root)
    registry.resolve("pets@production")
    alias.write_bytes(alias.read_bytes().splitlines(keepends=True)[0])

    match = r"shows an older pets@production \(step 1, pets@1\) than this machine has seen \(step 2, pets@2\)"
    with pytest.raises(ReplayError, match=match):
        registry.pull("pets@production")


def test_a_deleted_alias_is_reported_with_what_was_seen(root: Path) -> None:
    registry = Registry(root)
    registry.resolve("pets@production")
    (root / "pets" / "aliases" / "production.jsonl").unlink()

    with pytest.raises(NotFoundError, match="this machine has seen it name pets@2"):
        registry.pull("pets@production")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda lines: [lines[1]], "step 1 does not follow the one before it"),
        (lambda lines: [lines[0], lines[0]], "step 2 does not follow the one before it"),
        (lambda _lines: [], "is empty"),
        (lambda lines: [lines[0], b"\n"], "is not plain JSON"),
        (lambda lines: [lines[0].replace(b"\n", b"\r"), lines[1]], "is not plain JSON"),
        (lambda lines: [lines[0], b"junk\n"], "is not plain JSON"),
        (lambda lines: [line.replace(b"production", b"staging") for line in lines], "is another alias's: pets@staging"),
        (lambda lines: [lines[0].replace(b'\\"promote\\"', b'\\"rollback\\"')], "step 1 rolls back to nothing"),
    ],
)  # fmt: skip
def test_a_broken_history_is_refused(root: Path, tmp_path: Path, change: Any, match: str) -> None:
    alias = root / "pets" / "aliases" / "production.jsonl"
    alias.write_bytes(b"".join(change(alias.read_bytes().splitlines(keepends=True))))

    assert_refused(root, tmp_path / "out", FormatError, f"the history of pets@production.*{match}", "pets@production")


def test_a_carriage_return_before_a_line_end_is_white_space(root: Path, tmp_path: Path) -> None:
    alias = root / "pets" / "aliases" / "production.jsonl"
    alias.write_bytes(alias.read_bytes().replace(b"\n", b"\r\n"))

    assert Registry(root, cache=tmp_path / "fresh cache").manifest("pets@production").version == 2


def _file(**change: Any) -> Change:
    return lambda content: content["files"][0].update(change)


def _listed_twice(content: dict[str, Any]) -> None:
    content["files"].append(dict(content["files"][0]))


def _two_sizes(content: dict[str, Any]) -> None:
    content["files"].append({**content["files"][0], "path": "more", "size": 2})


def _as_folder(content: dict[str, Any]) -> None:
    content["files"][1].update(path=content["files"][0]["path"] + "/more")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_listed_twice, "lists a file twice: 'b.txt'"),
        (_file(path="WEIGHTS"), "lists a file twice: 'weights'"),
        (_as_folder, "both as a file and as a folder: 'b.txt'"),
        (_file(path="../../.ssh/authorized_keys"), "could leave its folder: '../../.ssh/authorized_keys'"),
        (_file(path="/etc/passwd"), "could leave its folder: '/etc/passwd'"),
        (_file(path="a/../../b"), "could leave its folder"),
        (_file(path="a\\..\\b"), "could leave its folder"),
        (_file(path="C:evil"), "could leave its folder: 'C:evil'"),
        (_file(path="nul.txt"), "lists a file by a name that Windows can't keep: 'nul.txt'"),
        (_file(path="a/COM¹"), "lists a file by a name that Windows can't keep: 'a/COM¹'"),
        (_file(path="lpt³.tar.gz"), "lists a file by a name that Windows can't keep"),
        (_file(path="conin$"), "lists a file by a name that Windows can't keep"),
        (_file(path="CONOUT$.txt"), "lists a file by a name that Windows can't keep"),
        (_file(path="con .txt"), "lists a file by a name that Windows can't keep"),
        (_file(path="dot."), "lists a file by a name that Windows can't keep"),
        (_file(path="x" * 256), "lists a file by a longer name than every system takes"),
        (_file(path="é" * 128 + "/a"), "lists a file by a longer name than every system takes"),
        (_file(path="x\x85y"), "could leave its folder: 'x\\\\x85y'"),
        (_file(path="x\x9fy"), "could leave its folder"),
        (_file(path="x\x1b[2J"), "could leave its folder"),
        (_file(path=""), "could leave its folder: ''"),
        (_file(path="."), "could leave its folder"),
        (_file(path="d/" * 300 + "x"), "lists a file by a longer name than every system takes"),
        (_file(type="symlink"), "describes a file in an unknown way"),
        (_file(size=-1), "claims an impossible size of 'b.txt': -1"),
        (_file(size=2**60), "claims an impossible size of 'b.txt'"),
        (_file(size=True), "claims an impossible size"),
        (_file(sha256="0" * 63), "names no SHA-256"),
        (_file(blob="../aliases/production.jsonl"), "names no SHA-256, or a blob of another one"),
        (lambda content: content.update(files=[]), "lists no files"),
        (lambda content: content.update(files=[content["files"][0]] * 10_001), "lists more than 10000 files: 10001"),
        (lambda content: content.update(format=2), "of a newer format than this petmodels knows; upgrade petmodels: 2"),
        (lambda content: content.update(model="cats"), "is another version's: cats@2"),
        (lambda content: content.update(version=True), "is another version's"),
        (lambda content: content.update(extra=1), "lacks or adds keys: extra"),
        (lambda content: content.pop("created"), "lacks or adds keys: created"),
        (lambda content: content.update(message=["x"]), "something else than text"),
        (lambda content: content.update(metrics=None), "card or metrics that are no JSON object"),
        (lambda content: content.update(parent={"version": 1}), "names its parent in an unknown way"),
        (lambda content: content.update(parent={"version": 0, "sha256": "0" * 64}), "names a parent that can't be"),
        (lambda content: content.update(parent={"version": 10**8, "sha256": "0" * 64}), "names a parent that can't be"),
        (lambda content: content.update(parent={"version": 1, "sha256": "0" * 63}), "names a parent that can't be"),
        (lambda content: content.update(created="yesterday"), "holds a time that can't be: 'yesterday'"),
        (lambda content: content.update(created="2026-02-30T08:00:00Z"), "holds a time that can't be"),
        (lambda content: content.update(created="2026-11-20T08:00:60Z"), "holds a time that can't be"),
        (lambda content: content.update(created="2026-11-20T08:00:00+00:00"), "holds a time that can't be"),
        (lambda content: content.update(created="2026-11-20T08:00:00.5Z"), "holds a time that can't be"),
        (lambda content: content.update(created="٢٠٢٦-11-20T08:00:00Z"), "holds a time that can't be"),
        (lambda content: content.update(id=""), "has an id that is not 32 hexadecimal digits: ''"),
        (lambda content: content.update(id="A" * 32), "has an id that is not 32 hexadecimal digits"),
        (lambda content: content.update(format=1.0), "of no format that petmodels knows: 1.0"),
        (lambda content: content.update(version=2.0), "is another version's: pets@2.0"),
        (_two_sizes, "gives one SHA-256 two sizes: 'more'"),
        (_file(size=1.0), "claims an impossible size of 'b.txt': 1.0"),
    ],
)  # fmt: skip
def test_a_hostile_manifest_is_refused(root: Path, tmp_path: Path, change: Change, match: str) -> None:
    change_manifest(root, 2, change)

    assert_refused(root, tmp_path / "out", FormatError, f"the manifest of pets@2 .*{match}")


@pytest.mark.slow
@pytest.mark.parametrize("path", ["com0", "COM٣", "com10", "clock$", "cons", "x" * 255, "é" * 127 + "/é", "~/%00"])
def test_a_name_that_every_system_takes_is_taken(root: Path, tmp_path: Path, path: str) -> None:
    change_manifest(root, 2, _file(path=path))

    pulled = Registry(root, cache=tmp_path / "fresh cache").pull("pets@2", tmp_path / "out")

    assert (pulled / path).read_bytes() == b"b"


def change_step(root: Path, **change: Any) -> None:
    """Change the first step of production, which has no other then."""
    alias = root / "pets" / "aliases" / "production.jsonl"
    payload = json.loads(load_statement(alias.read_bytes().splitlines()[0], "").payload)
    alias.write_bytes(Statement(json.dumps({**payload, **change})).to_bytes())


def add_rollback(root: Path, version: int, of: int) -> None:
    """Add a step to production that rolls back to a version, by the manifest that another one may have."""
    alias = root / "pets" / "aliases" / "production.jsonl"
    last = load_statement(alias.read_bytes().splitlines()[-1], "")
    manifest = load_statement((root / version_key("pets", of)).read_bytes(), "").sha256
    step = {**json.loads(last.payload), "serial": 3, "action": "rollback", "previous": last.sha256}
    step |= {"version": version, "manifest": manifest}
    alias.write_bytes(alias.read_bytes() + Statement(json.dumps(step)).to_bytes())


@pytest.mark.parametrize(("version", "of"), [(2, 2), (1, 2)])
def test_a_rollback_to_what_was_not_promoted_before_is_refused(
    root: Path, tmp_path: Path, version: int, of: int
) -> None:
    add_rollback(root, version, of)

    match = "history of pets@production is broken: step 3 rolls back to another version than was promoted before"
    assert_refused(root, tmp_path / "out", FormatError, match, "pets@production")


def test_a_rollback_to_what_was_promoted_before_is_taken(root: Path, tmp_path: Path) -> None:
    add_rollback(root, 1, 1)

    assert Registry(root, cache=tmp_path / "fresh cache").manifest("pets@production").version == 1


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"at": "yesterday"}, "holds a time that can't be: 'yesterday'"),
        ({"id": "x" * 32}, "has an id that is not 32 hexadecimal digits"),
        ({"serial": 1.0}, "something else than texts and numbers"),
        ({"version": 1.0}, "something else than texts and numbers"),
        ({"version": 10**8}, "names a version that can't be: 100000000"),
        ({"format": 1.0}, "of no format that petmodels knows: 1.0"),
    ],
)
def test_a_hostile_step_is_refused(root: Path, tmp_path: Path, change: dict[str, Any], match: str) -> None:
    change_step(root, **change)

    assert_refused(root, tmp_path / "out", FormatError, f"the history of pets@production.*{match}", "pets@production")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "is not plain JSON"),
        (b"\xff\xfe", "is not plain JSON"),
        (b"[1]", "is not a JSON object"),
        (b'{"payload": "{}"}', "is not a statement"),
        (b'{"payload": "{}", "payload": "{}", "signatures": []}', "a key is given twice"),
        (b'{"payload": NaN, "signatures": []}', "NaN is not a number in JSON"),
        (b"[" * 100_000, "is not plain JSON: nested too deeply"),
        (b'{"payload":' + b"[" * 70 + b"]" * 70 + b"}", "nested more than 64 levels deep"),
        (b'{"payload": ' + b"1" * 5000 + b"}", "is not plain JSON"),
        (b'{"payload": "\\ud800", "signatures": []}', "is not plain JSON"),
        (b'{"payload": "' + b"x" * (5 * 2**20) + b'"}', "is larger than 4194304 bytes; refused unread"),
        (b'{"payload": "{}", "signatures": [1]}', "something else than a signature"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_manifest_is_refused(root: Path, tmp_path: Path, data: bytes, match: str) -> None:
    (root / version_key("pets", 2)).write_bytes(data)

    assert_refused(root, tmp_path / "out", FormatError, f"the manifest of pets@2.*{match}")


def test_with_a_trusted_key_an_unsigned_version_is_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRUSTED_KEYS, new_key(tmp_path / "key"))

    assert_refused(root, tmp_path / "out", SignatureError, "manifest of pets@2 is not signed, and PETMODELS_TRUSTED")


def test_with_a_trusted_key_strangers_and_wrong_signatures_are_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root / version_key("pets", 2)
    monkeypatch.setenv(TRUSTED_KEYS, new_key(tmp_path / "trusted"))
    new_key(tmp_path / "stranger")
    statement = load_statement(path.read_bytes(), "")
    path.write_bytes(signed(statement, tmp_path / "stranger").to_bytes())
    assert_refused(root, tmp_path / "out", SignatureError, "signed by a key that isn't trusted here")

    good = signed(statement, tmp_path / "trusted")
    path.write_bytes(Statement(good.payload.replace("weights", "Weights"), good.signatures).to_bytes())
    assert_refused(root, tmp_path / "out", SignatureError, "carries a wrong signature")

    path.write_bytes(good.to_bytes())
    assert Registry(root).pull("pets@2", tmp_path / "out").exists()


def test_a_signed_version_is_accepted_with_one_of_several_keys(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [new_key(tmp_path / name) for name in ("old", "new")]
    bundle = write_files(tmp_path / "third", {"a": b"3"})
    Registry(root).publish(bundle, "pets", Origin(key_file=tmp_path / "new"))
    monkeypatch.setenv(TRUSTED_KEYS, ", ".join(keys))

    assert Registry(root).manifest("pets").version == 3


def test_the_secret_key_is_its_owners_alone_and_in_no_manifest(root: Path, tmp_path: Path) -> None:
    new_key(tmp_path / "key")
    secret = (tmp_path / "key").read_text().split()[1]
    Registry(root).publish(write_files(tmp_path / "third", {"a": b"3"}), "pets", Origin(key_file=tmp_path / "key"))

    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    assert not any(secret in path.read_text("latin-1") for path in root.rglob("*") if path.is_file())


def test_a_pickle_is_carried_and_never_opened(root: Path, tmp_path: Path) -> None:
    bomb = b"cos\nsystem\n(S'touch " + bytes(tmp_path / "opened") + b"'\ntR."
    registry = Registry(root)
    registry.publish(write_files(tmp_path / "third", {"learner.pkl": bomb}), "pets")

    registry.pull("pets", tmp_path / "out")
    registry.verify_all("pets")

    assert (tmp_path / "out" / "learner.pkl").read_bytes() == bomb
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize(
    "odd", ["\x1b[2J", "\x9b31m", "red\n", "\u202e", "\u2028"], ids=["ESC", "C1", "line end", "turned", "U+2028"]
)
def test_labels_that_steer_a_terminal_are_refused(odd: str, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bundle")
    content = json.loads((folder / "labels.json").read_text())
    for change in ({"labels": [odd, "b", "c"]}, {"species": {"red": odd}}, {"species": {odd: "fox"}}):
        (folder / "labels.json").write_text(json.dumps({**content, **change}))

        with pytest.raises(FormatError, match=r"^labels\.json of .* that can't be printed: '[ -~]*'$"):
            load(folder)


def test_labels_of_any_script_are_taken(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bundle", self_test=False)
    content = json.loads((folder / "labels.json").read_text())
    (folder / "labels.json").write_text(json.dumps({**content, "labels": ["Türkisch Van", "猫", "🐈\u200d⬛\u3000"]}))

    assert load(folder).labels == ("Türkisch Van", "猫", "🐈\u200d⬛\u3000")


@pytest.mark.parametrize("name", [".env", "conf/.env", "../here/.env", "{here}/.env"])
def test_a_network_that_names_a_file_of_the_reader_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = write_files(tmp_path / "here", {".env": b"KEY", "conf/.env": b"KEY"})
    monkeypatch.chdir(here)
    folder = make_bundle(tmp_path / "bundle", self_test=False)
    (folder / "model.onnx").write_bytes(onnx_that_reads(name.format(here=here), num_bytes=3))

    with pytest.raises(FormatError, match=r"^onnxruntime can't load model\.onnx of .*: .*External data path"):
        load(folder)


# A store whose answers have no end.

ENDLESS = b"<Contents>" + b" " * 65526
LARGE = 9 * 2**20


class _EndlessStore(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if "endless/large" in path:
            self._head(200, {"ETag": '"e"', "Content-Length": str(LARGE)})
            self.wfile.write(b"x" * LARGE)
        elif "endless/refused" in path:
            self._stream(403, b"<Error><Code>AccessDenied</Code>", ENDLESS)
        elif "endless/line" in path:
            self._head(403, {"Transfer-Encoding": "chunked"})
            self._on(b"0" * 65536)
        elif "prefix=pages" in query:
            token = f"<NextContinuationToken>{time.monotonic()}</NextContinuationToken><IsTruncated>true</IsTruncated>"
            page = f"<ListBucketResult><Name>models</Name>{token}</ListBucketResult>".encode()
            self._head(200, {"Content-Length": str(len(page))})
            self.wfile.write(page)
        else:
            self._stream(200, b"<ListBucketResult><Name>models</Name>", ENDLESS)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, ARG002 - as its base has it
        return

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _stream(self, status: int, first: bytes, piece: bytes) -> None:
        self._head(status, {"Transfer-Encoding": "chunked"})
        self.wfile.write(b"%x\r\n" % len(first) + first + b"\r\n")
        self._on(b"%x\r\n" % len(piece) + piece + b"\r\n")

    def _on(self, piece: bytes) -> None:
        with suppress(OSError):  # until the client hangs up
            while True:
                self.wfile.write(piece)
        self.close_connection = True


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the address of a registry in a store whose listings and refusals have no end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _EndlessStore)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    environment = {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "REGION": "us-east-1", "MAX_ATTEMPTS": "1"}
    for name, value in environment.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    try:
        yield "s3://models/endless"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    "ask",
    [
        lambda storage: list(storage.folders("")),
        lambda storage: list(storage.unfinished("")),
        lambda storage: storage.read("refused", 100),
    ],
    ids=["listing", "uploads", "refusal"],
)
def test_an_answer_without_end_is_refused_before_it_fills_the_memory(
    endless: str, ask: Callable[[Any], object]
) -> None:
    storage = Registry(endless).storage
    assert next(iter(storage.download("large", 0, 1))) == b"x"
    tracemalloc.start()

    with pytest.raises(UnreachableError, match=r"no S3 \(an answer of more than 8 MiB\).*: s3://models/endless$"):
        ask(storage)

    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes < 32 * 2**20


def test_a_chunk_whose_length_has_no_end_is_refused(endless: str) -> None:
    with pytest.raises(UnreachableError, match="connection closed"):
        Registry(endless).storage.read("line", 100)


def test_a_listing_that_always_has_a_next_page_is_refused(endless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("petmodels.s3_answers.MOST_LISTED", 20_000)
    storage = S3Storage("models", "")

    with pytest.raises(UnreachableError, match=r"no S3 \(a listing of more than 20000 objects\)"):
        list(storage.list("pages"))


def test_what_is_streamed_may_be_longer_than_an_answer(endless: str) -> None:
    storage = Registry(endless).storage

    assert len(storage.read("large", LARGE)[0]) == LARGE
    assert sum(map(len, storage.download("large", 0, LARGE))) == LARGE


def test_the_command_line_says_in_one_line_that_a_listing_has_no_end(
    endless: str, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETMODELS_REGISTRY", endless)

    done = run("list")

    assert (done.code, len(done.talk)) == (5, 1)
    assert "what answered is no S3 (an answer of more than 8 MiB)" in done.talk[0]
