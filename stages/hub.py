"""Write the header of a model card: YAML with the fields that the Hugging Face Hub reads.

Reads a card's fields; leaves nothing. The Hub refuses a licence that it has no name for, and takes a data set only by
its address there; so what has none stands in the card's text alone.
"""

import re
from collections.abc import Mapping
from typing import Any

# Of the Hub's names those that weights are likely to have.
_OF_SOFTWARE = {"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "unlicense", "openrail", "gpl-3.0", "lgpl-3.0"}
_CREATIVE_COMMONS = {"cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"}
_TASK = "image-classification"


def header(fields: Mapping[str, Any]) -> str:
    """Return the YAML without the lines of dashes around it, always the same for the same fields."""
    import yaml

    content = {
        **_license(fields["license"]),
        "library_name": fields["library_name"],
        "pipeline_tag": fields["pipeline_tag"],
        "tags": fields["tags"],
        **({"datasets": [fields["data_name"]]} if _is_repository(fields["data_name"]) else {}),
        "metrics": ["accuracy"],
        "model-index": [
            {"name": f"{fields['architecture']}-{_slug(fields['data_name']) or 'images'}", "results": [_result(fields)]}
        ],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).strip()


def num_later(number: int) -> str:
    """Return the words for images that aren't the source's."""
    return "1 image that came later" if number == 1 else f"{number} images that came later"


def _license(text: str) -> dict[str, str]:
    """Return the Hub's name for it; else what it was called here, and the first address that was given with it."""
    name = text.strip().lower().replace(" ", "-")
    if name in _OF_SOFTWARE | _CREATIVE_COMMONS:
        return {"license": name}
    address = re.search(r"https?://[^\s,;)]+", text)
    short = (_slug(text) if len(text) <= 40 else "") or "stated-in-the-card"
    link = {"license_link": address[0].rstrip(".")} if address else {}
    return {"license": "other", "license_name": short} | link


def _is_repository(name: str) -> bool:
    """Say whether this could be the address of a data set on the Hub."""
    part = r"(?!.*(?:--|\.\.))[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,46}[A-Za-z0-9_])?"
    return re.fullmatch(rf"{part}/{part}", name) is not None


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")


def _result(fields: Mapping[str, Any]) -> dict[str, Any]:
    name = fields["data_name"]
    others = f" and {num_later(fields['num_arrived'])}" if fields["num_arrived"] else ""
    data = {
        "name": f"{name}{others}",
        "type": name if _is_repository(name) else _slug(name) or "images",
        "split": "test",
        "args": {"num_images": fields["num_test"]},
    }
    accuracy = {"type": "accuracy", "name": "accuracy", "value": fields["metrics"]["accuracy"]}
    return {"task": {"type": _TASK, "name": "Image classification"}, "dataset": data, "metrics": [accuracy]}
