"""Machines at their limits: no more memory, no more threads, or a system that petmodels doesn't run on."""

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageFile

import petmodels
from petmodels.cache import Cache, default_folder
from petmodels.errors import ImageError, MachineError
from petmodels.hashing import digests_of, sha256_of, sha256_of_all
from petmodels.image_memory import pixels_of_webp
from petmodels.images import rgb_of
from petmodels.network import Network
from petmodels.parallel import Pool, at_once, begun, lets_start
from petmodels.registry import Registry
from tests.petmodels.bundles import image_bytes
from tests.petmodels.commands import Command

ROOT = Path(__file__).parents[2]
TO_DECODE = "this machine lacks the memory to decode this image; lower PETMODELS_THREADS or PETMODELS_MOST_PIXELS: "
only_on_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems heed no RLIMIT_AS")


def python(
    script: str, *arguments: object, begin: Callable[[], None] | None = None, **setting: object
) -> "subprocess.CompletedProcess[str]":
    """Run a script in a process of its own, which begins with `begin`, and in whose environment `setting` is too."""
    command = [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)]
    environment = {**os.environ, **{name: str(value) for name, value in setting.items()}}
    return subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=120, env=environment, preexec_fn=begin
    )


# Memory.

DECODE = """
import io, resource, sys
from PIL import Image
from petmodels.errors import PetmodelsError
from petmodels.images import rgb_of

def encoded(size, kind, **options):
    Image.new("RGB", size, (200, 30, 30)).save(file := io.BytesIO(), kind, **options)
    return file.getvalue()

kind, megabytes = sys.argv[1], int(sys.argv[2])
options = {"JPEG": {"progressive": True}, "WEBP": {"method": 0}}.get(kind, {})
rgb_of(encoded((8, 8), kind, **options))
image = encoded((4000, 3000), kind, **options)
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + megabytes * 2**20, resource.RLIM_INFINITY))
try:
    print(rgb_of(image).size)
except PetmodelsError as error:
    print(type(error).__name__, error)
"""


@only_on_linux
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "megabytes"),
    [("PNG", 5), ("GIF", 5), ("JPEG", 5), ("JPEG", 60), ("WEBP", 5), ("WEBP", 110)],
    ids=["pixels", "palette", "jpeg's pixels", "jpeg's coefficients", "webp's canvas", "webp's copy"],
)
def test_an_image_is_not_called_broken_where_memory_is_lacking(kind: str, megabytes: int) -> None:
    told = python(DECODE, kind, megabytes).stdout

    assert told.startswith(f"MachineError {TO_DECODE}<"), told
    assert python(DECODE, kind, 600).stdout == "(4000, 3000)\n"


def test_the_image_for_which_memory_is_lacking_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bundle / "cat.png").write_bytes(image_bytes(kind="PNG"))
    model = petmodels.load(bundle)
    monkeypatch.setattr(ImageFile.ImageFile, "load", _no_memory)

    for ask in (model.predict, rgb_of, lambda image: list(model.predict_each([image, image]))):
        with pytest.raises(MachineError, match=TO_DECODE + ".*cat.png"):
            ask(bundle / "cat.png")


def test_the_image_that_can_not_be_read_for_memory_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = petmodels.load(bundle)
    (bundle / "cat.png").write_bytes(image_bytes(kind="PNG"))
    monkeypatch.setattr(Path, "read_bytes", _no_memory)

    for ask in (model.predict, rgb_of, lambda image: list(model.predict_each([image, image]))):
        with pytest.raises(MachineError, match=TO_DECODE + ".*cat.png"):
            ask(bundle / "cat.png")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_an_image_that_breaks_off_is_broken_where_memory_is_there(kind: str) -> None:
    data = image_bytes(size=(200, 100), kind=kind)

    with pytest.raises(ImageError, match=f"the image is broken .*<{len(data) - 90} bytes>"):
        rgb_of(data[:-90])


@pytest.mark.parametrize(
    ("mode", "options"), [("RGB", {}), ("RGB", {"lossless": True}), ("RGBA", {}), ("RGB", {"save_all": True})]
)
def test_a_webps_size_is_read_before_it_is_opened(mode: str, options: dict[str, bool]) -> None:
    Image.new(mode, (123, 45), "#12345678"[: 2 * len(mode) + 1]).save(file := io.BytesIO(), "WEBP", **options)

    assert pixels_of_webp(file.getvalue()) == 123 * 45
    assert pixels_of_webp(image_bytes()) == 0


def test_a_network_is_not_called_broken_where_memory_is_lacking(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(_onnx_that_needs_more_than_there_is())
    network = Network(tmp_path / "model.onnx", "pets@1", num_labels=3)

    with pytest.raises(MachineError, match="this machine lacks the memory to answer a batch of 2: pets@1"):
        network.answers(np.zeros((2, 3, 24, 24), np.float32))


def test_a_batch_that_does_not_fit_into_memory_is_the_machines_fault(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = petmodels.load(bundle)
    monkeypatch.setattr(np, "stack", _no_memory)

    with pytest.raises(MachineError, match="this machine lacks the memory to answer a batch of 1: "):
        model.predict(image_bytes())


@pytest.mark.parametrize("error", [MemoryError("std::bad_alloc"), RuntimeError("Failed to allocate memory for …")])
def test_a_network_is_not_called_broken_where_it_can_not_be_opened_for_memory(
    error: Exception, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", partial(_raise, error))

    with pytest.raises(MachineError, match=r"this machine lacks the memory to open model\.onnx: pets@1"):
        Network(bundle / "model.onnx", "pets@1", num_labels=3)


def test_a_network_that_can_not_be_read_for_memory_is_the_machines_fault(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("petmodels.network.bytes_of", _no_memory)

    with pytest.raises(MachineError, match=r"this machine lacks the memory to open model\.onnx: pets@1"):
        Network(bundle / "model.onnx", "pets@1", num_labels=3)


def test_a_command_that_lacks_memory_anywhere_ends_in_a_line(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registry, "models", _no_memory)

    done = run("list")

    assert (done.code, done.talk) == (9, ["petmodels: this machine lacks the memory for this"])


# Threads.


@pytest.fixture(params=[0, 1, 3])
def few_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Have the machine let this process have so many threads more."""
    most, start = request.param + threading.active_count(), threading.Thread.start

    def started(thread: threading.Thread) -> None:
        if threading.active_count() >= most:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", started)
    return int(request.param)


def test_all_is_done_by_as_many_threads_as_there_are(few_threads: int, tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(20)]
    for path in paths:
        path.write_text(path.name)

    assert at_once(lambda path: path.name, paths) == [path.name for path in paths]
    assert at_once(str, []) == []
    assert sha256_of_all(paths) == [digest.sha256 for digest in digests_of(paths)] == [sha256_of(one) for one in paths]
    assert begun(lambda: 7).result() == 7


def test_what_fails_without_threads_is_raised(few_threads: int) -> None:
    with pytest.raises(ValueError, match="seven"):
        at_once(partial(_raise, ValueError("seven")), range(20))


def test_who_is_ended_without_threads_begins_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", partial(_raise, RuntimeError("can't start new thread")))

    with pytest.raises(SystemExit, match="143"):
        begun(partial(_raise, SystemExit(143)))


def test_a_pool_goes_on_with_the_threads_that_it_has(few_threads: int) -> None:
    with Pool(8) as pool:
        if few_threads:
            assert list(pool.map(str, range(50))) == [str(number) for number in range(50)]
        else:
            with pytest.raises(MachineError, match=r"start no more threads; raise its limit .*PETMODELS_THREADS"):
                pool.submit(str, 7)


def test_a_machine_without_more_threads_answers_many_images(few_threads: int, bundle: Path) -> None:
    model = petmodels.load(bundle)

    assert [one.label for one in model.predict([image_bytes("green")] * 40)] == ["green"] * 40


@only_on_linux
@pytest.mark.slow
@pytest.mark.parametrize("stack_gib", [4, 2], ids=["none", "one"])
def test_every_command_goes_on_without_more_threads(bundle: Path, tmp_path: Path, stack_gib: int) -> None:
    (tmp_path / "cat.jpg").write_bytes(image_bytes())
    setting = {
        "PETMODELS_REGISTRY": tmp_path / "registry",
        "PETMODELS_CACHE": tmp_path / "cache",
        "PETMODELS_THREADS": 4,
    }
    (tmp_path / "registry").mkdir()
    lines = [["publish", bundle, "--model", "pets"], ["verify", "pets@1"], ["verify", "--all"], ["list", "pets"],
             ["pull", "pets@1", tmp_path / "model"], ["predict", tmp_path / "cat.jpg", "--model", "pets@1"],
             ["predict", *[tmp_path / "cat.jpg"] * 3, "--model", tmp_path / "model"]]  # fmt: skip

    for words in lines:
        done = python(COMMAND, *words, begin=partial(_limit_threads, stack_gib), **setting)

        assert (done.returncode, "Traceback" in done.stderr) == (0, False), (words, done.stderr)


COMMAND = """
import sys, threading
from petmodels.parallel import lets_start
assert not lets_start(2)
from petmodels.__main__ import main
main()
"""


def test_a_command_that_needs_a_thread_all_the_same_ends_in_a_line(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Registry, "models", lambda _: _raise(RuntimeError("can't start new thread")))

    done = run("list")

    assert done.code == 9
    assert done.talk[0].startswith("petmodels: this machine lets the process start no more threads; raise its limit (")


def test_a_network_computes_alone_where_its_threads_can_not_all_be_started(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a part of them onnxruntime waits for ever."""
    monkeypatch.setenv("PETMODELS_THREADS", "4")
    monkeypatch.setattr("petmodels.network.lets_start", lambda num_threads: num_threads < 4)
    seen: list[int] = []
    session = onnxruntime.InferenceSession

    def opened(network: bytes, options: onnxruntime.SessionOptions, providers: list[str]) -> object:
        seen.append(options.intra_op_num_threads)
        return session(network, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)

    assert petmodels.load(bundle).predict(image_bytes("red")).label == "red"
    assert seen == [1]
    assert lets_start(1)


def test_a_network_is_not_called_broken_where_its_threads_were_taken_by_others_meanwhile(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("pthread_create failed, error code: 11 error msg: Resource temporarily unavailable")
    monkeypatch.setattr(onnxruntime, "InferenceSession", partial(_raise, error))

    with pytest.raises(MachineError, match="this machine lets the process start no more threads"):
        Network(bundle / "model.onnx", "pets@1", num_labels=3)


# Systems.

WITHOUT_POSIX = """
import os, random, shutil, signal, subprocess, sys, threading
for module in ("fcntl", "pwd", "grp", "resource", "termios"):
    sys.modules[module] = None
for name in ("O_NOFOLLOW", "O_DIRECTORY", "O_PATH", "O_NONBLOCK", "register_at_fork", "sched_getaffinity", "fwalk"):
    delattr(os, name)
for name in ("SIGALRM", "setitimer", "ITIMER_REAL"):
    delattr(signal, name)
os.supports_dir_fd = os.supports_fd = set()
from petmodels.main import main
main()
"""


@only_on_linux
@pytest.mark.slow
def test_where_nothing_can_be_locked_a_folder_predicts_and_all_else_says_what_to_use(
    bundle: Path, folder_registry: Registry, tmp_path: Path
) -> None:
    folder_registry.publish(bundle, "pets")
    pulled = folder_registry.pull("pets@1", tmp_path / "pulled")
    (tmp_path / "cat.jpg").write_bytes(image_bytes())
    registry = folder_registry.storage.address
    line = "petmodels runs on Linux and macOS; on Windows use WSL"

    predicted = python(WITHOUT_POSIX, "predict", tmp_path / "cat.jpg", "--model", pulled)
    asked = python(WITHOUT_POSIX, "doctor", "--registry", registry)
    refused = [python(WITHOUT_POSIX, *words, "--registry", registry) for words in (["list"], ["pull", "pets@1"])]

    assert (predicted.returncode, predicted.stdout.split()[-2:]) == (0, ["red", str(tmp_path / "cat.jpg")])
    assert (asked.returncode, line in asked.stdout) == (9, True), asked.stderr
    assert [(done.returncode, done.stderr) for done in refused] == [(9, f"petmodels: {line}\n")] * 2


def test_where_nothing_can_be_locked_there_is_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)

    with pytest.raises(MachineError, match="petmodels runs on Linux and macOS; on Windows use WSL"):
        Cache(tmp_path)


@pytest.mark.parametrize(
    ("named", "folder"),
    [("/named", "/named"), ("named", "/home/.cache"), ("./named", "/home/.cache"), ("", "/home/.cache")],
)
def test_a_users_cache_folder_counts_from_the_root(named: str, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PETMODELS_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/home")
    monkeypatch.setenv("XDG_CACHE_HOME", named)

    assert default_folder() == Path(folder) / "petmodels"


def _limit_threads(stack_gib: int) -> None:
    """Leave 3.5 GiB of addresses, of which each thread takes that many; the system's own limit spares root."""
    import resource

    resource.setrlimit(resource.RLIMIT_STACK, (stack_gib << 30, resource.getrlimit(resource.RLIMIT_STACK)[1]))
    resource.setrlimit(resource.RLIMIT_AS, (7 << 29, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _no_memory(*_: object) -> None:
    raise MemoryError


def _raise(error: BaseException, *_: object, **__: object) -> None:
    raise error


def _onnx_that_needs_more_than_there_is() -> bytes:
    shape = numpy_helper.from_array(np.array([1, 3, 5_000_000, 5_000_000]), "shape")  # 300 TB of one image
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Expand", ["pooled", "shape"], ["huge"]),
        helper.make_node("GlobalAveragePool", ["huge"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["probabilities"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 24, 24])
    output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph(nodes, "huge", [image], [output], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
