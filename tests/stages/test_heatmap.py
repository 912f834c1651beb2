"""A heat map points at the part of the picture that decided, whatever the network gives away."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stages.heatmap import GRAD_CAM, OCCLUSION, heatmap, overlaid

RED, GREEN = 0, 1


def red_and_green_detector(*, pooled_in_body: bool) -> nn.Sequential:
    """Return a network whose two classes are the amount of red and of green, with a body that pools or doesn't."""
    cells, pool = nn.AvgPool2d(8), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    linear = nn.Linear(3, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]]))
        linear.bias.zero_()
    if pooled_in_body:
        return nn.Sequential(nn.Sequential(cells, pool), linear)
    return nn.Sequential(cells, nn.Sequential(pool, linear))


@pytest.fixture
def red_above_green_below() -> Tensor:
    image = torch.zeros(3, 64, 64)
    image[0, :16, :16] = 1
    image[1, 48:, 48:] = 1
    return image


@pytest.mark.parametrize(("pooled_in_body", "method"), [(False, GRAD_CAM), (True, OCCLUSION)])
def test_the_hottest_part_is_the_one_that_spoke_for_the_named_class(
    red_above_green_below: Tensor, pooled_in_body: bool, method: str
) -> None:
    model = red_and_green_detector(pooled_in_body=pooled_in_body)

    red, named = heatmap(model, red_above_green_below, RED)
    green, _ = heatmap(model, red_above_green_below, GREEN)

    middle = len(red) // 2
    assert named == method
    assert red[:middle, :middle].sum() > 0.9 * red.sum()
    assert green[middle:, middle:].sum() > 0.9 * green.sum()


def test_a_heat_map_runs_from_zero_to_one(red_above_green_below: Tensor) -> None:
    heat, _ = heatmap(red_and_green_detector(pooled_in_body=False), red_above_green_below, RED)

    assert (heat.min(), heat.max()) == (0, 1)


def test_a_heat_map_of_a_picture_without_the_class_is_cold(red_above_green_below: Tensor) -> None:
    only_green = red_above_green_below.clone()
    only_green[0] = 0

    heat, _ = heatmap(red_and_green_detector(pooled_in_body=False), only_green, RED)

    assert heat.max() == 0


def test_a_heat_map_leaves_no_gradient_in_the_model(red_above_green_below: Tensor) -> None:
    model = red_and_green_detector(pooled_in_body=False)

    heatmap(model, red_above_green_below, RED)

    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_hot_part_is_drawn_warm_and_the_cold_part_grey() -> None:
    photo = np.full((32, 32, 3), (100, 120, 140), dtype=np.uint8)
    heat = np.array([[1.0, 0.0], [0.0, 0.0]])

    drawn = np.asarray(overlaid(photo, heat)).astype(int)

    assert drawn[2, 2, 0] > drawn[2, 2, 2] + 50
    assert np.ptp(drawn[30, 30]) < 3
