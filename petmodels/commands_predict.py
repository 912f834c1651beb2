"""`petmodels predict`: images in, labels out; what can't be read costs one line, and the rest goes on."""

import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from petmodels.disk import is_folder
from petmodels.errors import ImageError, NotFoundError, RequestError
from petmodels.options import JsonOption, RegistryOption
from petmodels.terminal import counted, escaped, json_text, progress, say, show

if TYPE_CHECKING:
    from petmodels.model import Model

STDIN = "-"


def predict(
    images: Annotated[list[str], typer.Argument(help="Image files, folders of them, or - for one from stdin.")],
    model: Annotated[str, typer.Option("--model", help="NAME@ALIAS, NAME@VERSION, NAME, or a folder (./model).")],
    registry: RegistryOption = "",
    top: Annotated[int, typer.Option("--top", min=1, help="How many labels to give for each image.")] = 1,
    json: JsonOption = False,
    csv_output: Annotated[bool, typer.Option("--csv", help="Print CSV: one line a label.")] = False,
) -> None:
    """Say what images show. A ? marks an answer that the model is unsure of."""
    if json and csv_output:
        raise RequestError("choose one of --json and --csv")
    if STDIN in images and sys.stdin is None:
        raise RequestError(f"stdin is closed, no image can be read from it: {STDIN}")
    loaded = _loaded(model, registry)
    failed = num_images = 0
    print_one = _json_line if json else _csv_lines if csv_output else _plain_line
    if csv_output:
        _print_csv(["image", "rank", "label", "probability", "unsure"])
    for answer in loaded.predict_each(_images(images), top=top, batch=1 if len(images) == 1 else 16):
        num_images += 1
        if isinstance(answer, ImageError):
            failed += 1
            say(f"petmodels: {answer}")
        else:
            print_one(answer)
    if num_images == 0:
        raise NotFoundError(f"no images in: {', '.join(images)[:200]}")
    if failed:
        raise ImageError(f"{failed} of {counted(num_images, 'image')} could not be read")


def _loaded(model: str, registry: str) -> "Model":
    from petmodels.loading import load

    with progress(f"loading {model}") as told:
        return load(model, registry=registry or None, notice=lambda text: say(f"petmodels: {text}"), progress=told)


def _images(names: list[str]) -> Iterator[Any]:
    from petmodels.image_files import LARGEST_FILE_BYTES

    for name in names:
        if name == STDIN:
            yield sys.stdin.buffer.read(LARGEST_FILE_BYTES + 1)
        elif is_folder(Path(name)):
            yield from _in_folder(Path(name))
        else:
            yield name


def _in_folder(folder: Path) -> Iterator[str]:
    from petmodels.images import SUFFIXES

    yield from (str(path) for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES)


def _plain_line(answer: Any) -> None:
    ranked = "  ".join(f"{one.probability:6.1%} {one.label}" for one in answer.ranked)
    show(f"{'?' if answer.unsure else ' '} {ranked}  {answer.image}")


def _json_line(answer: Any) -> None:
    print(json_text(answer.to_json()), flush=True)


def _csv_lines(answer: Any) -> None:
    for rank, one in enumerate(answer.ranked, start=1):
        _print_csv([answer.image, rank, one.label, f"{one.probability:.6f}", str(answer.unsure).lower()])


def _print_csv(cells: list[Any]) -> None:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([escaped(str(cell)) for cell in cells])
    print(line.getvalue(), flush=True)
