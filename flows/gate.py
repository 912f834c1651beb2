"""The gate: by rules that stand in params.yaml before anybody looks, may a challenger take the champion's place?

Reads the evidence; leaves a decision with its numbers. Pure: the same evidence and rules give the same decision.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from flows.evidence import Evidence
from flows.params import STRICT
from petmodels.comparison import Compared, difference_interval, mcnemar

Outcome = Literal["promote", "keep", "refuse"]

_FEWEST = 5
_BASELINES = ("accuracy", "accuracy_low", "accuracy_high", "baseline_majority", "baseline_logistic")


@dataclass(frozen=True, kw_only=True)
class GateParams:
    """The rules of a release."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    max_p_value: Annotated[
        float, Field(gt=0, lt=1, description="a difference counts when McNemar's exact p-value is at most this")
    ]
    min_images: Annotated[
        int, Field(ge=1, description="test images that the champion never saw; with fewer, nothing is promoted")
    ]
    max_label_fall: Annotated[
        float, Field(gt=0, le=1, description="a label's accuracy may fall by so much on five images or more")
    ]
    max_seconds_ratio: Annotated[
        float, Field(gt=0, description="challenger's seconds an image over the champion's; more is refused")
    ]
    max_size_ratio: Annotated[
        float, Field(gt=0, description="challenger's model.onnx over the champion's, in bytes; more is refused")
    ]


@dataclass(frozen=True)
class Figure:
    """One line of the decision's table: what was looked at, for both models, and what it meant."""

    what: str
    champion: str
    challenger: str
    meaning: str


@dataclass(frozen=True)
class Decision:
    """What happens to a challenger, in a sentence for people, the numbers behind it, and whom it was held against."""

    outcome: Outcome
    sentence: str
    figures: tuple[Figure, ...]
    champion: int | None = None


@dataclass(frozen=True, kw_only=True)
class Paired:
    """How two models did on the same images."""

    num_images: int
    champion_right: int
    challenger_right: int
    only_champion: int
    only_challenger: int

    @property
    def p_value(self) -> float:
        return mcnemar(self.only_champion, self.only_challenger)

    @property
    def difference(self) -> float:
        return (self.only_challenger - self.only_champion) / max(self.num_images, 1)

    @property
    def interval(self) -> tuple[float, float]:
        return difference_interval(self.only_champion, self.only_challenger, self.num_images)


def decide(found: Evidence, rules: GateParams) -> Decision:
    """Apply the rules to the evidence."""
    if found.polluting:
        first = found.polluting[0]
        sentence = f"refused: {len(found.polluting)} of its test images were used to train it, the first: {first}"
        return Decision("refuse", sentence, ())
    decision = _against_champion(found, rules) if found.champion else _against_baselines(found)
    return replace(decision, champion=found.champion_version)


def paired(records: Sequence[Compared]) -> Paired:
    """Count who is right where."""
    champion = [record.before_label == record.label for record in records]
    challenger = [record.after_label == record.label for record in records]
    both = list(zip(champion, challenger, strict=True))
    return Paired(
        num_images=len(records),
        champion_right=sum(champion),
        challenger_right=sum(challenger),
        only_champion=both.count((True, False)),
        only_challenger=both.count((False, True)),
    )


def by_label(records: Sequence[Compared]) -> dict[str, Paired]:
    """Count who is right where, a label at a time; the label that the challenger loses most at comes first."""
    found: dict[str, list[Compared]] = defaultdict(list)
    for record in records:
        found[record.label].append(record)
    counts = {label: paired(of_label) for label, of_label in sorted(found.items())}
    return dict(sorted(counts.items(), key=lambda item: item[1].difference))


def regressions(counts: Mapping[str, Paired], rules: GateParams) -> list[str]:
    """Return the labels at which the challenger is worse than chance explains, or much worse on images enough to see.

    Bonferroni: each label's p-value is held against `max_p_value` over the number of labels.
    """
    limit = rules.max_p_value / max(len(counts), 1)
    return [
        label
        for label, its in counts.items()
        if its.difference < 0
        and (its.p_value <= limit or (its.num_images >= _FEWEST and -its.difference > rules.max_label_fall))
    ]


def _against_baselines(found: Evidence) -> Decision:
    """Ask of a first version that its accuracy's 95 % interval lies above the one baseline and not below the other."""
    missing = [name for name in _BASELINES if not isinstance(found.metrics.get(name), int | float)]
    if missing:
        return Decision("refuse", f"refused: its metrics.json says nothing of {', '.join(missing)}", ())
    accuracy, low, high, majority, logistic = (float(found.metrics[name]) for name in _BASELINES)
    figures = (
        Figure("accuracy against the commonest label", _share(majority), _share(accuracy), _than(accuracy, majority)),
        Figure("accuracy against a logistic regression", _share(logistic), _share(accuracy), _than(accuracy, logistic)),
    )
    if low <= majority:
        sentence = f"refused: {_share(accuracy)} right is no more than the commonest label gives, {_share(majority)}"
        return Decision("refuse", sentence, figures)
    if high < logistic:
        sentence = f"refused: {_share(accuracy)} right is clearly less than a logistic regression, {_share(logistic)}"
        return Decision("refuse", sentence, figures)
    sentence = (
        f"the first version: {_share(accuracy)} right, against {_share(majority)} by naming the commonest label and "
        f"{_share(logistic)} by a logistic regression"
    )
    return Decision("promote", sentence, figures)


def _against_champion(found: Evidence, rules: GateParams) -> Decision:
    fresh = paired(found.unseen)
    figures = (*_accuracy_figures(found, fresh), *_cost_figures(found, rules))
    if flaw := _lost(found) or _too_costly(found, rules):
        return Decision("refuse", f"refused: {flaw}", figures)
    if fresh.num_images < rules.min_images:
        few = f"{fresh.num_images} test images that {found.champion} never saw"
        return Decision("keep", f"kept, not promoted: {few} are too few to decide by ({rules.min_images})", figures)
    said = _said(fresh, found.champion)
    if fresh.p_value > rules.max_p_value:
        return Decision("keep", f"kept, not promoted: {said}, which may be chance", figures)
    if fresh.difference < 0:
        return Decision("refuse", f"refused: {said}, which is worse and no chance", figures)
    if worse := regressions(by_label(found.unseen), rules):
        return Decision("keep", f"kept, not promoted: {said}, but it is worse at {', '.join(worse[:3])}", figures)
    return Decision("promote", said, figures)


def _said(its: Paired, champion: str) -> str:
    return (
        f"{its.challenger_right} of {its.num_images} test images that {champion} never saw are right, with {champion} "
        f"{its.champion_right} are (p = {its.p_value:.2g})"
    )


def _accuracy_figures(found: Evidence, fresh: Paired) -> tuple[Figure, ...]:
    everything = paired(found.records)
    rows = []
    for name, its in (("accuracy, images the champion never saw", fresh), ("accuracy, all test images", everything)):
        if its.num_images:
            low, high = its.interval
            meaning = f"{its.difference:+.1%} (95 %: {low:+.1%} to {high:+.1%}), p = {its.p_value:.2g}"
            total = its.num_images
            rows.append(Figure(f"{name} ({total})", _share(its.champion_right / total),
                               _share(its.challenger_right / total), meaning))  # fmt: skip
    alone = f"{fresh.only_champion} only champion, {fresh.only_challenger} only challenger"
    rows.append(Figure("right where the other is wrong", str(fresh.only_champion), str(fresh.only_challenger), alone))
    return (*rows, *_label_figures(found))


def _label_figures(found: Evidence) -> list[Figure]:
    """Return what is new, unread, and the three labels at which the challenger loses most."""
    rows = [
        Figure(f"{label} ({its.num_images})", _share(its.champion_right / its.num_images),
               _share(its.challenger_right / its.num_images), f"{its.difference:+.1%}")
        for label, its in list(by_label(found.unseen).items())[:3]
        if its.difference < 0
    ]  # fmt: skip
    if found.new_labels:
        rows.append(Figure("labels that are new", "", str(len(found.new_labels)), ", ".join(found.new_labels[:9])))
    if found.unread:
        rows.append(Figure("photographs that can't be read", "", str(len(found.unread)), found.unread[0]))
    return rows


def _lost(found: Evidence) -> str:
    return f"it no longer knows {', '.join(found.lost_labels[:9])}" if found.lost_labels else ""


def _cost_figures(found: Evidence, rules: GateParams) -> tuple[Figure, ...]:
    return (
        Figure("time for an image, median", _milliseconds(found.champion_seconds),
               _milliseconds(found.challenger_seconds), f"at most {rules.max_seconds_ratio:g} times"),
        Figure("size of model.onnx", _megabytes(found.champion_bytes), _megabytes(found.challenger_bytes),
               f"at most {rules.max_size_ratio:g} times"),
    )  # fmt: skip


def _too_costly(found: Evidence, rules: GateParams) -> str:
    slower = found.challenger_seconds / max(found.champion_seconds, 1e-9)
    larger = found.challenger_bytes / max(found.champion_bytes, 1)
    if slower > rules.max_seconds_ratio:
        return (
            f"an image takes {slower:.1f} times as long as with {found.champion} (allowed: {rules.max_seconds_ratio:g})"
        )
    if larger > rules.max_size_ratio:
        return f"it is {larger:.1f} times as large as {found.champion} (allowed: {rules.max_size_ratio:g})"
    return ""


def _share(value: float) -> str:
    return f"{value:.1%}"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"


def _than(value: float, other: float) -> str:
    return "more" if value > other else "not more"
