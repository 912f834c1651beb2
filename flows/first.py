"""A model's first version, which has no champion: is it better than what anybody gets without a model?

Reads what its bundle says of its test side; leaves a verdict with its numbers. Pure.
"""

from collections.abc import Mapping
from typing import Any, Literal

from flows.costs import price_of, told
from flows.figures import Figure, baseline_figures, recall_figures
from flows.recalls import Counts, Recall, exact_interval, least_recall, mean_recall
from flows.shares import share

Verdict = tuple[Literal["promote", "refuse"], str, tuple[Figure, ...]]

_BASELINES = ("accuracy", "accuracy_low", "accuracy_high", "baseline_majority", "baseline_logistic")
_UNEVEN = 2


def judged_alone(metrics: Mapping[str, Any], tested: Counts, costs: Mapping[str, float]) -> Verdict:
    """Ask that its 95 % interval lies above naming one label always, and not below a logistic regression.

    It is the accuracy's interval; where labels are uneven, so that naming the commonest one is nearly always right,
    that of the mean over labels may take its place, and where mistakes differ in price, that of their cost does.
    """
    missing = [name for name in _BASELINES if not isinstance(metrics.get(name), int | float)]
    if missing:
        return "refuse", f"refused: its metrics.json says nothing of {', '.join(missing)}", ()
    accuracy, low, high, majority, logistic = (float(metrics[name]) for name in _BASELINES)
    figures = baseline_figures(accuracy, majority, logistic)
    if costs and len({price_of(label, costs) for label in tested}) != 1:
        return _by_cost(logistic, tested, costs, figures)
    if low <= majority and is_uneven(tested):
        return _by_label((accuracy, majority, logistic), tested, figures)
    if low <= majority:
        sentence = f"refused: {share(accuracy)} right is no more than the commonest label gives, {share(majority)}"
        return "refuse", sentence, figures
    if high < logistic:
        sentence = f"refused: {share(accuracy)} right is clearly less than a logistic regression, {share(logistic)}"
        return "refuse", sentence, figures
    sentence = (
        f"the first version: {share(accuracy)} right, against {share(majority)} by naming the commonest label and "
        f"{share(logistic)} by a logistic regression"
    )
    return "promote", sentence, figures


def is_uneven(tested: Counts) -> bool:
    """Say whether one label has more than twice as many test images as another."""
    numbers = [num_images for num_images, _ in tested.values()]
    return bool(numbers) and max(numbers) > _UNEVEN * min(numbers)


def _by_label(shares: tuple[float, float, float], tested: Counts, figures: tuple[Figure, ...]) -> Verdict:
    """Hold the mean over labels, each counting the same, against what naming one label always gives."""
    accuracy, majority, logistic = shares
    weights = dict.fromkeys(tested, 1.0)
    found = mean_recall(tested, weights)
    figures = (*figures, *recall_figures(tested, found, "the mean share of a label's images"))
    names = _best(tested, found)
    mean = f"{share(found.mean)} of a label's images on average (95 %: from {share(found.low)})"
    if found.low <= found.constant:
        few = f"refused: {share(accuracy)} right is no more than the commonest label gives, {share(majority)}"
        return "refuse", f"{few}, and it names {names}: {mean} is not surely above {share(found.constant)}", figures
    if found.high < (least := least_recall(tested, weights, logistic)):
        return "refuse", f"refused: {mean} is clearly less than a logistic regression, {share(least)} or more", figures
    sentence = (
        f"the first version: it names {names}; {mean}, against {share(found.constant)} by naming one label always"
    )
    return "promote", f"{sentence}; {share(accuracy)} right, the commonest label gives {share(majority)}", figures


def _by_cost(logistic: float, tested: Counts, costs: Mapping[str, float], figures: tuple[Figure, ...]) -> Verdict:
    """Hold what mistakes cost on the test side against the cheapest way to name one label always."""
    if not tested:
        return "refuse", "refused: its card.json has no test_by_label, which gate.costs want", figures
    weights = {label: price_of(label, costs) * num_images for label, (num_images, _) in tested.items()}
    found, total = mean_recall(tested, weights), sum(weights.values())
    figures = (*figures, *recall_figures(tested, found, "share of all costs that is saved"))
    number, always = sum(num_images for num_images, _ in tested.values()), (1 - found.constant) * total
    cost = f"its mistakes on {number} test images cost {(1 - found.mean) * total:.6g} ({told(costs)})"
    constant = f"naming {found.named} always costs {always:.6g}"
    if found.low <= found.constant:
        most = f"{(1 - found.low) * total:.6g}"
        return (
            "refuse",
            f"refused: {cost}, which may be {most}, and {constant}; it names {_best(tested, found)}",
            figures,
        )
    if found.high < least_recall(tested, weights, logistic):
        return "refuse", f"refused: {cost}, which is clearly more than a logistic regression's", figures
    return "promote", f"the first version: {cost}, where {constant}; it names {_best(tested, found)}", figures


def _best(tested: Counts, found: Recall) -> str:
    """Return the label that is most surely found, apart from the one that could be named always, and how often."""
    others = [label for label in tested if label != found.named] or [found.named]
    best = max(others, key=lambda label: (exact_interval(tested[label][1], tested[label][0])[0], tested[label][0]))
    num_images, num_right = tested[best]
    return f"{num_right} of {num_images} {best}"
