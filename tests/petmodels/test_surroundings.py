"""Machines unlike the developer's: containers, shared and read-only disks, forked servers, odd settings."""

import errno
import os
import pickle
import shutil
import subprocess
import sys
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnxruntime
import pytest

import petmodels
from petmodels.endpoint import configured_endpoint
from petmodels.errors import AddressError, FormatError, MachineError, RequestError, StoreError, UnreachableError
from petmodels.memory import Memory
from petmodels.parallel import num_cores, quota
from petmodels.registry import Registry
from petmodels.s3_client import s3_client
from petmodels.s3_upload import discard
from petmodels.storage import Unfinished, open_storage
from tests.disks import small_disk
from tests.petmodels.bundles import image_bytes, make_bundle, onnx_that_reads, write_files
from tests.petmodels.commands import Command
from tests.petmodels.test_pull import counted

ROOT = Path(__file__).parents[2]


def python(script: str, *arguments: object) -> str:
    """Run a script in a process of its own; return what it printed."""
    command = [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=120).stdout


@pytest.fixture
def published(folder_registry: Registry, bundle: Path) -> Registry:
    """Return a registry with pets@1, which production names."""
    folder_registry.publish(bundle, "pets")
    folder_registry.promote("pets@1", "production")
    return folder_registry


# Containers.


def test_a_mount_point_is_refused_with_the_way_on(published: Registry, tmp_path: Path) -> None:
    with small_disk(tmp_path / "model", 1024) as mounted:
        with pytest.raises(RequestError, match=r"this is a mount point; pull into a folder in it: .*/model/model"):
            published.pull("pets@1", mounted)

        assert published.pull("pets@1", mounted / "model") == mounted / "model"


@pytest.mark.parametrize("asked", ["pets@1", "pets@production", "pets"])
def test_a_cache_that_came_with_the_image_is_read_and_left_alone(
    published: Registry, run: Command, tmp_path: Path, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "image", 4096) as image:
        Registry(tmp_path / "registry", cache=image / "cache").pull(asked, image / "model")
        subprocess.run(["mount", "-o", "remount,ro", image], check=True)
        monkeypatch.setenv("PETMODELS_CACHE", str(image / "cache"))
        told: list[str] = []
        registry = Registry(tmp_path / "registry", notice=told.append)

        model = registry.load(asked)
        folder = registry.pull(asked, tmp_path / "out")
        (answer,) = (row for row in run("doctor", "--json").json if row["question"] == "cache can be used")

    assert model.name == "pets@1"
    assert all("this cache may only be read, so what is seen now isn't remembered: " in line for line in told)
    assert len(told) == ("production" in asked)  # what is known of a version already is not written again
    assert (answer["answer"], "may only be read" in answer["found"]) == ("yes", True)
    assert (folder / "model.onnx").exists()


def test_an_alias_that_went_back_is_noticed_by_a_cache_that_may_only_be_read(
    published: Registry, tmp_path: Path
) -> None:
    alias = tmp_path / "registry/pets/aliases/production.jsonl"
    older = alias.read_bytes()
    published.publish(make_bundle(tmp_path / "other", tag="other"), "pets")
    published.promote("pets@2", "production")
    with small_disk(tmp_path / "image", 4096) as image:
        Registry(tmp_path / "registry", cache=image / "cache").load("pets@production")
        subprocess.run(["mount", "-o", "remount,ro", image], check=True)
        alias.write_bytes(older)

        with pytest.raises(petmodels.errors.ReplayError, match="the registry shows an older pets@production"):
            Registry(tmp_path / "registry", cache=image / "cache").load("pets@production")


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, 0),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({}, 0),
    ],
    ids=["half of three", "no limit", "an older Linux", "without a limit there", "half a core", "no Linux"],
)
def test_a_containers_share_of_the_cores_is_known(files: dict[str, str], cores: int, tmp_path: Path) -> None:
    write_files(tmp_path / "group", {name: text.encode() for name, text in {**files, "other": ""}.items()})

    assert quota(tmp_path / "group") == cores


def test_who_runs_it_may_say_how_many_threads_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETMODELS_THREADS", "3")
    wanted = num_cores()

    assert wanted == 3
    for text, reason in (
        ("many", "PETMODELS_THREADS is no number: many"),
        ("0", "PETMODELS_THREADS must be a number from 1 up: 0"),
        ("1.5", r"PETMODELS_THREADS must be a whole number: 1\.5"),
    ):
        monkeypatch.setenv("PETMODELS_THREADS", text)
        with pytest.raises(RequestError, match=reason):
            num_cores()


def test_what_another_container_is_writing_is_left_alone_for_a_day(published: Registry, tmp_path: Path) -> None:
    young, old = tmp_path / ".out.1-0badcafe-1.partial", tmp_path / ".out.2-0badcafe-1.partial"
    for folder in (young, old):
        folder.mkdir()
    os.utime(old, (time.time() - 90_000,) * 2)

    published.pull("pets@1", tmp_path / "out")

    assert sorted(tmp_path.glob(".out.*")) == [young]


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PETMODELS_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)

    with pytest.raises(MachineError, match="no home folder; say where the cache may be: PETMODELS_CACHE"):
        Registry("registry")


# Servers that fork.


@pytest.mark.slow
def test_a_model_that_was_loaded_before_a_fork_answers_in_the_child_which_then_ends(bundle: Path) -> None:
    script = """
import os, shutil, sys
import numpy as np
import petmodels
os.environ["PETMODELS_THREADS"] = "4"
model = petmodels.load(sys.argv[1])
model.predict([np.zeros((32, 32, 3), "uint8")] * 40)
shutil.rmtree(sys.argv[1])  # as a pull does that brings another version there
if os.fork() == 0:
    print(model.predict(np.full((32, 32, 3), (250, 0, 0), "uint8")).label, flush=True)
    del model
    sys.exit(0)
print(os.wait()[1])
"""
    assert python(script, bundle).split() == ["red", "0"]


@pytest.mark.slow
@pytest.mark.parametrize("held", ["PIL.Image.open", "onnxruntime.InferenceSession"])
def test_a_child_that_was_forked_while_another_thread_predicts_answers(held: str, bundle: Path) -> None:
    script = """
import copy, importlib, os, signal, sys, threading
import petmodels
os.environ["PETMODELS_THREADS"] = "1"
place, name = sys.argv[2].rsplit(".", 1)
module = importlib.import_module(place)
real, inside, on = getattr(module, name), threading.Event(), threading.Event()
def held(*arguments, **options):
    inside.set()
    on.wait()
    return real(*arguments, **options)
model = copy.deepcopy(petmodels.load(sys.argv[1]))  # which opens its session at the first question
image = sys.argv[1] + "/self_test/01.png"
setattr(module, name, held)
thread = threading.Thread(target=model.predict, args=(image,))
thread.start()
inside.wait()
if os.fork() == 0:
    signal.alarm(30)
    setattr(module, name, real)
    print(model.predict(image).label, flush=True)
    os._exit(0)
print(os.wait()[1])
on.set()
"""
    assert python(script, bundle, held).split() == ["red", "0"]


def test_threads_that_ask_at_once_open_one_session(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = petmodels.load(bundle)
    real, opened = onnxruntime.InferenceSession, []

    def slow(*arguments: object, **options: object) -> object:
        opened.append(options)
        time.sleep(0.2)
        return real(*arguments, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", slow)
    copied = pickle.loads(pickle.dumps(model))  # noqa: S301
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(copied.predict, [image_bytes("red")] * 8))

    assert {answer.label for answer in answers} == {"red"}
    assert len(opened) == 1


@pytest.mark.slow
def test_a_model_goes_to_a_process_that_is_spawned_without_its_files(bundle: Path) -> None:
    script = """
import copy, multiprocessing, shutil, sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
import petmodels
model = petmodels.load(sys.argv[1])
image = Path(sys.argv[1], "self_test/01.png").read_bytes()
shutil.rmtree(sys.argv[1])
with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
    print(pool.submit(model.predict, image).result() == model.predict(image))
print(copy.deepcopy(model).predict(image).label)
"""
    assert python(script, bundle).split() == ["True", "red"]


def test_no_thread_of_a_network_spins_while_it_waits(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, told = onnxruntime.InferenceSession, []

    def watched(network: bytes, options: onnxruntime.SessionOptions, **rest: object) -> object:
        told.append(options.get_session_config_entry("session.intra_op.allow_spinning"))
        return real(network, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", watched)

    petmodels.load(bundle)

    assert told == ["0"]


def test_a_child_that_was_forked_while_a_lock_was_held_keeps_nobody_waiting(tmp_path: Path) -> None:
    script = """
import os, sys, time
from pathlib import Path
from petmodels.locks import lock
with lock(Path(sys.argv[1])):
    child = os.fork()
    if not child:
        time.sleep(600)
try:
    with lock(Path(sys.argv[1])):
        print("taken again")
finally:
    os.kill(child, 9)
"""
    assert python(script, tmp_path / "lock") == "taken again\n"


@pytest.mark.parametrize(("said", "told"), [("", "1"), ("0", "0")], ids=["unless told", "as told"])
def test_onnxruntime_reports_to_nobody(said: str, told: str, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    if said:
        monkeypatch.setenv("ORT_DISABLE_TELEMETRY", said)

    petmodels.load(bundle)

    assert os.environ["ORT_DISABLE_TELEMETRY"] == told


# Disks, and what a system leaves on them.


def test_a_broken_download_goes_on_where_the_disk_has_room_for_the_rest_alone(
    folder_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 4 * 2**20
    folder_registry.publish(write_files(tmp_path / "bundle", {"weights": b"w" * size}), "pets")
    storage = folder_registry.storage
    counted(folder_registry, break_after=3 * 2**20)
    with pytest.raises(UnreachableError, match="broken off"):
        folder_registry.pull("pets@1", tmp_path / "out")
    folder_registry.storage = storage
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(size, size, size // 2))

    folder = folder_registry.pull("pets@1", tmp_path / "out")

    assert (folder / "weights").stat().st_size == size


def test_what_a_file_manager_leaves_is_not_published_and_stops_no_pull(published: Registry, bundle: Path) -> None:
    (bundle / ".DS_Store").write_bytes(b"1")
    (bundle / "self_test/._0.png").write_bytes(b"2")
    again = published.publish(bundle, "pets")
    out = published.pull("pets@1", bundle.parent / "out")
    (out / ".DS_Store").write_bytes(b"3")
    untouched = out.stat().st_ino

    published.pull("pets@1", out)
    same = out.stat().st_ino
    (bundle / "params.yaml").write_text("other: 1\n")
    published.publish(bundle, "pets")
    published.pull("pets@2", out)

    assert not again.is_new
    assert same == untouched
    assert not (out / ".DS_Store").exists()


# Settings.


def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "config").write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


SERVERS = """
[profile plain]
endpoint_url = https://plain:9000
[profile apart]
endpoint_url = https://wrong:9000
services = ours
[services ours]
s3 =
  endpoint_url = https://apart:9000
[profile ignored]
endpoint_url = https://ignored:9000
ignore_configured_endpoint_urls = true
"""


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        ({"AWS_PROFILE": "plain"}, "https://plain:9000"),
        ({"AWS_PROFILE": "apart"}, "https://apart:9000"),
        ({"AWS_PROFILE": "ignored"}, ""),
        ({"AWS_PROFILE": "missing"}, ""),
        ({}, ""),
        ({"AWS_PROFILE": "plain", "AWS_ENDPOINT_URL": "https://named:9000"}, "https://named:9000"),
        ({"AWS_PROFILE": "ignored", "AWS_ENDPOINT_URL": "https://named:9000"}, ""),
        ({"AWS_ENDPOINT_URL": "https://named:9000", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, ""),
    ],
)
def test_the_server_is_the_one_that_botocore_asks(
    environment: dict[str, str], endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config(tmp_path, monkeypatch, SERVERS)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    found = configured_endpoint()

    assert found == endpoint
    if environment.get("AWS_PROFILE") != "missing":
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        assert s3_client("s3://models").meta.endpoint_url == (endpoint or "https://s3.amazonaws.com")


def test_two_servers_with_a_bucket_of_one_name_are_remembered_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config(tmp_path, monkeypatch, SERVERS)
    folders = []
    for profile in ("plain", "apart"):
        monkeypatch.setenv("AWS_PROFILE", profile)
        folders.append(Memory(tmp_path, "s3://models").folder)

    assert folders[0] != folders[1]


@pytest.mark.parametrize("bucket", ["models--use1-az4--x-s3", "models--use1-az4--xa-s3"])
def test_a_directory_bucket_is_refused_for_it_lists_in_no_order(bucket: str) -> None:
    with pytest.raises(AddressError, match=f"a directory bucket lists in no order.*: s3://{bucket}"):
        open_storage(f"s3://{bucket}/pets")


def test_an_access_points_alias_names_a_bucket() -> None:
    assert open_storage("s3://models-1a2b3c-s3alias/pets").address == "s3://models-1a2b3c-s3alias/pets"


@pytest.mark.parametrize("mode", ["", "odd"])
def test_a_way_to_repeat_that_is_none_is_one_line(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_RETRY_MODE", mode)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    if mode:
        with pytest.raises(StoreError, match=r"the connection can't be made \(InvalidRetryModeError: .*odd"):
            s3_client("s3://models")
    else:
        assert s3_client("s3://models").meta.config.retries["mode"] == "standard"


def test_an_upload_that_somebody_has_given_up_meanwhile_is_no_error(s3_address: str) -> None:
    storage = open_storage(s3_address)
    key = {"Bucket": storage.bucket, "Key": f"{storage.prefix}pets/blobs/a"}  # type: ignore[attr-defined]
    begun = storage.client.create_multipart_upload(**key)  # type: ignore[attr-defined]
    upload = next(iter(storage.unfinished("pets/")))
    assert isinstance(upload, Unfinished)

    for _ in range(2):
        discard(storage, upload)  # type: ignore[arg-type]

    assert upload.id == begun["UploadId"]
    assert list(storage.unfinished("pets/")) == []


def test_an_onnxruntime_that_lets_models_read_files_opens_none_that_names_one(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.__version__", "1.23.2")
    assert petmodels.load(bundle).labels
    (bundle / "model.onnx").write_bytes(onnx_that_reads("/etc/hostname", 3))

    with pytest.raises(FormatError, match=r"may name files of this machine, and onnxruntime 1\.23\.2 would read them"):
        petmodels.load(bundle)


def test_an_onnxruntime_that_this_machine_can_not_load_is_not_called_absent(
    run: Command, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "site", {"onnxruntime.py": b"raise ImportError('libstdc++.so.6: cannot open it')"})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)

    done = run("predict", "x.jpg", "--model", bundle)

    text = "petmodels: onnxruntime is installed, but can't be loaded here: libstdc++.so.6: cannot open it"
    assert (done.code, done.talk) == (9, [text])


def test_a_disk_that_lets_nobody_else_touch_a_locked_file_holds_a_cache(
    published: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As CIFS does: not even the process that has locked it, by way of another descriptor."""

    def refused(path: Path, *rest: object, **options: object) -> object:
        if path.suffix == ".partial":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *rest, **options)  # type: ignore[call-overload]

    opened = Path.open
    monkeypatch.setattr(Path, "open", refused)

    assert (published.pull("pets@1", tmp_path / "out") / "model.onnx").exists()


def test_a_disk_on_which_rights_can_not_be_set_holds_a_cache(
    published: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, _mode: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "chmod", refused)

    assert (published.pull("pets@1", tmp_path / "out") / "model.onnx").exists()


def test_a_folder_that_came_with_a_containers_image_is_replaced(bundle: Path, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry", cache=tmp_path / "cache")
    registry.publish(bundle, "pets")
    write_files(bundle, {"more.txt": b"more"})
    registry.publish(bundle, "pets")
    below = tmp_path / "disk"
    with small_disk(below, 20_000):  # overlayfs wants one that isn't an overlay itself
        for name in ("image", "upper", "work", "merged"):
            (below / name).mkdir()
        registry.pull("pets@1", below / "image/pets")
        layers = f"lowerdir={below}/image,upperdir={below}/upper,workdir={below}/work"
        mount = ["mount", "-t", "overlay", "overlay", "-o", layers, below / "merged"]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("no overlayfs here")
        try:
            pulled = registry.pull("pets@2", below / "merged/pets")
            assert (pulled / "more.txt").read_bytes() == b"more"
            assert registry.pull("pets@1", pulled) == pulled
            assert not (pulled / "more.txt").exists()
        finally:
            subprocess.run(["umount", below / "merged"], check=True)


def test_a_disk_that_takes_accents_apart_keeps_a_version_that_can_be_pulled_again(bundle: Path, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry", cache=tmp_path / "cache")
    registry.publish(write_files(bundle, {"pensées.txt": b"one"}), "pets")
    registry.publish(write_files(bundle, {"pensées.txt": b"two"}), "pets")
    pulled = registry.pull("pets@1", tmp_path / "out")
    (pulled / "pensées.txt").rename(pulled / unicodedata.normalize("NFD", "pensées.txt"))

    assert (registry.pull("pets@2", pulled) / "pensées.txt").read_bytes() == b"two"
