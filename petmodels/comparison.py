"""Compare two models on the same labelled images: is the newer one better, or was it luck?

    compare(before, after, images, *, seed=0) -> Comparison
        before, after: Model            two loaded models
        images: (image, label) pairs    a path (or what else predict takes) and the name of its right label

`Comparison` holds both accuracies, their difference with its interval and p-value (see `petmodels.significance`),
accuracy by label, the median time that each model takes for an image, and a record of each image.
"""

import io
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import petmodels
from petmodels.errors import ImageError, RequestError
from petmodels.image_files import content_of, is_readable
from petmodels.images import ImageLike, name_of, shown
from petmodels.predictions import Prediction
from petmodels.significance import difference_interval, mcnemar


@dataclass(frozen=True, kw_only=True)
class LabelAccuracy:
    """How many images of a label each model answered rightly."""

    label: str
    num_images: int
    before_right: int
    after_right: int


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What both models said of one image, with the probability (0 to 1) of what they said, and the seconds it took."""

    image: str
    label: str
    before_label: str
    before_probability: float
    before_seconds: float
    after_label: str
    after_probability: float
    after_seconds: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What two models are worth on the same images; accuracies and their difference (after - before) are shares.

    `difference_low` and `difference_high` bound the difference by a 95 % paired bootstrap; `p_value` is McNemar's exact
    two-sided one. `only_before` and `only_after` count the images on which one model alone is right. Seconds are
    medians for one image at a time, decoding it included, and reading it, but for open files. `unread` are the images
    that can't be read, with the reason; they count nowhere.
    """

    before: str
    after: str
    num_images: int
    before_accuracy: float
    after_accuracy: float
    difference: float
    difference_low: float
    difference_high: float
    p_value: float
    only_before: int
    only_after: int
    before_seconds: float
    after_seconds: float
    labels: tuple[LabelAccuracy, ...]
    records: tuple[Compared, ...]
    unread: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as a plain JSON object."""
        return asdict(self)


class _Kept(io.BytesIO):
    """What an open file has given, which it gives once, with its name; each model begins at its beginning."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def compare(
    before: "petmodels.Model", after: "petmodels.Model", images: Iterable[tuple[ImageLike, str]], *, seed: int = 0
) -> Comparison:
    """Return how two models answer the same labelled images; each image goes to both, each model first in turn.

    A label that a model doesn't know is one it gets wrong. Raises RequestError when no image could be read.
    """
    records: list[Compared] = []
    unread: list[str] = []
    for number, (given, label) in enumerate(images):
        try:
            image = _kept(given)
            if not records:  # the first answer of a network is slower than all that follow
                _answer(before, image)
                _answer(after, image)
            records.append(_compared(before, after, image, label, is_before_first=number % 2 == 0))
        except ImageError as error:
            unread.append(str(error))
    if not records:
        raise RequestError(f"no labelled image could be read to compare {before.name} and {after.name}")
    return _comparison((before.name, after.name), records, unread, seed)


def _kept(image: ImageLike) -> ImageLike:
    if not is_readable(image):
        return image
    name = name_of(image)
    content = content_of(image, shown(name))
    assert content is not None
    return _Kept(content.getvalue(), name)


def _compared(
    before: "petmodels.Model", after: "petmodels.Model", image: ImageLike, label: str, *, is_before_first: bool
) -> Compared:
    if is_before_first:
        old, new = _answer(before, image), _answer(after, image)
    else:
        new, old = _answer(after, image), _answer(before, image)
    return Compared(
        image=name_of(image), label=label,
        before_label=old[0].label, before_probability=old[0].probability, before_seconds=old[1],
        after_label=new[0].label, after_probability=new[0].probability, after_seconds=new[1],
    )  # fmt: skip


def _answer(model: "petmodels.Model", image: ImageLike) -> tuple[Prediction, float]:
    if isinstance(image, _Kept):
        image.seek(0)
    began = time.perf_counter()
    answer = model.predict(image, top=1)
    return answer, time.perf_counter() - began


def _comparison(names: tuple[str, str], records: list[Compared], unread: list[str], seed: int) -> Comparison:
    num_images = len(records)
    rights = Counter((one.before_label == one.label, one.after_label == one.label) for one in records)
    only_before, only_after = rights[True, False], rights[False, True]
    low, high = difference_interval(only_before, only_after, num_images, seed=seed)
    return Comparison(
        before=names[0], after=names[1], num_images=num_images,
        before_accuracy=(rights[True, True] + only_before) / num_images,
        after_accuracy=(rights[True, True] + only_after) / num_images,
        difference=(only_after - only_before) / num_images, difference_low=low, difference_high=high,
        p_value=mcnemar(only_before, only_after), only_before=only_before, only_after=only_after,
        before_seconds=median(one.before_seconds for one in records),
        after_seconds=median(one.after_seconds for one in records),
        labels=_by_label(records), records=tuple(records), unread=tuple(unread),
    )  # fmt: skip


def _by_label(records: list[Compared]) -> tuple[LabelAccuracy, ...]:
    found = []
    for label in sorted({one.label for one in records}):
        those = [one for one in records if one.label == label]
        before = sum(one.before_label == label for one in those)
        after = sum(one.after_label == label for one in those)
        found.append(LabelAccuracy(label=label, num_images=len(those), before_right=before, after_right=after))
    return tuple(found)
