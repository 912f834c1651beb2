"""Images pass a network in batches, and a head fitted on their features is the best there is."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stages import checkpoints, features, probe
from stages.checkpoints import Progress
from stages.features import (
    BATCH_SIZE,
    MIN_COMPILED,
    Preprocessing,
    frozen,
    input_batches,
    mirrored,
    network_inputs,
    outputs,
    pooled,
)
from stages.fingerprints import fingerprint
from stages.images import model_input
from tests.pictures import pet

HOW = Preprocessing(32, [0.5, 0.4, 0.3], [0.2, 0.3, 0.4])
CPU = torch.device("cpu")


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(BATCH_SIZE + 3)]
    for number, path in enumerate(paths):
        pet(number, number).save(path)
    return paths


def test_onnxruntime_is_told_to_report_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)

    frozen(nn.Conv2d(3, 4, 3), 32, CPU, num_images=MIN_COMPILED)

    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def means(batch: Tensor) -> Tensor:
    return batch.mean(dim=(2, 3))


def test_inputs_are_normalised_channel_by_channel(images: list[Path]) -> None:
    inputs = network_inputs(images[:1], HOW)

    assert (inputs.shape, inputs.dtype) == ((1, 3, 32, 32), torch.float32)
    pixel = np.asarray(pet(0, 0).crop((14, 8, 46, 40)), np.float64)[5, 7] / 255
    assert inputs[0, :, 5, 7].numpy() == pytest.approx((pixel - HOW.mean) / HOW.std, abs=1e-5)


def test_outputs_keep_the_images_order_over_batches(images: list[Path]) -> None:
    said = outputs(means, images, HOW, CPU)

    assert said.shape == (len(images), 3)
    assert np.allclose(said[-1], outputs(means, images[-1:], HOW, CPU)[0], atol=1e-6)


def test_the_next_images_are_decoded_ahead_and_no_more(images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    paths = [*images, *images, *images]

    def watched(path: Path, image_size: int) -> object:
        opened.append(path)
        return model_input(path, image_size)

    wanted = network_inputs(paths[:BATCH_SIZE], HOW)
    monkeypatch.setattr(features, "model_input", watched)
    batches = input_batches(paths, HOW)

    first = next(batches)

    ended = time.monotonic() + 60
    while len(opened) < 2 * BATCH_SIZE and time.monotonic() < ended:
        time.sleep(0.01)
    batches.close()  # waits for what was begun
    assert torch.equal(first, wanted)
    assert sorted(opened) == sorted(paths[: 2 * BATCH_SIZE])


def test_maps_are_pooled_and_vectors_left_alone(images: list[Path]) -> None:
    batch = network_inputs(images[:2], HOW)

    assert torch.allclose(pooled(nn.Identity())(batch), means(batch))
    assert pooled(nn.Flatten())(batch).shape == (2, 3 * 32 * 32)


def body() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)]
    return nn.Sequential(*layers).eval()


def test_a_compiled_body_gives_what_eager_torch_does_and_twice_the_same(images: list[Path]) -> None:
    network = body()

    eager = outputs(pooled(network), images, HOW, CPU)
    compiled = [outputs(frozen(network, 32, CPU, num_images=MIN_COMPILED), images, HOW, CPU) for _ in range(2)]

    assert 0 < np.abs(compiled[0] - eager).max() < 1e-5
    assert np.array_equal(*compiled)


class Counting(nn.Module):
    def forward(self, batch: Tensor) -> Tensor:
        return batch * int(batch.shape[0])


class Strange(nn.Module):
    def forward(self, batch: Tensor) -> Tensor:
        return torch.special.bessel_j0(batch)


@pytest.mark.parametrize("network", [Counting(), Strange()])
def test_a_body_that_the_exporter_can_not_follow_is_run_by_torch(images: list[Path], network: nn.Module) -> None:
    batch = network_inputs(images, HOW)

    assert torch.equal(frozen(network, 32, CPU, num_images=MIN_COMPILED)(batch), pooled(network)(batch))


def test_a_body_is_not_compiled_for_a_few_images(images: list[Path]) -> None:
    batch = network_inputs(images[:1], HOW)
    few = frozen(body(), 32, CPU, num_images=MIN_COMPILED - 1)

    assert torch.equal(few(batch), pooled(body())(batch))


def test_a_mirror_image_is_seen_from_the_other_side(images: list[Path]) -> None:
    batch = network_inputs(images[:1], HOW)

    assert torch.equal(mirrored(lambda seen: seen)(batch), batch.flip(3))


def test_the_fitted_head_can_not_be_bettered_by_a_small_step() -> None:
    torch.manual_seed(0)
    features, targets = torch.randn(60, 5), torch.arange(60) % 3
    layer = nn.Linear(5, 3)

    def loss() -> float:
        penalty = probe.PENALTY * layer.weight.square().sum()
        return float(nn.functional.cross_entropy(layer(features), targets) + penalty)

    probe.fit(layer, features.numpy(), targets.numpy())

    with torch.no_grad():
        best = loss()
        for parameter in layer.parameters():
            for _ in range(20):
                step = torch.randn_like(parameter) * 0.01
                parameter.add_(step)
                assert loss() > best - 1e-7
                parameter.sub_(step)


def test_a_rare_label_counts_as_much_as_a_frequent_one() -> None:
    features = np.zeros((100, 1), np.float32)  # nothing to go by but the labels' counts
    targets = np.array([0] * 95 + [1] * 5)
    layer = nn.Linear(1, 2)

    probe.fit(layer, features, targets)

    assert torch.softmax(layer.bias, 0).tolist() == pytest.approx([0.5, 0.5], abs=1e-3)


def test_rows_are_borrowed_from_the_classes_that_a_labels_images_resemble() -> None:
    weight = torch.eye(4) * 9
    features = np.eye(4, dtype=np.float32)[[2, 2, 0]]  # two images of the class 2, one of the class 0

    rows = probe.borrowed((weight, torch.zeros(4)), features, np.array([0, 0, 1]), 2)

    assert torch.allclose(rows, torch.tensor([[-4.5, 0, 4.5, 0], [4.5, 0, -4.5, 0]]), atol=1e-2)


def test_a_head_fitted_near_good_rows_generalises_better_than_one_near_zero() -> None:
    torch.manual_seed(0)
    truth = torch.randn(3, 50) * 3
    images = torch.randn(500, 50)
    targets = (images @ truth.T).argmax(dim=1)
    layers = {name: nn.Linear(50, 3) for name in ("near zero", "near the truth")}

    probe.fit(layers["near zero"], images[:12].numpy(), targets[:12].numpy())
    probe.fit(layers["near the truth"], images[:12].numpy(), targets[:12].numpy(), near=truth)

    right = {name: (layer(images).argmax(dim=1) == targets).float().mean() for name, layer in layers.items()}
    assert right["near the truth"] > 0.95 > right["near zero"] + 0.2


def test_rows_that_mislead_are_left_aside() -> None:
    torch.manual_seed(0)
    features, targets = np.eye(3, dtype=np.float32).repeat(5, axis=0), np.repeat([0, 1, 2], 5)
    alone, misled = nn.Linear(3, 3), nn.Linear(3, 3)

    found = [
        probe.fit(alone, features, targets),
        probe.fit(misled, features, targets, near=torch.eye(3).roll(1, 0) * 99),
    ]

    assert found[0] == found[1]
    assert torch.equal(alone.weight, misled.weight)


@pytest.mark.parametrize(("pools", "shape"), [(True, (2, 8, 4, 4)), (False, (2, 8))])
def test_a_linear_head_takes_maps_or_vectors(pools: bool, shape: tuple[int, ...]) -> None:
    assert probe.linear_head(8, 3, pools=pools)(torch.zeros(shape)).shape == (2, 3)


def test_progress_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    weights = {"a": torch.rand(2)}
    hypers = [{"lr": np.float64(0.1)}]
    optimizer = {"state": [{"grad_avg": torch.rand(2), "step": 3, "do_wd": False}], "hypers": hypers}
    progress = Progress(phase="unfrozen", epoch=2, history=[{"epoch": 0, "phase": "frozen", "loss": 0.5}])
    progress.model, progress.optimizer, progress.curve = weights, optimizer, [(0.1, 2.0)]

    checkpoints.save(progress, tmp_path / "a.pt")
    again = checkpoints.load(tmp_path / "a.pt")

    assert (again.phase, again.epoch, again.history, again.curve) == ("unfrozen", 2, progress.history, [(0.1, 2.0)])
    assert again.model is not None
    assert again.optimizer is not None
    assert torch.equal(again.model["a"], weights["a"])
    assert again.optimizer["hypers"] == [{"lr": 0.1}]
    assert again.optimizer["state"][0]["step"] == 3


def test_without_a_checkpoint_progress_is_fresh(tmp_path: Path) -> None:
    assert checkpoints.load(tmp_path / "a.pt") == Progress()


@pytest.mark.parametrize("broken", [b"", b"no checkpoint", b"PK\x03\x04 half a zip"])
def test_a_broken_checkpoint_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(broken)

    assert checkpoints.load(tmp_path / "a.pt") == Progress()
    assert "no readable checkpoint, beginning anew" in capsys.readouterr().err


def test_a_fingerprint_changes_with_params_and_code(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1", encoding="utf-8")
    first = fingerprint({"seed": 1}, [tmp_path / "a.py"])

    assert fingerprint({"seed": 1}, [tmp_path / "a.py"]) == first
    assert fingerprint({"seed": 2}, [tmp_path / "a.py"]) != first
    (tmp_path / "a.py").write_text("2", encoding="utf-8")
    assert fingerprint({"seed": 1}, [tmp_path / "a.py"]) != first
