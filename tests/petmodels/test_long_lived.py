"""Programs that keep a registry or a model for long: forks, renewed credentials, and strangers in the store's place."""

import copy
import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import petmodels
from petmodels.errors import AccessError, AddressError, PetmodelsError, RequestError, UnreachableError
from petmodels.hashing import digest_of
from petmodels.registry import Registry
from petmodels.s3_errors import translated
from petmodels.storage import open_storage
from tests.petmodels.proxy import FOREVER, Fault, Proxy
from tests.petmodels.stores import ADMIN

ROOT = Path(__file__).parents[2]
NO_S3 = r"^what answered is no S3 |^the store is overloaded or broken \(500\)"  # botocore calls broken XML so


def fork(asked: Registry, model: str, answers: int) -> int:
    """Fork a process that asks for a model's newest version twenty times; it writes its answers to a pipe."""
    child = os.fork()
    if child == 0:
        try:
            found = {asked.newest(model) for _ in range(20)}
            os.write(answers, f"{model} {sorted(found)}\n".encode())
        finally:
            os._exit(0)
    return child


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked_processes_never_get_each_others_answers(s3_address: str, bundle: Path) -> None:
    registry = Registry(s3_address)
    registry.publish(bundle, "dogs")
    for number in range(3):
        (bundle / "card.json").write_text(f'{{"number": {number}}}', encoding="utf-8")
        registry.publish(bundle, "cats")
    read, write = os.pipe()
    kept = Registry(s3_address)
    assert kept.newest("dogs") == 1  # from here on it has a connection

    for child in [fork(kept, model, write) for model in ("dogs", "cats", "dogs", "cats")]:
        os.waitpid(child, 0)
    os.close(write)

    with os.fdopen(read) as answers:
        assert sorted(answers.read().splitlines()) == ["cats [3]", "cats [3]", "dogs [1]", "dogs [1]"]


def test_renewed_credentials_reach_a_registry_that_is_kept(
    s3_address: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Registry(s3_address).publish(bundle, "pets")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    credentials = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    text = f"[default]\naws_access_key_id = {ADMIN[0]}\naws_secret_access_key = "
    credentials.write_text(f"{text}old\n", encoding="utf-8")
    kept = Registry(s3_address, cache=tmp_path / "fresh")
    with pytest.raises(AccessError, match="the secret key doesn't fit the access key"):
        kept.manifest("pets@1")

    credentials.write_text(f"{text}{ADMIN[1]}\n", encoding="utf-8")

    assert kept.manifest("pets@1").version == 1


def test_a_registry_that_was_used_goes_to_other_processes_and_can_be_copied(s3_address: str, bundle: Path) -> None:
    registry = Registry(s3_address)
    registry.publish(bundle, "pets")

    sent = pickle.loads(pickle.dumps(registry))  # noqa: S301
    assert sent.newest("pets") == copy.deepcopy(registry).newest("pets") == 1


class Stranger(BaseHTTPRequestHandler):
    """Answers every request in the same way, as a portal or a load balancer does."""

    status, body, location = 200, b"", ""

    def _any(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        if self.location:
            self.send_header("Location", self.location)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.body)

    do_GET = do_HEAD = do_PUT = do_POST = _any  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(
    params=[
        (404, b"", ""),
        (404, b"default backend - 404", ""),
        (404, b'{"detail": "Not Found"}', ""),
        (200, b"<html><body><p>Log in</p></body></html>", ""),
        (200, b"<html><br>not well-formed", ""),
        (302, b"", "http://127.0.0.1:9/login"),
        (301, b"<html></html>", "http://127.0.0.1:9/"),
        (307, b"", "http://127.0.0.1:9/"),
    ],
    ids=["404", "404 text", "404 json", "portal", "broken portal", "302", "301", "307"],
)
def stranger(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start a server that is no S3, and have every client ask it; return an address."""
    names = dict(zip(("status", "body", "location"), request.param, strict=True))
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Stranger,), names)) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield "s3://bucket/models"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["pets@1", "pets@production", "pets"])
def test_what_answers_in_the_stores_place_is_not_believed(stranger: str, asked: str) -> None:
    with pytest.raises(UnreachableError, match=NO_S3):
        Registry(stranger).manifest(asked)


@pytest.mark.slow
def test_nothing_counts_as_written_that_a_stranger_took(stranger: str, bundle: Path) -> None:
    storage = open_storage(stranger)

    with pytest.raises(UnreachableError, match=NO_S3):
        storage.create("pets/versions/1.json", b"{}")
    with pytest.raises(UnreachableError, match=NO_S3):
        storage.upload("pets/blobs/a", bundle / "model.onnx", digest_of(bundle / "model.onnx"), lambda _: None)


def test_threads_that_begin_at_once_make_one_client(s3_address: str) -> None:
    storage, start = Registry(s3_address).storage, threading.Barrier(8)

    def client(_: int) -> object:
        start.wait()
        return storage.client  # type: ignore[attr-defined]

    with ThreadPoolExecutor(8) as pool:
        assert len(set(map(id, pool.map(client, range(8))))) == 1


def test_a_bug_of_ours_is_not_taken_for_the_stores() -> None:
    with pytest.raises(KeyError), translated("s3://bucket", "read"):
        raise KeyError("ours")


@pytest.mark.slow
def test_the_models_of_a_stranger_are_not_none(stranger: str) -> None:
    registry = Registry(stranger)

    for ask in (registry.models, lambda: registry.versions("pets"), lambda: registry.aliases("pets")):
        with pytest.raises(UnreachableError, match=NO_S3):
            ask()


def test_a_role_whose_token_is_not_there_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))

    with pytest.raises(PetmodelsError, match="the connection can't be made"):
        Registry("s3://bucket/models").manifest("pets@1")


@pytest.mark.slow
def test_an_answer_from_memory_warns_by_the_log(
    proxy: Proxy, s3_address: str, bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry(s3_address)
    registry.publish(bundle, "pets")
    registry.promote("pets@1", "production")
    petmodels.load("pets@production", registry=s3_address)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    proxy.faults.append(Fault(reset="before", times=FOREVER))

    with caplog.at_level(logging.WARNING, logger="petmodels"):
        model = petmodels.load("pets@production", registry=s3_address)

    assert model.version == 1
    assert [record.name for record in caplog.records] == ["petmodels"]
    assert caplog.messages[0].startswith("offline: pets@production is pets@1 as confirmed ")


@pytest.mark.parametrize("spec", ["pets@" + "9" * 5000, "pets@0", "pets@000", None, 7, b"pets"])
def test_what_names_no_model_is_an_address_error(folder_registry: Registry, spec: object) -> None:
    for ask in (folder_registry.manifest, folder_registry.load):
        with pytest.raises(AddressError, match=r"versions are numbered from|a model is named by a text"):
            ask(spec)  # type: ignore[arg-type]


@pytest.mark.parametrize("address", ["a\0b", "s3://bucket/a\0b", "s3://bucket/\udcff"])
def test_an_address_that_no_store_can_have_is_an_address_error(address: str) -> None:
    with pytest.raises(AddressError, match=r"no address holds a NUL|address is plain text"):
        Registry(address)


def test_a_pull_to_no_possible_folder_is_an_error_of_the_request(folder_registry: Registry, bundle: Path) -> None:
    folder_registry.publish(bundle, "pets")

    with pytest.raises(RequestError, match="no folder's name holds a NUL"):
        folder_registry.pull("pets@1", "a\0b")


def test_a_cache_may_be_named_by_text_and_lie_at_home(
    folder_registry: Registry, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_registry.publish(bundle, "pets")
    address = folder_registry.storage.address
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    petmodels.load("pets@1", registry=address, cache=str(tmp_path / "text"))
    monkeypatch.setenv("PETMODELS_CACHE", "~/models")
    petmodels.load("pets@1", registry=address)

    assert (tmp_path / "text/blobs").is_dir()
    assert (tmp_path / "home/models/blobs").is_dir()


def test_errors_and_version_are_there_from_the_start() -> None:
    script = "import petmodels; print(petmodels.errors.ImageError.__name__, petmodels.__version__)"

    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)

    assert told.stdout.split()[0] == "ImageError"
    assert told.stdout.split()[1][0].isdigit()


def test_output_that_finds_no_room_is_told_in_a_line(folder_registry: Registry, bundle: Path) -> None:
    folder_registry.publish(bundle, "pets")
    command = [sys.executable, "-m", "petmodels", "list", "--registry", folder_registry.storage.address]

    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)

    assert (done.returncode, done.stderr) == (9, "petmodels: the output can't be written: No space left on device\n")
