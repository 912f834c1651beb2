"""Does the version in production still do what it promised? The flow `watch`, on the photographs that came after it.

Reads the registry, the project's branch and the drop. Leaves a page, and an event when the version names fewer of them
rightly than its test side lets expect. Nothing remembers that it was told: each run tells it while it lasts.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from prefect import flow
from pydantic import ConfigDict, Field

from flows.announcing import announce
from flows.artifacts import artifact_key, leave_page
from flows.champion import SEEN, Champion, champion_of, seen_in
from flows.drop import ACCEPTED, Drop
from flows.errors import RequestError
from flows.intake import passing
from flows.newcomers import answers, newcomers, tallied
from flows.outcome import settled, tell
from flows.params import STRICT, section
from flows.settings import Settings
from flows.tested import of_test_side
from flows.watched import Watched
from flows.workspace import Workspace, workspace
from petmodels import Registry
from petmodels.aliases import alias_names

UNKNOWN, OLDER = "of labels that it doesn't know, or wasn't tested on", "that are older"


@dataclass(frozen=True, kw_only=True)
class WatchParams:
    """By how many photographs a version is judged, and how sure one must be to say that it slips."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    max_images: Annotated[int, Field(ge=1, le=10_000, description="so many of the newest photographs are looked at")]
    min_images: Annotated[int, Field(ge=1, description="with fewer photographs nothing is decided")]
    max_p_value: Annotated[
        float,
        Field(gt=0, lt=1, description="a version slips when the exact p-value is at most this; each day is a look"),
    ]

    def __post_init__(self) -> None:
        if self.max_images < self.min_images:
            told = f"max_images is less than min_images, {self.min_images}, so that nothing would ever be decided"
            raise RequestError(f"params.yaml: watch: {told}; raise it: {self.max_images}")


@flow(name="watch", flow_run_name="watch {model} {alias}")
@settled
def watch(model: str = "pets", alias: str = "production", branch: str = "main") -> str:
    """Look once; ends with a sentence: how many are right of what came after the version, and how many would be."""
    settings = Settings.from_environment()
    drop, registry = Drop(settings.drop), Registry(settings.registry, notice=tell)
    champion = champion_of(registry, model, alias)
    if champion is None:
        if names := alias_names(registry.storage, model):
            raise RequestError(f"{model} has no alias {alias}; it has: {', '.join(names[:9])}")
        return f"nothing to watch: {model}@{alias} names no version yet"
    with workspace(settings, "watch", branch, tell) as space:
        params = section(space.folder / "params.yaml", "watch", WatchParams)
        found = look(space, drop, champion, params, tell)
    if found.answers:
        leave_page(found.page(f"{drop.address}/{ACCEPTED}"), artifact_key(model, alias, "watch"), found.sentence)
    if found.is_slipping:
        announce("petmodels.champion.slipping", model, {"alias": alias, **found.payload})
    return found.sentence


def look(space: Workspace, drop: Drop, champion: Champion, params: WatchParams, tell: Callable[[str], None]) -> Watched:
    """Ask a version about the newest photographs that came after it, and count the answers."""
    model, tested = champion.model, of_test_side(champion.model.card)
    lacks = "" if tested else "its card.json has no test_by_label"
    if seen_in(champion.folder) is None:
        lacks, tested = f"its bundle has no {SEEN}", {}
    rows, labels = newcomers(space, champion, tell), set(model.labels) & set(tested or model.labels)
    fitting = [row for row in rows if row.label in labels]
    asked = fitting[: params.max_images]
    tell(f"{champion.manifest.name} is asked about {len(asked)} of {len(rows)} photographs that came after it")
    with passing(space.folder / "build/watch") as folder:
        found = answers(model, drop, asked, folder)
    aside = Counter({UNKNOWN: len(rows) - len(fitting), OLDER: len(fitting) - len(asked)})
    return Watched(
        version=champion.manifest.name,
        answers=found.given,
        tallies=tallied(found.given, tested),
        without=aside + found.without,
        lacks=lacks,
        fewest=params.min_images,
        limit=params.max_p_value,
    )
