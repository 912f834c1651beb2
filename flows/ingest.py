"""Take in the photographs that people have dropped: the flow `ingest`.

Reads the drop, the project's branch and the newest version's index. Leaves good images under their content address and
as rows of data/arrivals.csv in one commit on the branch, bad ones in quarantine with the reason, and nothing in the
drop. Each step can be repeated: killed anywhere, the next run ends where this one would have.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, ClassVar

from prefect import flow
from pydantic import ConfigDict, Field

from flows.announcing import announce
from flows.arrivals import check_branch, listed, num_since, push_rows, withdrawn
from flows.artifacts import artifact_key, leave_table
from flows.drop import Drop
from flows.dropped import Dropped
from flows.intake import (
    ACCEPTED,
    ALREADY,
    LEFT,
    QUARANTINED,
    Outcome,
    fetched,
    fitting,
    judged,
    kept,
    new_rows,
    passing,
    taken_away,
)
from flows.losses import Losses, losses
from flows.outcome import settled, tell
from flows.params import STRICT, section
from flows.settings import Settings
from flows.since import base_of, newest_version, versions_from
from flows.workspace import Workspace, workspace
from petmodels import Manifest
from petmodels.terminal import counted


@dataclass(frozen=True, kw_only=True)
class IngestParams:
    """How much to take in at once, what to let through, and how many images are worth a retraining."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    min_images_to_retrain: Annotated[
        int, Field(ge=1, description="so many images since the newest version call for a retraining")
    ]
    new_labels: Annotated[bool, Field(description="take in labels that no image of the newest version has")]
    max_files_per_run: Annotated[int, Field(ge=1, le=100_000, description="dropped files that one run looks at")]
    max_bytes: Annotated[int, Field(ge=1, description="a larger file goes to quarantine without being opened")]
    min_age_seconds: Annotated[
        float, Field(ge=0, description="a younger file is left for the next run: it may still be on its way")
    ]


@flow(name="ingest", flow_run_name="ingest {model}")
@settled
def ingest(model: str = "pets", branch: str = "main") -> str:
    """Look at PETMODELS_DROP once; ends with a sentence: what was taken in, and whether a retraining is due."""
    settings = Settings.from_environment()
    drop, newest = Drop(settings.drop), newest_version(settings.registry, model)
    with workspace(settings, "ingest", branch, tell) as space:
        params = section(space.folder / "params.yaml", "ingest", IngestParams)

        # Each time that so many more have come, not whenever so many are there: while a retraining waits or works, and
        # after a refusal, the newest version stays the same, and each hour's images would call for one more.
        def call(num_before: int, num_images: int) -> None:
            if num_before // params.min_images_to_retrain < num_images // params.min_images_to_retrain:
                _call_for_retraining(model, branch, newest, num_images)

        versions = versions_from(settings.registry, newest)
        taken = take_in(space, drop, params, branch=branch, versions=versions, announce=call, tell=tell)
    sentence = "; ".join([taken.sentence, _due(taken, params.min_images_to_retrain), *taken.losses.lines()])
    if rows := [*(one.to_row() for one in taken.outcomes), *taken.losses.to_rows()]:
        leave_table(rows, artifact_key(model, "arrivals"), sentence)
    if refused := refused_of(taken.outcomes):
        announce("petmodels.images.refused", model, refused)
    return sentence


@dataclass(frozen=True)
class Taken:
    """What a run did: a sentence, each file's outcome, how many images arrived since when, and what it found lost."""

    sentence: str
    outcomes: list[Outcome]
    num_since: int
    since: str
    losses: Losses


def take_in(
    space: Workspace, drop: Drop, params: IngestParams, *, branch: str, versions: Iterable[Manifest],
    announce: Callable[[int, int], None], tell: Callable[[str], None],
) -> Taken:  # fmt: skip
    """Take in what waits in the drop; `announce` is told the images since a version, before these and with them.

    That is the newest of `versions`, which begin with it, or what `base_of` takes for it. It is told once they are
    pushed. Raises FlowError's and PetmodelsError's kinds; what was done until then stays done.
    """
    versions = iter(versions)
    newest = next(versions, None)
    base = base_of(space, chain(filter(None, [newest]), versions), tell)
    before, found = listed(space), drop.listing(params.min_age_seconds)
    with passing(space.folder / "build/ingest") as folder:
        sentence, outcomes = _taken_in(
            space, drop, found.waiting, params, folder, branch=branch, newest=newest, known=base.hashes,
            announce=announce, tell=tell,
        )  # fmt: skip
    lost = losses(
        drop.address, found, before=before.values(), after=listed(space), gone=withdrawn(space),
        healed={one.file.sha256 for one in outcomes if one.outcome == ALREADY},
    )  # fmt: skip
    for line in lost.lines():
        tell(line)
    return Taken(sentence, outcomes, num_since(space, base.hashes), base.since, lost)


def _taken_in(
    space: Workspace, drop: Drop, waiting: Sequence[Dropped], params: IngestParams, folder: Path, *, branch: str,
    newest: Manifest | None, known: Set[str], announce: Callable[[int, int], None], tell: Callable[[str], None],
) -> tuple[str, list[Outcome]]:  # fmt: skip
    """Return a sentence and each file's outcome; of images beside the `known` ones `announce` is told the number."""
    if not waiting:
        return f"nothing waits in {drop.address}", []
    check_branch(space, branch)
    batch, unfetched = fitting(drop, waiting, folder, params.max_files_per_run)
    num_waiting = len(waiting) - len(batch) - len(unfetched)
    if not batch:
        return _counts(unfetched, num_waiting), unfetched
    tell(f"{len(batch)} of {len(waiting)} files that wait in {drop.address} are looked at")
    come = fetched(drop, batch, folder)
    if come is None:
        return "somebody else is taking the files in; left to them", []
    files, refused = come
    pairs = judged(space, files, max_bytes=params.max_bytes, newest=newest, new_labels=params.new_labels, tell=tell)
    outcomes = kept(drop, pairs, listed(space))
    rows = new_rows(outcomes, datetime.now(UTC).date().isoformat())
    push_rows(space, branch, rows, tell)
    if these := {one.file.sha256 for one in outcomes if one.outcome in {ACCEPTED, ALREADY}}:
        # Those that are there already are a killed run's, which may have told nobody of any of its images.
        is_again = any(one.outcome == ALREADY for one in outcomes)
        announce(0 if is_again else num_since(space, known | these), num_since(space, known))
    outcomes = [*unfetched, *refused, *taken_away(drop, outcomes, listed(space))]
    return _counts(outcomes, num_waiting), outcomes


def _counts(outcomes: Sequence[Outcome], num_waiting: int) -> str:
    counts = Counter(one.outcome for one in outcomes)
    parts = [f"{counts[word]} {word}" for word in (ACCEPTED, ALREADY, QUARANTINED, LEFT) if counts[word]]
    return ", ".join([*parts, f"{num_waiting} wait for the next run"] if num_waiting else parts)


def refused_of(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what to announce of a run that has put files aside and taken in none, {} of any other.

    A file is put aside once. What is left where it lies is left by each hour's run, so that alone it is told by none.
    """
    counts = Counter(one.outcome for one in outcomes)
    reasons = Counter(one.reason for one in outcomes if one.outcome == QUARANTINED)
    if not reasons or counts[ACCEPTED] or counts[ALREADY]:
        return {}
    ((reason, _),) = reasons.most_common(1)
    told = f"none of {counted(len(outcomes), 'dropped file')} is taken in: {_counts(outcomes, 0)}"
    sentence = f"{told}; the commonest reason: {reason}"
    return {"quarantined": counts[QUARANTINED], "left": counts[LEFT], "reason": reason, "sentence": sentence}


def _due(taken: Taken, minimum: int) -> str:
    due = "a retraining is due" if taken.num_since >= minimum else f"a retraining is due from {minimum} on"
    return f"{counted(taken.num_since, 'image')} arrived {taken.since}; {due}"


def _call_for_retraining(model: str, branch: str, newest: Manifest | None, num_images: int) -> None:
    payload = {"model": model, "branch": branch, "images": num_images, "since": newest.name if newest else ""}
    announce("petmodels.images.arrived", model, payload)
