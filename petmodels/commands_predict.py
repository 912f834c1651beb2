"""`petmodels predict`: images in, labels out; what can't be read costs one line, and the rest goes on."""

import csv
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from petmodels.disk import is_folder
from petmodels.errors import ImageError, NotFoundError, RequestError, StoreError, UsageError
from petmodels.options import RegistryOption
from petmodels.progress import progress
from petmodels.terminal import counted, escaped, json_text, say, show_parts

if TYPE_CHECKING:
    from petmodels.model import Model

STDIN = "-"
# For what it holds at once: 217 MiB for an EfficientNet-Lite0, with 8 images 310 and with 16 484; per image as quick.
BATCH = 4


def predict(
    images: Annotated[list[str], typer.Argument(help="Image files, folders of them, or - for one from stdin.")],
    model: Annotated[str, typer.Option("--model", help="NAME@ALIAS, NAME@VERSION, NAME, or a folder (./model).")],
    registry: RegistryOption = "",
    top: Annotated[int, typer.Option("--top", min=1, help="How many labels to give for each image.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print JSON: one document a line.")] = False,
    csv_output: Annotated[bool, typer.Option("--csv", help="Print CSV: one line a label.")] = False,
) -> None:
    """Say what images show. A ? marks an answer that the model is unsure of."""
    _check(images, is_twofold=json and csv_output)
    loaded = _loaded(model, registry)
    failed = num_images = 0
    unread: list[str] = []
    print_one = _json_line if json else _csv_lines if csv_output else _plain_line
    if csv_output:
        _print_csv(["image", "rank", "label", "probability", "unsure"])
    for answer in loaded.predict_each(_images(images, unread), top=top, batch=1 if len(images) == 1 else BATCH):
        num_images += 1
        if isinstance(answer, ImageError):
            failed += 1
            say(f"petmodels: {answer}")
        else:
            print_one(answer)
    if failed or unread:
        lost = [f"{failed} of {counted(num_images, 'image')}"] if failed else []
        lost += [counted(len(unread), "folder")] if unread else []
        raise ImageError(f"{' and '.join(lost)} could not be read")
    if num_images == 0:
        raise NotFoundError(f"no images in: {', '.join(images)[:200]}")


class _Stdin(io.BytesIO):
    """The bytes of the image that came by stdin, under the name by which it was asked for."""

    name = STDIN


def _check(images: list[str], *, is_twofold: bool) -> None:
    if is_twofold:
        raise UsageError("choose one of --json and --csv")
    if images.count(STDIN) > 1:
        raise UsageError(f"one image can be read from stdin, so name it once: {STDIN}")
    if STDIN in images and sys.stdin is None:
        raise RequestError(f"stdin is closed, no image can be read from it: {STDIN}")


def _loaded(model: str, registry: str) -> "Model":
    from petmodels.loading import is_folder as names_folder
    from petmodels.loading import load

    try:
        with progress(f"loading {model}") as told:
            return load(model, registry=registry or None, notice=lambda text: say(f"petmodels: {text}"), progress=told)
    except (RequestError, StoreError) as error:
        if names_folder(model) or not is_folder(Path(model)):
            raise
        raise type(error)(f"{error}; the folder is ./{model}") from error


def _images(names: list[str], unread: list[str]) -> Iterator[Any]:
    from petmodels.image_files import LARGEST_FILE_BYTES

    for name in names:
        if name == STDIN:
            yield _Stdin(sys.stdin.buffer.read(LARGEST_FILE_BYTES + 1))
        elif is_folder(Path(name)):
            yield from _in_folder(Path(name), unread)
        else:
            yield name


def _in_folder(folder: Path, unread: list[str]) -> Iterator[str]:
    """Yield the images below a folder; tell of each folder in it that may not be read, and add it to `unread`."""
    from petmodels.images import SUFFIXES

    def told(error: OSError) -> None:
        unread.append(str(error.filename))
        say(f"petmodels: a folder can't be read ({error.strerror}): {error.filename}")

    found = [Path(place, name) for place, _, names in os.walk(folder, onerror=told) for name in names]
    yield from (str(path) for path in sorted(found) if path.suffix.lower() in SUFFIXES)


def _plain_line(answer: Any) -> None:
    # 100.0% may stand for 99.97: it is what the model claims of one image, not a share of images, and lines keep their
    # columns; --json and --csv have the digits.
    ranked = [part for one in answer.ranked for part in (f"{one.probability:6.1%} ", one.label, "  ")]
    show_parts(["? " if answer.unsure else "  ", *ranked, str(answer.image)])


def _json_line(answer: Any) -> None:
    print(json_text(answer.to_json()), flush=True)


def _csv_lines(answer: Any) -> None:
    for rank, one in enumerate(answer.ranked, start=1):
        _print_csv([answer.image, rank, one.label, f"{one.probability:.6f}", str(answer.unsure).lower()])


def _print_csv(cells: list[Any]) -> None:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([escaped(str(cell)) for cell in cells])
    print(line.getvalue(), flush=True)
