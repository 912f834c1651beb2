"""A checkpoint is gone on with when it is whole, and told and left alone when anything has happened to it."""

from pathlib import Path

import pytest
import torch

from stages.checkpoints import Progress, Row, load, save, tell_of_others


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    weights = {"body.weight": torch.linspace(-1, 1, 400), "head.weight": torch.ones(3, 7)}
    state = {"state": [{"grad_avg": torch.zeros(3, 7)}], "hypers": [{"lr": 0.1, "mom": 0.9}]}
    history: list[Row] = [{"phase": "frozen", "epoch": 1, "valid_loss": 0.3}]
    path = tmp_path / "a.pt"
    save(Progress(epoch=1, curve=[(1e-3, 2.5)], history=history, model=weights, best=weights, optimizer=state), path)
    return path


def test_a_checkpoint_that_is_whole_is_gone_on_with(kept: Path) -> None:
    progress = load(kept)

    assert (progress.epoch, progress.curve) == (1, [(1e-3, 2.5)])
    assert progress.model
    assert torch.equal(progress.model["body.weight"], torch.linspace(-1, 1, 400))


def test_a_checkpoint_cut_anywhere_begins_anew(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = kept.read_bytes()
    lengths = range(0, len(whole), 37)
    for length in lengths:
        kept.write_bytes(whole[:length])

        assert load(kept) == Progress()

    told = capsys.readouterr().err.splitlines()
    assert len(told) == len(lengths)
    assert all(line.startswith("train: no readable checkpoint, beginning anew (") for line in told)
    assert kept.read_bytes() == whole[: lengths[-1]]


@pytest.mark.parametrize("value", [0x01, 0x08, 0x80])
def test_a_bit_that_changed_anywhere_in_a_checkpoint_stops_no_training(kept: Path, value: int) -> None:
    whole = kept.read_bytes()
    for place in range(0, len(whole), 37):
        kept.write_bytes(whole[:place] + bytes([whole[place] ^ value]) + whole[place + 1 :])

        assert load(kept).epoch in {0, 1}


def test_a_checkpoint_whose_members_pass_for_packed_ones_begins_anew(kept: Path) -> None:
    whole, place, packings = kept.read_bytes(), -1, (8, 12, 14)  # deflate, bzip2, LZMA
    while (place := whole.find(b"PK\1\2", place + 1)) > 0:
        for packing in packings:
            kept.write_bytes(whole[: place + 10] + bytes([packing]) + whole[place + 11 :])

            assert load(kept).epoch in {0, 1}


def test_a_checkpoint_with_a_changed_weight_begins_anew(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weight = torch.linspace(-1, 1, 400)[200:204].numpy().tobytes()
    kept.write_bytes(kept.read_bytes().replace(weight, bytes(len(weight))))

    assert load(kept) == Progress()

    assert "train: no readable checkpoint, beginning anew (" in capsys.readouterr().err


def test_a_checkpoint_of_others_that_is_gone_meanwhile_ends_no_training(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody deletes what the line says may be deleted; a link to nothing is listed and isn't there as well."""
    kept.with_name("gone.pt").symlink_to("nothing")

    tell_of_others(kept.with_name("own.pt"))

    assert capsys.readouterr().err.startswith("train: begins anew; 1 checkpoint of other settings, ")
