"""The lines of the gate's table: what was looked at, for champion and challenger, and what it meant."""

from dataclasses import dataclass

from flows.costs import Priced
from flows.evidence import Evidence
from flows.paired import Paired, by_label, paired
from flows.recalls import Counts, Recall
from flows.shares import points, share


@dataclass(frozen=True)
class Figure:
    """One line of the decision's table: what was looked at, for both models, and what it meant."""

    what: str
    champion: str
    challenger: str
    meaning: str


def baseline_figures(accuracy: float, majority: float, logistic: float) -> tuple[Figure, ...]:
    """Return what a first version is held against."""
    return (
        Figure("accuracy against the commonest label", share(majority), share(accuracy), _than(accuracy, majority)),
        Figure("accuracy against a logistic regression", share(logistic), share(accuracy), _than(accuracy, logistic)),
    )


def recall_figures(tested: Counts, found: Recall, what: str) -> tuple[Figure, ...]:
    """Return a mean over labels, against naming one of them always, and the labels that are found least often."""
    interval = f"95 %: {share(found.low)} to {share(found.high)}"
    least = sorted(tested, key=lambda label: tested[label][1] / tested[label][0])[:3]
    shares = {f"{label} ({tested[label][0]})": tested[label][1] / tested[label][0] for label in least}
    of_labels = (Figure(label, "", share(its), "named rightly") for label, its in shares.items())
    return (Figure(what, share(found.constant), share(found.mean), interval), *of_labels)


def price_figures(its: Priced, told: str) -> tuple[Figure, ...]:
    """Return what both models' mistakes cost, and what the challenger saves an image."""
    low, high = its.interval
    saved = f"saves {its.difference:.3g} an image (95 %: {low:.3g} to {high:.3g}), p = {its.p_value:.2g}; {told}"
    what = f"cost of mistakes, images the champion never saw ({its.num_images})"
    return (Figure(what, f"{its.champion_cost:.6g}", f"{its.challenger_cost:.6g}", saved),)


def accuracy_figures(found: Evidence, fresh: Paired, limit: float, fewest: int) -> tuple[Figure, ...]:
    """Return both accuracies, who alone is right, how many challengers there were, and the labels that changed most."""
    older = {record.image for record in found.older}
    newer = [record for record in found.unseen if record.image not in older]
    parts = {"… that came before it": paired(found.older), "… that came with it or after": paired(newer)}
    parts = {
        "accuracy, images the champion never saw": fresh,
        **(parts if found.older and newer else {}),
        "accuracy, all test images": paired(found.records),
    }
    rows = []
    for name, its in parts.items():
        if its.num_images:
            low, high = its.interval
            meaning = f"{points(its.difference)}% (95 %: {points(low)}% to {points(high)}%), p = {its.p_value:.2g}"
            total = its.num_images
            rows.append(Figure(f"{name} ({total})", share(its.champion_right / total),
                               share(its.challenger_right / total), meaning))  # fmt: skip
    alone = f"{fresh.only_champion} only champion, {fresh.only_challenger} only challenger"
    rows.append(Figure("right where the other is wrong", str(fresh.only_champion), str(fresh.only_challenger), alone))
    rows.append(Figure(f"challengers of {found.champion} so far", "", str(found.turn), f"p ≤ {limit:.2g} is asked"))
    rows += _label_figures(found)
    if few := [label for label, its in by_label(found.unseen).items() if its.num_images < fewest]:
        rows.append(
            Figure(f"labels with fewer than {fewest} of them", "", str(len(few)), "too few to judge one by one")
        )
    return tuple(rows)


def ratio_figures(found: Evidence, most_seconds_ratio: float, most_size_ratio: float) -> tuple[Figure, ...]:
    """Return time and size, with how many times the champion's they may be."""
    return (
        Figure("time for an image, median", _milliseconds(found.champion_seconds),
               _milliseconds(found.challenger_seconds), f"at most {most_seconds_ratio:g} times"),
        Figure("size of model.onnx", _megabytes(found.champion_bytes), _megabytes(found.challenger_bytes),
               f"at most {most_size_ratio:g} times"),
    )  # fmt: skip


def _label_figures(found: Evidence) -> list[Figure]:
    """Return what is new, unread, and the three labels at which the challenger loses most."""
    rows = [
        Figure(f"{label} ({its.num_images})", share(its.champion_right / its.num_images),
               share(its.challenger_right / its.num_images), f"{points(its.difference)}%")
        for label, its in list(by_label(found.unseen).items())[:3]
        if its.difference < 0
    ]  # fmt: skip
    if found.new_labels:
        rows.append(Figure("labels that are new", "", str(len(found.new_labels)), ", ".join(found.new_labels[:9])))
    if found.unread:
        rows.append(Figure("photographs that can't be read", "", str(len(found.unread)), found.unread[0]))
    return rows


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"


def _than(value: float, other: float) -> str:
    return "more" if value > other else "not more"
