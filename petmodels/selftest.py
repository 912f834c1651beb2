"""The self-test: images in the bundle with the probabilities that the model gave where the bundle was made.

A model that answers differently here is not used. Images that have their final size already tell another network, label
order, crop or normalisation; those that are larger, turned by EXIF, transparent or of 16 bits also another resize or
decoding. Loading answers the first of them, `petmodels verify` all.
"""

from dataclasses import dataclass
from typing import Any

from petmodels.bundle import SELF_TEST, bytes_of
from petmodels.documents import check_format, json_number, load_object
from petmodels.errors import FormatError, ImageError, SelfTestError
from petmodels.model import Model


@dataclass(frozen=True)
class SelfTest:
    """What a self-test found: how many images were tried, and by how much the worst probability was off."""

    num_images: int
    worst: float


def self_test(model: Model, most_images: int | None = None) -> SelfTest | None:
    """Answer the bundle's self-test images again, the first `most_images` of them; None when it has no self-test.

    Raises SelfTestError when a probability is off by more than the bundle's tolerance, FormatError when the self-test
    itself is broken.
    """
    import numpy as np

    if SELF_TEST not in model.files:
        return None
    where = f"{SELF_TEST} of {model.name}"
    content = load_object(bytes_of(model.files[SELF_TEST]), where)
    check_format(content, where)
    images, tolerance = _images(content, model, where)
    worst = 0.0
    for file, expected in images[:most_images]:
        try:
            array = model.array(model.files[file])
        except ImageError as error:
            raise FormatError(f"{where} names an image that can't be read: {error}") from error
        found = model.probabilities(array[None])[0]
        off = float(np.abs(found - np.asarray(expected)).max())
        worst = max(worst, off)
        if not off <= tolerance:
            raise SelfTestError(
                f"{model.name} answers {file} differently here than when it was evaluated; do not use it: "
                f"off by {off:.4f}, allowed are {tolerance:g}"
            )
    return SelfTest(len(images[:most_images]), worst)


def _images(content: dict[str, Any], model: Model, where: str) -> tuple[list[tuple[str, list[float]]], float]:
    images, tolerance = content.get("images"), json_number(content.get("tolerance"))
    if not isinstance(images, list) or tolerance is None:
        raise FormatError(f"{where} lists no images or no tolerance")
    found = []
    for one in images:
        if not isinstance(one, dict) or one.get("file") not in list(model.files):
            raise FormatError(f"{where} names an image that the bundle lacks")
        expected = one.get("probabilities")
        if not isinstance(expected, list) or len(expected) != len(model.labels):
            raise FormatError(f"{where} gives not one probability a label: {one['file']}")
        if any(json_number(value) is None for value in expected):
            raise FormatError(f"{where} gives probabilities that are no numbers: {one['file']}")
        found.append((one["file"], expected))
    return found, tolerance
