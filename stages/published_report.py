"""Take out of a report what no bundle may show to anyone: the doubtful labels, with images of the train side.

Reads and leaves nothing itself. What is between the template's marks goes; text from the data can't hold one, as all of
it is escaped.
"""

import re

_OURS = re.compile(r"\s*<!-- not for a bundle -->.*?<!-- until here -->", re.DOTALL)


def published(page: str) -> str:
    """Return the report's page as a bundle has it."""
    return _OURS.sub("", page)
