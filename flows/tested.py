"""Read from a bundle's card how many test images of each label its model named rightly.

Reads a card's content; leaves nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any


def of_test_side(card: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return how many test images of each label a bundle's card counts, and how many right ones; {} if it doesn't."""
    return dict(_counted(card.get("test_by_label")))


def _counted(content: Any) -> Iterator[tuple[str, tuple[int, int]]]:
    for label, its in content.items() if isinstance(content, dict) else ():
        match its:
            case {"num_images": int(num_images), "num_right": int(num_right)} if 0 <= num_right <= num_images > 0:
                yield label, (num_images, num_right)
