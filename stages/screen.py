"""Say of new images, before they are taken in, which of them the stage prepare could use, and why not the others.

Not a DVC stage: its answer depends on what others have brought meanwhile. It decodes, measures and hashes by prepare's
own functions and reads prepare's section of params.yaml, so that what it lets through prepare doesn't reject. Reads the
images that a list names, the index of those that are known, the lists of arrivals and of corrections, and the labels
that are allowed. Leaves verdicts.csv, a row an image.
"""

import csv
import hashlib
import io
import re
import sys
from collections.abc import Mapping, Set
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from stages.archives import is_archive
from stages.arrivals import read_arrivals
from stages.cores import check_threads
from stages.corrections import read_corrections, withdrawn
from stages.duplicates import groups
from stages.errors import DataError
from stages.labels import label_rule, spelled
from stages.outputs import new_file, write_csv
from stages.prepare import PrepareParams
from stages.threads import in_threads

_SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp", "BMP": "bmp", "TIFF": "tif"}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What becomes of one image: `good`, `listed` (these bytes stand in arrivals.csv, so labelled), or `bad`.

    `reason` is empty for a good one; `suffix` follows from the bytes, as the content address needs it.
    """

    file: str
    label: str
    sha256: str
    verdict: Literal["good", "listed", "bad"]
    reason: str = ""
    suffix: str = ""
    phash: str = ""


@dataclass(frozen=True)
class _Known:
    """The images that are there already: (sha256, phash) and name by order of arrival, and the listed ones' labels.

    `gone` are (sha256, phash) of those that were withdrawn, `lost` the sha256 of those that ingest took in once and
    that no row lists any more: no later model gets them, so they are known no longer, and welcome.
    """

    hashes: list[tuple[str, str]]
    names: dict[str, str]
    listed: Mapping[str, str]
    labels: frozenset[str]
    gone: dict[str, str]
    lost: Set[str]


def screen(
    params: PrepareParams, *, files: Path, index: Path, arrivals: Path, corrections: Path, labels: Path, out: Path
) -> None:
    """Judge the images that the CSV file `files` names, in its order, which decides who is whose duplicate.

    Its columns are `file` (relative to the list), `name` (as it was given) and `label` ("": by prepare's
    `label_pattern`). Empty lists are allowed: without an index no near-duplicate of an older image is found; without a
    line in `labels` any label is allowed.
    """
    gone = {one.sha256: one.phash for one in withdrawn(read_corrections(corrections))}
    known = _known(index, arrivals, labels, gone)
    rows = _rows(files, ("file", "name", "label"))
    # Where labels come from folders or a CSV file the pattern may be any, also one without a group for the label.
    pattern = params.label_pattern if re.compile(params.label_pattern).groups else "^()"
    by_name = label_rule(files.parent, "pattern", pattern=pattern, label_file=None)
    names = {row["file"]: row["name"] for row in rows}

    def judged(row: dict[str, str]) -> Verdict:
        label = spelled(row["label"]) or by_name(Path(row["name"])) or ""
        return _judged(params, files.parent / row["file"], label, known)

    check_threads()
    with in_threads(judged, rows) as answers:
        verdicts = list(answers)
    verdicts = _without_withdrawn(verdicts, known.gone, params.duplicate_distance)
    verdicts = _without_duplicates(verdicts, known, names, params.duplicate_distance)
    with new_file(out) as path:
        write_csv(path, [field.name for field in fields(Verdict)], map(astuple, verdicts))
    num_good = sum(verdict.verdict == "good" for verdict in verdicts)
    print(f"screen: {num_good} of {len(verdicts)} images can be taken in; see {out}", file=sys.stderr)


def _known(index: Path, arrivals: Path, labels: Path, gone: dict[str, str]) -> _Known:
    listed = read_arrivals(arrivals)
    in_list = {row.sha256 for row in listed}
    indexed = _rows(index, ("sha256", "phash", "label", "source"))
    lost = {row["sha256"] for row in indexed if _was_taken_in(row) and row["sha256"] not in in_list}
    rows = [row for row in indexed if row["sha256"] not in lost]
    names = {row["sha256"]: f"{row['source']} ({row['label']})" for row in reversed(rows)}
    names = {row.sha256: f"{row.address} ({row.label})" for row in reversed(listed)} | names
    allowed = frozenset(filter(None, labels.read_text(encoding="utf-8").splitlines()))
    hashes = [(row["sha256"], row["phash"]) for row in rows]
    return _Known(hashes, names, {row.sha256: spelled(row.label) for row in listed}, allowed, gone, lost)


def _was_taken_in(row: Mapping[str, str]) -> bool:
    """Say whether ingest has brought an image of the index, by its name, which its bytes gave it.

    A row that people wrote may be an archive's, whose images have no rows of their own to lose.
    """
    source = PurePosixPath(row["source"])
    return source.parts[:1] == ("arrivals",) and source.stem == row["sha256"]


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if not set(columns) <= set(reader.fieldnames or ()):
            raise DataError(f"{path}: expected the columns {', '.join(columns)}")
        return list(reader)


def _judged(params: PrepareParams, file: Path, label: str, known: _Known) -> Verdict:
    from stages.pictures import label_reason, usable_image

    content = file.read_bytes()
    verdict = Verdict(file=file.name, label=label, sha256=hashlib.sha256(content).hexdigest(), verdict="bad")
    if verdict.sha256 in known.gone:
        return replace(verdict, reason="withdrawn: these bytes stand in data/corrections.csv")
    reason = label_reason(params, label) if label else "no label: neither a folder nor prepare.label_pattern gives one"
    if reason:
        return replace(verdict, label="", reason=reason)
    if known.listed.get(verdict.sha256) == label:
        return replace(verdict, verdict="listed", reason=f"the same bytes as {known.names[verdict.sha256]}")
    if known.labels and label not in known.labels:
        return replace(verdict, reason=f"unknown label: {label}")
    usable = usable_image(params, content)
    if isinstance(usable, str):
        return replace(verdict, reason=usable)
    if is_archive(file):
        return replace(verdict, reason="also an archive")
    return replace(verdict, verdict="good", suffix=_suffix(content), phash=usable.phash)


def _suffix(content: bytes) -> str:
    from PIL import Image

    from stages.images import FORMATS

    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        return _SUFFIXES[image.format or ""]


def _without_withdrawn(verdicts: list[Verdict], gone: Mapping[str, str], distance: int) -> list[Verdict]:
    """Turn good ones that show what an image showed that was withdrawn into bad ones."""
    from stages.neighbours import near_any

    pictures = [int(phash, 16) for phash in gone.values() if phash]
    good = [one for one in verdicts if one.verdict == "good"]
    are_gone = near_any([int(one.phash, 16) for one in good], pictures, distance)
    files = {one.file for one, is_gone in zip(good, are_gone, strict=True) if is_gone}
    reason = "withdrawn: a near-duplicate of an image in data/corrections.csv"
    return [replace(one, verdict="bad", reason=reason) if one.file in files else one for one in verdicts]


def _without_duplicates(verdicts: list[Verdict], known: _Known, names: dict[str, str], distance: int) -> list[Verdict]:
    """Turn good ones that show what an earlier image shows into bad ones; the first of the new ones stays good."""
    good = [verdict for verdict in verdicts if verdict.verdict == "good"]
    named = groups([*known.hashes, *((one.sha256, one.phash) for one in good)], distance)[len(known.hashes) :]
    reasons, seen = {}, dict(known.names)
    for verdict, group in zip(good, named, strict=True):
        if verdict.sha256 in seen:
            reasons[verdict.file] = f"the same bytes as {seen[verdict.sha256]}"
        elif group != verdict.sha256 and verdict.sha256 not in known.lost:  # it was good beside them
            reasons[verdict.file] = f"a near-duplicate of {seen[group]}"
        seen.setdefault(verdict.sha256, f"{names[verdict.file]} ({verdict.label})")
    return [
        replace(verdict, verdict="bad", reason=reasons[verdict.file]) if verdict.file in reasons else verdict
        for verdict in verdicts
    ]


if __name__ == "__main__":
    from stages.entry import run
    from stages.screen import screen as stage

    run(stage, reads="prepare")
