"""The demo from its first command to its last: from dropped photographs to a promoted version, with nobody looking.

On real photographs where they are, else on drawn ones; either way real training, and the gate's own rules.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flows.object_store import weed

ROOT = Path(__file__).parents[2]
PHOTOS = Path(os.environ.get("PETS_PHOTOS", ROOT.parent / "shared/pets"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(weed() is None, reason="no S3 server on this platform"),
]


def test_dropped_photographs_become_a_promoted_version_that_a_consumer_predicts_with(tmp_path: Path) -> None:
    images = ["--source", "sample:"]
    if PHOTOS.is_dir():
        images = ["--source", str(PHOTOS / "oxford-iiit-pet-sample.tgz"), "--arrivals", str(PHOTOS / "arrivals.tgz")]
    command = [sys.executable, "-m", "flows.demo", *images, "--folder", str(tmp_path / "demo")]

    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)

    print(done.stdout)
    assert done.returncode == 0
    assert "demo: production names pets@1 because the first version: " in done.stdout
    assert re.search(r"\d+ accepted.*; a retraining is due", done.stdout)
    assert "demo: production moved from pets@1 to pets@2 because " in done.stdout
    assert re.search(r"^2 .* 25 +production", done.stdout, re.MULTILINE)
    assert re.search(r"^ +\d+\.\d% \w+ ", done.stdout, re.MULTILINE)
