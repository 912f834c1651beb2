"""A network's first layers learn more slowly than its last, whichever library it comes from."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from stages.architectures import OFFLINE
from stages.layer_groups import layer_groups, splitter
from stages.networks import network

pytestmark = [
    pytest.mark.usefixtures("fastai"),
    pytest.mark.filterwarnings("ignore:The parameter 'pretrained' is deprecated"),
    pytest.mark.filterwarnings("ignore:Arguments other than a weight enum"),
]

# Of each family the parameter with which the body's second group begins.
SECOND = {
    OFFLINE: "0.model.blocks.4.0.conv_pw.weight",
    "alexnet": "0.0.6.weight",
    "convnext_tiny": "0.0.5.0.layer_scale",
    "densenet121": "0.0.transition2.norm.weight",
    "efficientnet_b0": "0.0.5.0.block.0.0.weight",
    "mobilenet_v3_small": "0.0.7.block.0.0.weight",
    "regnety_002": "0.model.s4.b1.conv1.conv.weight",
    "resnet18": "0.6.0.conv1.weight",
    "resnet18.a1_in1k": "0.model.layer3.0.conv1.weight",
    "squeezenet1_1": "0.0.6.squeeze.weight",
    "swin_t": "0.0.5.0.norm1.weight",
    "test_convnext": "0.model.stages.2.downsample.0.weight",
    "test_resnet": "0.model.layer3.0.conv1.weight",
    "vgg11": "0.0.11.weight",
    "vit_tiny_patch16_224": "0.model.blocks.6.norm1.weight",
}


def whole(name: str) -> nn.Sequential:
    with torch.device("meta"):  # names and shapes, without the numbers
        return network(name, "fine_tune", 3)


def sizes(groups: Sequence[Sequence[Tensor]]) -> list[int]:
    return [sum(one.numel() for one in group) for group in groups]


@pytest.mark.slow
@pytest.mark.parametrize(("theirs", "ours"), [("resnet18", "resnet18.a1_in1k"), ("resnet152", "resnet152.a1_in1k")])
def test_a_resnet_of_timm_has_the_groups_that_fastai_has_for_torchvisions(theirs: str, ours: str) -> None:
    assert sizes(splitter(ours)(whole(ours))) == sizes(splitter(theirs)(whole(theirs)))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "second"), SECOND.items())
def test_every_family_has_two_groups_of_its_body_and_one_of_its_head(name: str, second: str) -> None:
    made = whole(name)

    groups = splitter(name)(made)

    names = {id(one): key for key, one in made.named_parameters()}
    told = [[names[id(one)] for one in group] for group in groups]
    assert sorted(key for group in told for key in group) == sorted(names.values())
    assert [group[0].split(".")[0] for group in told] == ["0", "0", "1"]
    assert told[1][0] == second


def test_a_resnet_of_torchvision_is_cut_as_before() -> None:
    made = whole("resnet34")

    groups = splitter("resnet34")(made)

    wanted = [made[0][:6], made[0][6:], made[1]]
    assert [list(map(id, group)) for group in groups] == [[id(one) for one in part.parameters()] for part in wanted]


class _Block(nn.Module):
    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(1, 1) for _ in range(num_layers)))


@pytest.mark.parametrize(
    ("body", "sizes_of_body"),
    [
        (nn.Sequential(_Block(1), _Block(9)), [2, 18]),
        (nn.Sequential(nn.Linear(1, 1), nn.Sequential(_Block(4), _Block(4)), nn.Linear(1, 1)), [10, 10]),
        (nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1), nn.Linear(1, 1)), [4, 2]),
        (nn.Sequential(nn.Linear(1, 1), nn.ReLU()), [2]),
    ],
    ids=["a block is never torn", "a list is", "a norm stays with the layer before it", "a single layer is one group"],
)
def test_a_body_is_cut_between_its_blocks(body: nn.Module, sizes_of_body: list[int]) -> None:
    groups = layer_groups(nn.Sequential(body, nn.Linear(1, 2)))

    assert sizes(groups) == [*sizes_of_body, 4]


def test_what_a_network_adds_to_its_input_is_of_its_first_layers() -> None:
    made = whole("test_vit")

    first, _, _ = splitter("test_vit")(made)

    assert {id(made[0].model.pos_embed), id(made[0].model.cls_token)} <= {id(one) for one in first}
