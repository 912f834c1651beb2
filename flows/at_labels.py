"""Where a challenger that is better in all may be worse: at single labels. What is found here only holds it back.

Reads the evidence; leaves nothing. A rare label hardly counts in a sum, so it is looked at by itself.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING

from flows.costs import price_of
from flows.errors import RequestError
from flows.evidence import Evidence
from flows.paired import Paired, by_label
from flows.shares import share

if TYPE_CHECKING:
    from flows.gate import GateParams

FEWEST = 5
_LOST = 2  # of 37 breeds with two test images each, one is easily lost by luck
_MOST_NAMED = 9


def check_labels(rules: "GateParams", labels: Iterable[str]) -> None:
    """Raise RequestError for a rule on a label that no image has: it could never take effect."""
    known = sorted(set(labels))
    for key, content in {"label_falls": rules.label_falls, "costs": rules.costs}.items():
        for label in content:
            if label not in known:
                near = known if len(known) <= _MOST_NAMED else get_close_matches(label, known, _MOST_NAMED, 0)
                raise RequestError(
                    f"params.yaml: gate: {key}: no image has this label; labels: {', '.join(near)}: {label!r}"
                )


def worse_at_labels(found: Evidence, rules: "GateParams") -> str:
    """Say in a part of a sentence at which labels the challenger is worse than the rules allow; "" at none."""
    counts = by_label(found.unseen)
    return (
        _lost(counts, found.champion) or _fallen(counts, found, rules.label_falls) or _regressed(counts, rules)
    )  # fmt: skip


def regressions(counts: Mapping[str, Paired], rules: "GateParams") -> list[str]:
    """Return the labels at which the challenger is worse than chance explains, or much worse on images enough to see.

    Bonferroni: each label's p-value is held against `max_p_value` over the number of labels. With costs, the labels
    that count least may be worse beyond chance, for that is what the dearer ones are paid with; not much worse.
    """
    limit = rules.max_p_value / max(len(counts), 1)
    prices = {price_of(label, rules.costs) for label in counts}
    paying = min(prices) if len(prices) > 1 else None
    return [
        label
        for label, its in counts.items()
        if its.difference < 0
        and (
            (its.p_value <= limit and price_of(label, rules.costs) != paying)
            or (its.num_images >= FEWEST and -its.difference > rules.max_label_fall)
        )
    ]


def _lost(counts: Mapping[str, Paired], champion: str) -> str:
    """Say which label has lost all its right answers, of which there were two or more."""
    lost = [label for label, its in counts.items() if its.champion_right >= _LOST and not its.challenger_right]
    if not lost:
        return ""
    its = counts[lost[0]]
    more = f", and none of {len(lost) - 1} more labels" if lost[1:] else ""
    return (
        f"but it names none of {its.num_images} images of {lost[0]}, where {champion} names {its.champion_right}{more}"
    )


def _fallen(counts: Mapping[str, Paired], found: Evidence, falls: Mapping[str, float]) -> str:
    """Say which label has fallen by more than its own rule allows, or can't be seen not to have."""
    for label, most in falls.items():
        its = counts.get(label)
        if its is None and label not in found.new_labels:
            return f"but none of them is {label}, so that nobody sees whether that has fallen"
        if its and -its.difference > most:
            return (
                f"but it names {its.challenger_right} of {its.num_images} images of {label}, where {found.champion} "
                f"names {its.champion_right}: {share(-its.difference)} less, of which {share(most)} is allowed"
            )
    return ""


def _regressed(counts: Mapping[str, Paired], rules: "GateParams") -> str:
    worse = regressions(counts, rules)
    return f"but it is worse at {', '.join(worse[:3])}" if worse else ""
