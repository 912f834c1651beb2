"""What a network is written as ONNX by, where it isn't one of plain convolutions."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from stages.errors import DataError
from stages.features import Preprocessing
from stages.model import Model
from stages.onnx_file import write_onnx


class _Attention(nn.Module):
    """Attention over the columns of an image, with a learned bias for each pair of them, as in BEiT and MaxViT."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.rand(1, 3, 8, 8))
        self.head = nn.Linear(24, 2)

    def forward(self, image: Tensor) -> Tensor:
        heads = image.transpose(2, 3)
        mixed = nn.functional.scaled_dot_product_attention(heads, heads, heads, attn_mask=self.bias)
        columns = mixed.transpose(1, 2).reshape(image.shape[0], 8, 24)
        logits: Tensor = self.head(columns.mean(1))
        return logits


class _OfTwo(nn.Module):
    """Says in its middle how many images it was shown, as a number and no more as whatever number comes."""

    def forward(self, image: Tensor) -> Tensor:
        return image.flatten(1)[:, :2] / len(image)


class _Unsayable(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return torch.linalg.eigvals(image).real.flatten(1)


def written(network: nn.Module, folder: Path) -> Path:
    how = Preprocessing(8, [0.5] * 3, [0.5] * 3)
    model = Model(network=nn.Sequential(network), labels=["cat", "dog"], preprocessing=how, device=torch.device("cpu"))
    write_onnx(folder / "model.onnx", model, temperature=1.0, opset=18, preprocess="{}")
    return folder / "model.onnx"


@pytest.mark.slow
def test_a_network_of_attention_with_a_bias_says_in_onnx_what_it_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, images = _Attention().eval(), torch.rand(5, 3, 8, 8)

    path = written(network, tmp_path)

    (found,) = onnxruntime.InferenceSession(path).run(None, {"image": images.numpy()})
    with torch.no_grad():
        assert np.allclose(found, network(images).softmax(1), atol=1e-5)


@pytest.mark.slow
def test_a_network_that_onnx_has_no_words_for_is_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^torch can't say this network in ONNX \(.+\); choose another train.architec"):
        written(_Unsayable(), tmp_path)

    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_network_whose_file_would_take_as_many_images_alone_as_it_was_shown_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"^torch can't say this network in ONNX \(for batches of 2 alone\); choose anothe"
    ):
        written(_OfTwo(), tmp_path)
