"""What the mistakes of two models cost on the same images, where missing one label is dearer than missing another.

Reads nothing; leaves nothing. An image that is misnamed costs what missing its own label costs: 1, where nobody has
said otherwise.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from petmodels.comparison import Compared
from petmodels.significance import saving_interval, sign_flips

_MOST_TOLD = 3


@dataclass(frozen=True, kw_only=True)
class Priced:
    """What two models' mistakes cost on the same images.

    By the price of a mistake, `prices` counts the images, and `uneven` those that one model alone got right: the
    champion, the challenger.
    """

    champion_cost: float
    challenger_cost: float
    prices: Mapping[float, int]
    uneven: Mapping[float, tuple[int, int]]

    @property
    def num_images(self) -> int:
        return sum(self.prices.values())

    @cached_property
    def p_value(self) -> float:
        return sign_flips(self.uneven)

    @property
    def difference(self) -> float:
        """How much less an image costs with the challenger."""
        return (self.champion_cost - self.challenger_cost) / max(self.num_images, 1)

    @property
    def interval(self) -> tuple[float, float]:
        return saving_interval(self.uneven, self.prices)


def priced(records: Sequence[Compared], costs: Mapping[str, float]) -> Priced:
    """Add up what is missed, a price at a time."""
    counts: Counter[tuple[float, bool, bool]] = Counter(
        (price_of(one.label, costs), one.before_label == one.label, one.after_label == one.label) for one in records
    )
    prices = sorted({price for price, _, _ in counts})
    return Priced(
        champion_cost=sum(price * number for (price, champion, _), number in counts.items() if not champion),
        challenger_cost=sum(price * number for (price, _, challenger), number in counts.items() if not challenger),
        prices={one: sum(number for (price, _, _), number in counts.items() if price == one) for one in prices},
        uneven={price: (counts[price, True, False], counts[price, False, True]) for price in prices},
    )


def price_of(label: str, costs: Mapping[str, float]) -> float:
    """Return what missing an image of a label costs."""
    return costs.get(label, 1.0)


def told(costs: Mapping[str, float]) -> str:
    """Return for people what missing a label counts, the dearest ones."""
    dearest = sorted(costs, key=lambda label: -costs[label])[:_MOST_TOLD]
    more = ", …" if len(costs) > len(dearest) else ""
    return ", ".join(f"a missed {label} counts {costs[label]:g}" for label in dearest) + more
