"""The gate: by rules that stand in params.yaml before anybody looks, may a challenger take the champion's place?

Reads the evidence; leaves a decision with its numbers. Pure: the same evidence and rules give the same decision.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal
from unicodedata import normalize

from pydantic import AfterValidator, ConfigDict, Field

from flows.at_labels import FEWEST, worse_at_labels
from flows.champion import SEEN
from flows.costs import Priced, priced, told
from flows.evidence import Evidence
from flows.figures import Figure, accuracy_figures, price_figures, ratio_figures
from flows.first import judged_alone
from flows.paired import Paired, paired
from flows.params import STRICT

Outcome = Literal["promote", "keep", "refuse"]


def _composed(content: dict[str, float]) -> dict[str, float]:
    """Return the same with its labels in the spelling of the models'; raise ValueError if one is there twice."""
    composed = {normalize("NFC", label): value for label, value in content.items()}
    if len(composed) < len(content):
        raise ValueError("a label stands there twice, its accent once as one character and once as two")
    return composed


@dataclass(frozen=True, kw_only=True)
class GateParams:
    """The rules of a release."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    max_p_value: Annotated[
        float,
        Field(
            gt=0,
            lt=1,
            description="a difference counts when McNemar's exact p-value (with costs, that of all sign flips) is at "
            "most this; at a champion's n-th challenger, at most 2 / (n (n + 1)) of it",
        ),
    ]
    min_images: Annotated[
        int, Field(ge=1, description="test images that the champion never saw; with fewer, nothing is promoted")
    ]
    max_label_fall: Annotated[
        float, Field(gt=0, le=1, description="a label's accuracy may fall by so much on five images or more")
    ]
    label_falls: Annotated[
        dict[str, Annotated[float, Field(ge=0, le=1)]],
        AfterValidator(_composed),
        Field(description="at most so much may these labels' accuracy fall, however few images: {defect: 0.1}"),
    ]
    costs: Annotated[
        dict[str, Annotated[float, Field(ge=0.000_001, le=1_000_000)]],
        AfterValidator(_composed),
        Field(
            description="price of misnaming an image of these labels, of all others 1: {defect: 20}; "
            "{}: accuracies are compared, not costs"
        ),
    ]
    max_seconds_ratio: Annotated[
        float, Field(gt=0, description="challenger's seconds an image over the champion's; more is refused")
    ]
    max_size_ratio: Annotated[
        float, Field(gt=0, description="challenger's model.onnx over the champion's, in bytes; more is refused")
    ]


@dataclass(frozen=True)
class Decision:
    """What happens to a challenger, in a sentence for people, the numbers behind it, and whom it was held against.

    It is lasting if the same challenger would be told the same at another moment, and by another machine.
    """

    outcome: Outcome
    sentence: str
    figures: tuple[Figure, ...]
    champion: int | None = None
    is_lasting: bool = field(default=True, kw_only=True)


def decide(found: Evidence, rules: GateParams) -> Decision:
    """Apply the rules to the evidence."""
    if found.polluting:
        first = found.polluting[0]
        sentence = f"refused: {len(found.polluting)} of its test images were used to train it, the first: {first}"
        return Decision("refuse", sentence, ())
    if not found.champion:
        return Decision(*judged_alone(found.metrics, found.tested, rules.costs), champion=found.champion_version)
    return replace(_against_champion(found, rules), champion=found.champion_version)


def limit_of_turn(turn: int, rules: GateParams) -> float:
    """Return the greatest p-value with which a champion's challenger number `turn`, from 1, may take its place.

    Each look at a new challenger is another chance to mistake luck for progress. 2 / (n (n + 1)) of the whole for the
    n-th adds up to twice `max_p_value`, and half of a two-sided p-value is for the better side: that equals ever take a
    champion's place, however many are published, is at most as likely as `max_p_value`. Refusals, which publish nothing
    and take no turn, hardly change that.
    """
    return rules.max_p_value * 2 / (turn * (turn + 1))


def _against_champion(found: Evidence, rules: GateParams) -> Decision:
    fresh = paired(found.unseen)
    figures = (
        *accuracy_figures(found, fresh, limit_of_turn(found.turn, rules), FEWEST),
        *(price_figures(priced(found.unseen, rules.costs), told(rules.costs)) if rules.costs else ()),
        *ratio_figures(found, rules.max_seconds_ratio, rules.max_size_ratio),
    )
    if found.is_same_network:
        own = f"its network, labels and preprocessing are {found.champion}'s own"
        return Decision("keep", f"kept, not promoted: {own}", figures)
    if flaw := _lost(found) or _too_large(found, rules):
        return Decision("refuse", f"refused: {flaw}", figures)
    if flaw := _too_slow(found, rules):
        return Decision("refuse", f"refused: {flaw}", figures, is_lasting=False)
    if not found.says_what_it_saw:
        unknown = (
            f"{found.champion} has no {SEEN} that says what it was trained on, so no test image is surely new to it"
        )
        return Decision("keep", f"kept, not promoted: {unknown}", figures)
    if fresh.num_images < rules.min_images:
        few = f"{fresh.num_images} test images that {found.champion} never saw"
        return Decision("keep", f"kept, not promoted: {few} are too few to decide by ({rules.min_images})", figures)
    return _compared(found, rules, fresh, figures)


def _compared(found: Evidence, rules: GateParams, fresh: Paired, figures: tuple[Figure, ...]) -> Decision:
    """Decide by who is right where, or by what that costs; it is what the gate is for, all else comes before it."""
    its = priced(found.unseen, rules.costs) if rules.costs else fresh
    said = _said(its, found.champion, rules)
    limit = limit_of_turn(found.turn, rules)
    if its.difference < 0 and its.p_value <= rules.max_p_value:
        return Decision("refuse", f"refused: {said}, which is worse and no chance", figures)
    doubt = (
        _no_room(its, fresh, found, limit)
        or _chance(its, found, limit)
        or _worse_on_older(found, rules)
        or worse_at_labels(found, rules)
    )
    if doubt:
        return Decision("keep", f"kept, not promoted: {said}, {doubt}", figures)
    return Decision("promote", said, figures)


def _no_room(its: Paired | Priced, fresh: Paired, found: Evidence, limit: float) -> str:
    """Say that the champion makes so few mistakes that no challenger could be shown to be better.

    Whatever they cost: of all flips of n signs one alone is as good as a challenger that makes none of the n mistakes.
    """
    mistakes, needed = fresh.num_images - fresh.champion_right, math.ceil(1 - math.log2(limit))
    if its.difference < 0 or mistakes >= needed:
        return ""
    return f"and {found.champion} is wrong at {mistakes}: of fewer than {needed} mistakes chance explains any gain"


def _chance(its: Paired | Priced, found: Evidence, limit: float) -> str:
    if its.p_value <= limit:
        return ""
    often = f" at challenger {found.turn} of {found.champion}: p ≤ {limit:.2g} is asked" if found.turn > 1 else ""
    return f"which may be chance{often}"


def _worse_on_older(found: Evidence, rules: GateParams) -> str:
    """Say that what came lately hides a loss on the images that were there before."""
    older = priced(found.older, rules.costs) if rules.costs else paired(found.older)
    if older.difference >= 0 or older.p_value > rules.max_p_value:
        return ""
    if isinstance(older, Priced):
        only = f"but {older.challenger_cost:.6g} on the {older.num_images} that are older than {found.champion}"
        return f"{only}, where that one's cost {older.champion_cost:.6g} (p = {older.p_value:.2g})"
    only = f"but only {older.challenger_right} of the {older.num_images} that are older than {found.champion}"
    return f"{only}, where that has {older.champion_right} right (p = {older.p_value:.2g})"


def _said(its: Paired | Priced, champion: str, rules: GateParams) -> str:
    if isinstance(its, Priced):
        return (
            f"its mistakes cost {its.challenger_cost:.6g} where {champion}'s cost {its.champion_cost:.6g} "
            f"({told(rules.costs)}), on {its.num_images} test images that {champion} never saw (p = {its.p_value:.2g})"
        )
    return (
        f"{its.challenger_right} of {its.num_images} test images that {champion} never saw are right, with {champion} "
        f"{its.champion_right} are (p = {its.p_value:.2g})"
    )


def _lost(found: Evidence) -> str:
    return f"it no longer knows {', '.join(found.lost_labels[:9])}" if found.lost_labels else ""


def _too_large(found: Evidence, rules: GateParams) -> str:
    larger = found.challenger_bytes / max(found.champion_bytes, 1)
    if larger <= rules.max_size_ratio:
        return ""
    return f"it is {larger:.1f} times as large as {found.champion} (allowed: {rules.max_size_ratio:g})"


def _too_slow(found: Evidence, rules: GateParams) -> str:
    slower = found.challenger_seconds / max(found.champion_seconds, 1e-9)
    if slower <= rules.max_seconds_ratio:
        return ""
    return f"an image takes {slower:.1f} times as long as with {found.champion} (allowed: {rules.max_seconds_ratio:g})"
