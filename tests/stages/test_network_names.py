"""A name that is shortened, old or written otherwise finds the network that was meant."""

import pytest
import timm
import torchvision.models

from stages.architectures import architecture
from stages.errors import ParamsError
from stages.network_names import check_trained, config, kin, offered


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("deit_tiny", "deit_tiny_patch16_224"),
        ("vit_tiny", "vit_tiny_patch16_224"),
        ("vit", "vit_b_16"),
        ("clip", "resnet50_clip"),
        ("vit_b_16.IMAGENET1K_V1", "vit_b_16"),
        ("resnt34", "resnet34"),
    ],
)
def test_a_shortened_name_is_offered_what_begins_with_it_or_has_it_in_it(name: str, first: str) -> None:
    with pytest.raises(ParamsError, match=rf"architecture: unknown: {name}; nearest: {first}(, |$)"):
        architecture(name)


def test_all_names_are_offered_when_they_are_few() -> None:
    assert offered("x", ["short", "long"]) == "known: short, long"


def test_a_name_like_none_is_offered_none() -> None:
    known = [f"network_{number}" for number in range(12)]

    assert offered("zzz", known) == "none of the 12 known names is near"
    assert offered("", known) == "none of the 12 known names is near"


def test_an_old_name_has_the_image_size_of_the_network_it_stands_for() -> None:
    found = config("convnext_tiny_384_in22ft1k")

    assert found is not None
    assert found.input_size == (3, 384, 384)


@pytest.mark.parametrize("name", ["convnextv2_small", "densenet264d"])
def test_a_network_that_nobody_has_trained_has_no_weights(name: str) -> None:
    told = rf"no ImageNet weights exist for it; set train\.weights to a file or none: {name}$"
    with pytest.raises(ParamsError, match=told):
        check_trained(name)


@pytest.mark.parametrize(
    "name", ["resnet18", "tf_efficientnet_lite0", "vit_base_patch16_224_in21k", "resnet50.a1_in1k"]
)
def test_a_network_with_weights_passes(name: str) -> None:
    check_trained(name)


@pytest.mark.parametrize(
    ("name", "alike"),
    [
        ("inception_v3", "inception_v3.tv_in1k"),
        ("mobilenet_v2", "mobilenetv2_100"),
        ("mnasnet1_3", "mnasnet_100"),
        ("vit_b_16", "vit_base_patch16_224"),
        ("maxvit_t", "maxvit_tiny_rw_224"),
        ("googlenet", ""),
    ],
)
def test_a_network_of_torchvisions_has_its_like_in_timm(name: str, alike: str) -> None:
    assert kin(name) == alike
    assert name in torchvision.models.list_models()
    assert not alike or timm.is_model_pretrained(alike)
