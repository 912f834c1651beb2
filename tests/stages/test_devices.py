"""Networks run on a GPU only if torch can use it, and on the cores that are their process's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stages.devices import checked_device, device_named, precision
from stages.errors import ParamsError, is_lack_of_memory

ROOT = Path(__file__).parents[2]
THREADS = """
import torch
torch.set_num_threads(4)
from stages.devices import keep_to_own_cores
keep_to_own_cores()
print(torch.get_num_threads())
"""


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A GPU as torch shows one, with a driver that it can talk to, and no other accelerator."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_100a", "compute_120"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 9))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return monkeypatch


def test_a_gpu_that_torch_can_use_is_used(card: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert device_named("auto").type == checked_device("cuda", "bf16").type == "cuda"
    assert capsys.readouterr().err == ""


def test_a_card_that_torch_has_no_code_for_is_told(
    card: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card.setattr(torch.cuda, "get_device_capability", lambda: (7, 0))
    told = "has code from compute capability 7.5 on, this card has 7.0"

    assert device_named("auto").type == "cpu"
    assert told in capsys.readouterr().err
    with pytest.raises(ParamsError, match=f"train: device: torch .* {told}; use auto or cpu: cuda$"):
        checked_device("cuda", "none")


def test_a_driver_that_is_too_old_is_told(card: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    card.setattr(torch.cuda, "is_available", lambda: False)

    assert device_named("auto").type == "cpu"
    assert capsys.readouterr().err.startswith("the GPU can't be used: its driver is too old for torch ")
    with pytest.raises(
        ParamsError, match=r"its driver is too old for torch .*, made for CUDA .*; use auto or cpu: cuda$"
    ):
        checked_device("cuda", "none")


def test_a_machine_without_a_gpu_has_nothing_to_be_told(
    card: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card.setattr(torch.cuda, "is_available", lambda: False)
    card.setattr(torch.cuda, "device_count", lambda: 0)

    assert device_named("auto").type == "cpu"
    assert capsys.readouterr().err == ""


def threads(*prefix: str, **environment: str) -> int:
    """Return how many threads torch keeps of four."""
    command = [*prefix, sys.executable, "-c", THREADS]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return int(done.stdout)


@pytest.mark.parametrize(("has_it", "taken"), [(True, "bf16"), (False, "none")])
def test_auto_is_bfloat16_only_where_the_gpu_computes_in_it(
    has_it: bool, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has_it or including_emulation)

    assert precision("auto", torch.device("cuda")) == taken
    assert precision("fp16", torch.device("cuda")) == "fp16"
    assert precision("auto", torch.device("cpu")) == "none"


@pytest.mark.parametrize(
    "said",
    [
        "CUDA out of memory. Tried to allocate 2.00 MiB.",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_all_words_of_cuda_for_no_memory_are_known(said: str) -> None:
    assert is_lack_of_memory(RuntimeError(said))


@pytest.mark.slow
def test_as_many_threads_as_the_user_says_that_there_are_cores() -> None:
    assert threads(LOKY_MAX_CPU_COUNT="1") == 1


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="not Linux")
def test_as_many_threads_as_a_container_has_cores(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    inside = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /sys/fs/cgroup && exec "$@"', str(tmp_path)]
    if subprocess.run([*inside, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no right to mount")

    assert threads(*inside) == 1
