"""A body is the same network wherever it is made: in training, for the baseline, for a head that is fitted at once."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stages.architectures import architecture, load_weights
from stages.errors import ParamsError
from stages.features import pooled
from stages.networks import head, network, untrained_body
from stages.train import TrainParams
from tests.stages.settings import TRAIN

pytestmark = pytest.mark.usefixtures("fastai")

# Of each way in which fastai's table cuts and splits, the smallest; two that it doesn't know, and one of timm's.
NAMES = (
    "alexnet", "densenet121", "resnet18", "squeezenet1_1", "vgg11_bn", "efficientnet_b0", "mobilenet_v3_small",
    "test_resnet",
)  # fmt: skip


def untrained(name: str, weights: str = "none") -> nn.Module:
    return untrained_body(TrainParams(**(TRAIN | {"architecture": name, "weights": weights})))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The parameter 'pretrained' is deprecated")
@pytest.mark.filterwarnings("ignore:Arguments other than a weight enum")
@pytest.mark.parametrize("name", NAMES)
def test_an_untrained_body_is_the_body_that_training_has(name: str) -> None:
    with torch.device("meta"):  # names and shapes, without the numbers
        trained, body = network(name, "fine_tune", 3)[0], untrained(name)

    shapes = [{key: tensor.shape for key, tensor in one.state_dict().items()} for one in (body, trained)]
    assert shapes[0] == shapes[1]
    assert sum(tensor.ndim > 1 for tensor in body.parameters()) >= 3


def test_a_densenets_features_are_those_of_its_last_layer_and_a_probes_head_takes_them() -> None:
    body = untrained("densenet121")

    features = pooled(body)(torch.zeros(2, 3, 32, 32))

    assert features.shape == (2, 1024)
    assert head("densenet121", "probe", 3)["custom_head"][-1].in_features == 1024


def test_a_densenet_takes_the_whole_networks_weights_from_a_file(tmp_path: Path) -> None:
    builder = architecture("densenet121")
    assert callable(builder)
    given = {name: tensor.contiguous() for name, tensor in builder(weights=None).state_dict().items()}
    save_file(given, tmp_path / "weights.safetensors")

    body = untrained("densenet121", str(tmp_path / "weights.safetensors"))

    assert all(torch.equal(tensor, given[f"features.{key[2:]}"]) for key, tensor in body.state_dict().items())


@pytest.mark.parametrize("weights", ["imagenet", "weights.pt", "none"])
def test_a_body_without_tensors_takes_no_weights(weights: str) -> None:
    with pytest.raises(ParamsError, match=r"^params.yaml: train: architecture: its body has no layers: densenet121$"):
        load_weights(nn.Sequential(), "densenet121", weights)
