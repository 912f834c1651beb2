"""Tables and pages on a run in Prefect's UI, without the environment's secrets, whoever's words they hold.

The UI reads cells and descriptions as Markdown too, with all of HTML: what others wrote goes through `shown` first, of
a page by whoever writes it, of all else here.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.telling import redacted
from petmodels.names import steers

# By backslashes, because Prefect's UI shows most entities as they are written. It searches tables as they are kept, and
# its second version shows cells as they are kept: so what begins nothing where it stands is left alone, as in
# great_pyrenees, pets@2, Q&A and s3://bucket/drop. There, bare addresses in descriptions and pages are links even so.
_BEGINS_MARKUP = re.compile(
    r"[\\`*\[\]<|~]|&(?=#?\w+;)"
    r"|(?<![^\W_])_|_(?![^\W_])"
    r"|(?:(?<=http)|(?<=https)|(?<=ftp)):(?=//)|(?<=www)\.|@(?=[\w-]+\.[\w-])"  # links without brackets
    r"|^[#>]|^[-+=](?=[-+=\s]|$)",
    re.IGNORECASE,
)
_BEGINS_LIST = re.compile(r"^(\d+)([.)])(?=\s|$)")


def artifact_key(*parts: str) -> str:
    """Return parts as a key that Prefect takes: small letters, digits and dashes."""
    return re.sub("[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def shown(text: str) -> str:
    """Return whoever's words as Markdown that is shown as they are, in one line: no link, no picture, no secret."""
    # Secrets first: with backslashes in them they would not be found any more.
    line = re.sub(r"[ \t\r\n]+", " ", redacted(text)).strip()
    line = "".join("\N{REPLACEMENT CHARACTER}" if steers(one) else one for one in line)
    return _BEGINS_LIST.sub(r"\1\\\2", _BEGINS_MARKUP.sub(r"\\\g<0>", line))


def leave_page(markdown: str, key: str, description: str) -> None:
    """Leave a page on the run; what others wrote in it has gone through `shown`."""
    create_markdown_artifact(redacted(markdown), key=key, description=shown(description))


def leave_table(rows: Sequence[Mapping[str, Any]], key: str, description: str) -> None:
    """Leave a table on the run; its values are texts, numbers and booleans."""
    create_table_artifact([_shown_in(row) for row in rows], key=key, description=shown(description))


def _shown_in(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: shown(value) if isinstance(value, str) else value for name, value in row.items()}
