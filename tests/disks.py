"""Disks that are soon full."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, num_kib: int, *, num_files: int = 0) -> Iterator[Path]:
    """Mount a disk of that size, and for so many files if any number is given, where that is allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={num_kib}k" + (f",nr_inodes={num_files}" if num_files else "")
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
