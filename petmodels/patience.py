"""How often a store is asked, and how long it may be silent: AWS_MAX_ATTEMPTS and PETMODELS_TIMEOUT.

Reads the environment; leaves nothing.
"""

from petmodels.storage import number_in


def tries() -> int:
    """Return how often a request is made, and a download begun anew that breaks without having got anywhere."""
    return int(number_in("AWS_MAX_ATTEMPTS", 5, least=1))


def timeout_seconds() -> float:
    """Return how long a store may take for its next byte."""
    return number_in("PETMODELS_TIMEOUT", 60, least=0.001)


def silence_seconds() -> float:
    """Return for how long a download may get nothing before whoever makes it gives up, if he is not frozen himself."""
    return tries() * timeout_seconds()
