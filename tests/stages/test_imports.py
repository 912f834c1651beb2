"""Large packages are imported without a search for garbage, which goes on afterwards as before."""

import gc
import sys
from pathlib import Path

import pytest

from stages.imports import import_large

SEARCHED = "import gc\nsearched = gc.isenabled()\nkept = [[number] for number in range(5_000)]\n"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which modules are imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_nothing_is_searched_while_a_large_package_is_imported_nor_in_it_afterwards(packages: Path) -> None:
    (packages / "large_package.py").write_text(SEARCHED)
    before = gc.get_freeze_count()

    import_large("large_package")

    assert not sys.modules["large_package"].searched
    assert gc.isenabled()
    assert gc.get_freeze_count() - before >= 5_000


def test_what_is_here_already_sets_nothing_apart(packages: Path) -> None:
    (packages / "package_of_before.py").write_text(SEARCHED)
    import_large("package_of_before")
    before, kept = gc.get_freeze_count(), [[number] for number in range(1_000)]

    import_large("package_of_before")

    # What was set apart before may go meanwhile; these lists, had they been, would outnumber it.
    assert gc.get_freeze_count() < before + len(kept)


def test_after_an_import_that_fails_garbage_is_searched_for_as_before(packages: Path) -> None:
    (packages / "broken_package.py").write_text("raise ImportError('libcuda is too old')")

    with pytest.raises(ImportError, match="libcuda is too old"):
        import_large("broken_package")

    assert gc.isenabled()
