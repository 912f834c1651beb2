"""Files and folders of this machine that may not be read: one line that names them, and nothing done without them."""

from pathlib import Path

import pytest

import petmodels
from petmodels import Registry
from petmodels.errors import BundleError
from tests.petmodels.rights import closed


@pytest.mark.parametrize("mode", [0o000, 0o444], ids=["closed", "without its files"])
def test_a_folder_that_cant_be_read_is_not_published_without_it(
    mode: int, folder_registry: Registry, bundle: Path
) -> None:
    with closed(bundle / "self_test", mode), pytest.raises(BundleError, match=r"Permission denied\): .*/self_test"):
        folder_registry.publish(bundle, "pets")

    assert folder_registry.newest("pets") is None


@pytest.mark.parametrize("mode", [0o000, 0o444], ids=["closed", "without its files"])
def test_a_folder_that_cant_be_read_is_not_loaded_without_it(mode: int, bundle: Path) -> None:
    with closed(bundle / "self_test", mode), pytest.raises(BundleError, match=r"Permission denied\): .*/self_test"):
        petmodels.load(bundle)
