"""Tables and pages on a run in Prefect's UI, without the environment's secrets, whoever's words they hold."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.children import redacted


def artifact_key(*parts: str) -> str:
    """Return parts as a key that Prefect takes: small letters, digits and dashes."""
    return re.sub("[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def leave_page(markdown: str, key: str, description: str) -> None:
    """Leave a page on the run."""
    create_markdown_artifact(redacted(markdown), key=key, description=redacted(description))


def leave_table(rows: Sequence[Mapping[str, Any]], key: str, description: str) -> None:
    """Leave a table on the run; its values are texts, numbers and booleans."""
    create_table_artifact([_clean(row) for row in rows], key=key, description=redacted(description))


def _clean(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: redacted(value) if isinstance(value, str) else value for name, value in row.items()}
