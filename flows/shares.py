"""Write shares of images as percentages: 100 is said only of all, and 0 only of none.

Reads nothing and leaves nothing. Stages do the same with a function of their own: neither package may import the other.
"""


def percent(share: float, digits: int = 1) -> str:
    """Return a share from 0 to 1 in per cent, with more digits than these where it would read as 100 or 0 otherwise."""
    share = round(share, 9)  # an end of an interval may miss 0 or 1 by its rounding
    text = f"{100 * share:.{digits}f}"
    while 0 < share < 1 and float(text) in (0, 100):
        digits += 1
        text = f"{100 * share:.{digits}f}"
    return text


def share(value: float) -> str:
    """Return a share as people read it in a sentence."""
    return f"{percent(value)}%"


def points(difference: float) -> str:
    """Return a difference of two shares in points, with its sign and with as many digits as `percent` gives it."""
    return f"{'-' if difference < 0 else '+'}{percent(abs(difference))}"
