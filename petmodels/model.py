"""A loaded model: from images to labels, with nothing but ONNX and plain JSON.

Reads verified files; leaves nothing. Decoding and the network overlap: while one batch is computed, the next images
are decoded in other threads, and never more than a few batches are in memory.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from petmodels.bundle import CARD, LABELS, METRICS, MODEL, PREPROCESS, bytes_of
from petmodels.documents import load_object
from petmodels.errors import BundleError, ImageError, RequestError
from petmodels.image_files import is_readable
from petmodels.image_memory import TO_DECODE
from petmodels.images import ImageLike, name_of, rgb_in, shown, taken
from petmodels.labels import labels_in
from petmodels.machine import memory_to
from petmodels.network import Network
from petmodels.parallel import Pool, lets_start, num_cores, turn
from petmodels.predictions import Prediction, Ranked
from petmodels.preprocess import preprocess_in

# With 16 each image takes a core as long, and an EfficientNet-Lite0 484 MiB in all, not 310; with 32 944.
BATCH = 8
_One = TypeVar("_One", bound=ImageLike)


class Model:
    """A classifier that was loaded and has answered its self-test as it did when it was evaluated.

    `name` is `pets@7`, or the folder it came from; `labels` are in the order of the network's outputs; `species` gives
    each label's species or ""; `card` and `metrics` are the bundle's; a best probability below `unsure_below` (0 to 1)
    marks a prediction as unsure. All who share the model share these: read them, and change them in a copy.
    `preprocess` is this package's own.
    """

    def __init__(self, files: Mapping[str, Path], name: str, version: int | None = None) -> None:
        """Load from files by their path in the bundle; they must have been verified before."""
        for needed in (MODEL, LABELS, PREPROCESS):
            if needed not in files:
                raise BundleError(f"{name} can't predict, it lacks: {needed}")
        self.name = name
        self.version = version
        self.files = dict(files)
        labels = labels_in(self._json(LABELS), f"{LABELS} of {name}")
        self.labels, self.species, self.unsure_below = labels.names, labels.species, labels.unsure_below
        self.preprocess = preprocess_in(self._json(PREPROCESS), f"{PREPROCESS} of {name}")
        self.card: Mapping[str, Any] = self._json(CARD) if CARD in files else {}
        self.metrics: Mapping[str, Any] = self._json(METRICS) if METRICS in files else {}
        self._network = Network(files[MODEL], name, num_labels=len(self.labels))

    def __repr__(self) -> str:
        return f"<petmodels.Model {self.name}: {len(self.labels)} labels>"

    @overload
    def predict(self, images: ImageLike, *, top: int = 5) -> Prediction: ...
    @overload
    def predict(self, images: list[ImageLike] | tuple[ImageLike, ...], *, top: int = 5) -> list[Prediction]: ...
    @overload
    def predict(self, images: list[_One], *, top: int = 5) -> list[Prediction]: ...
    @overload
    def predict(self, images: Iterator[ImageLike], *, top: int = 5) -> Iterator[Prediction]: ...

    def predict(self, images: Any, *, top: int = 5) -> Any:
        """Return what an image shows: the `top` most probable labels, at least 1, best first.

        An image is a path, a file opened for bytes or its bytes, a Pillow image, or an array of height x width x 3
        (RGB, unsigned bytes, or floats from 0 to 1). A list or tuple of them gives a list; an iterator gives an
        iterator, whose first answer comes before its last image is read; of another collection make one of the two,
        `list(found)` or `iter(found)`. Raises ImageError for an image that can't be read;
        `predict_each` goes on instead.
        """
        if isinstance(images, Iterator) and not is_readable(images):
            return (_or_raise(answer) for answer in self.predict_each(images, top=top))
        if isinstance(images, (list, tuple)):
            return [_or_raise(answer) for answer in self.predict_each(images, top=top)]
        return _or_raise(next(self.predict_each([images], top=top)))

    def predict_each(
        self, images: Iterable[ImageLike], *, top: int = 5, batch: int = BATCH
    ) -> Iterator[Prediction | ImageError]:
        """Yield for each image, in order, the answer, or the ImageError that says why there is none.

        `batch` images, at least 1, go through the network together, and as many more are taken meanwhile; with 1 each
        is answered before the next one is taken. What `images` raises comes after the answers to what it gave before.
        """
        if batch < 1:
            raise RequestError(f"a batch has at least 1 image: {batch}")
        if top < 1:
            raise RequestError(f"at least 1 label is asked for: {top}")
        if isinstance(images, (str, PathLike, bytes, bytearray, memoryview)) or is_readable(images):
            raise RequestError(
                f"predict_each takes several images, predict takes one as it is: {shown(name_of(images))}"
            )
        for names, arrays in self._batches(images, batch):
            good = [array for array in arrays if not isinstance(array, ImageError)]
            with memory_to(f"answer a batch of {len(good)}", self.name):
                rows = iter(self.probabilities(np.stack(good)) if good else ())
            for name, array in zip(names, arrays, strict=True):
                yield array if isinstance(array, ImageError) else self._prediction(name, next(rows), top)

    def probabilities(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return N x labels probabilities for N x 3 x height x width preprocessed images."""
        return self._network.answers(batch)

    def array(self, image: ImageLike) -> NDArray[np.float32]:
        """Return an image as the network sees it: 3 x height x width; raise ImageError when it can't be read."""
        with memory_to(TO_DECODE, shown(name_of(image))):
            read = taken(image)
            with turn():  # until its pixels are few: a server's forty threads would need the memory of forty images
                return self.preprocess.array(rgb_in(read))

    def _batches(
        self, images: Iterable[ImageLike], batch: int
    ) -> Iterator[tuple[list[str], list[NDArray[np.float32] | ImageError]]]:
        if batch == 1 or (isinstance(images, (list, tuple)) and len(images) == 1) or not lets_start(1):
            for image in images:
                yield [name_of(image)], [self._array_or_error(image)]
            return
        failures: list[Exception] = []
        source = _until_it_fails(images, failures)
        with Pool(num_cores(), thread_name_prefix="decode") as pool:
            waiting: list[tuple[list[str], list[Future[Any]]]] = []
            size = 1  # the first answer of a stream waits for no second image
            while True:
                some = list(islice(source, size))
                if some:
                    futures = [pool.submit(self._array_or_error, image) for image in some]
                    waiting.append(([name_of(image) for image in some], futures))
                if waiting and (len(waiting) > 1 or not some or size == 1):
                    names, futures = waiting.pop(0)
                    yield names, [future.result() for future in futures]
                if not some and not waiting:
                    break
                size = batch
        if failures:
            raise failures[0]

    def _array_or_error(self, image: ImageLike) -> NDArray[np.float32] | ImageError:
        try:
            return self.array(image)
        except ImageError as error:
            return error

    def _prediction(self, name: str, row: NDArray[np.float32], top: int) -> Prediction:
        order = row.argsort(kind="stable")[::-1][:top]
        best = tuple(
            Ranked(label=self.labels[i], probability=float(row[i]), species=self.species.get(self.labels[i], ""))
            for i in order.tolist()
        )
        return Prediction(image=name, ranked=best, unsure=best[0].probability < self.unsure_below)

    def _json(self, file: str) -> dict[str, Any]:
        return load_object(bytes_of(self.files[file]), f"{file} of {self.name}")


def _or_raise(answer: Prediction | ImageError) -> Prediction:
    if isinstance(answer, ImageError):
        raise answer
    return answer


def _until_it_fails(images: Iterable[ImageLike], failures: list[Exception]) -> Iterator[ImageLike]:
    """Yield the images; add what stops their source to `failures`, so that those it gave before are answered first."""
    try:
        yield from images
    except Exception as error:  # whatever a caller's source raises; it is raised again after the answers
        failures.append(error)
