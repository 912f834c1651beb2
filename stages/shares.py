"""Write shares as percentages: 100 is said only of all, and 0 only of none.

Reads nothing and leaves nothing.
"""


def percent(share: float | str, digits: int = 1) -> str:
    """Return a share from 0 to 1 in per cent, with more digits than these where it would read as 100 or 0 otherwise.

    2,099 of 2,100 named rightly are 99.95: "100.0" would say that none was mistaken.
    """
    value = round(float(share), 9)  # an end of an interval may miss 0 or 1 by its rounding
    text = f"{100 * value:.{digits}f}"
    while 0 < value < 1 and float(text) in (0, 100):
        digits += 1
        text = f"{100 * value:.{digits}f}"
    return text


def points(difference: float) -> str:
    """Return a difference of two shares in points, with its sign and with as many digits as `percent` gives it."""
    return f"{'-' if difference < 0 else '+'}{percent(abs(difference))}"
