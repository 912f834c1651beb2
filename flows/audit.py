"""Read every version of every model again and say what is there, what it costs and what is broken: the flow `audit`.

Reads the registry, every byte of it, and asks whether the other stores are there. Leaves two artifacts, a page for
people and a table of the versions, and, where it has read all models' versions and found nothing broken, an event: the
sign of life that people are sent each night.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefect import flow, get_run_logger

from flows.announcing import announce_sound
from flows.artifacts import leave_page, leave_table, shown
from flows.errors import RemoteError
from flows.growth import Grown, aliases_of, leftovers, versions_of
from flows.outcome import settled, tell
from flows.reach import lacking
from flows.settings import Settings
from flows.telling import redacted
from petmodels import Alias, Pruned, Registry, Verified
from petmodels.errors import ChecksumError, NotFoundError
from petmodels.terminal import counted, size_text
from petmodels.verify import MENDED_BY
from petmodels.versions import models_in

MOST_ROWS = 200


@dataclass(frozen=True)
class Audit:
    """What an audit found of one model; `leftovers` is None when a prune would refuse."""

    model: str
    verified: Verified
    versions: Sequence[Grown]
    aliases: Sequence[Alias]
    leftovers: Pruned | None


@flow(name="audit", flow_run_name="audit")
@settled
def audit(model: str | None = None) -> str:
    """Verify one model or all of them; ends as failed, with the first finding, when something is broken.

    So it does when the next retrain or ingest wouldn't find git's remote, the DVC remote or the signing key.
    """
    settings = Settings.from_environment()
    registry = Registry(settings.registry)
    audits = []
    for name in [model] if model else _models(registry):
        tell(f"reading every byte of {name}")
        audits.append(audited(registry, name))
    lacks = lacking(settings) if has_versions(audits) else []
    sentence = summary(audits, registry.storage.address) + _next(lacks)
    leave_page(page(audits, sentence), "audit", sentence)
    leave_table(rows(audits), "versions", f"The newest {MOST_ROWS} versions of each model")
    for finding in findings(audits):
        get_run_logger().error(redacted(finding))
    if findings(audits):
        raise ChecksumError(sentence)
    if lacks:
        raise RemoteError(sentence)
    if not has_versions(audits):
        get_run_logger().warning(sentence)
    elif not model:
        announce_sound(sentence)
    return sentence


def _next(lacks: Sequence[str]) -> str:
    return f"; but the next retrain or ingest lacks what it needs: {'; '.join(lacks)}" if lacks else ""


def _models(registry: Registry) -> list[str]:
    """Return the models' names; none before anything was published, which is no error of a new installation's."""
    try:
        return registry.models_seen()
    except NotFoundError:
        return models_in(registry.storage)  # raises it again where there is no bucket


def audited(registry: Registry, model: str) -> Audit:
    """Return what there is to say about a model; raises NotFoundError when there is none of that name."""
    verified = registry.verify_all(model)
    versions, aliases = versions_of(registry, model), aliases_of(registry, model)
    return Audit(model, verified, versions, aliases, leftovers(registry, model))


def findings(audits: Sequence[Audit]) -> list[str]:
    """Return what is broken, a line each."""
    return [finding for one in audits for finding in one.verified.findings]


def has_versions(audits: Sequence[Audit]) -> bool:
    """Say whether there is a version, withdrawn ones included: an emptied registry has nothing that could be broken."""
    return any(one.versions for one in audits)


def summary(audits: Sequence[Audit], address: str) -> str:
    """Return the audit in one sentence."""
    if broken := findings(audits):
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        return f"broken, do not use: {broken[0]}{more}{_mend(broken[0])}"
    if not has_versions(audits):
        return f"holds no version; publish the first one, or find out who emptied it: {address}"
    num_versions = sum(one.verified.num_versions for one in audits)
    size = size_text(sum(one.verified.size_bytes for one in audits))
    return f"nothing is broken: {counted(num_versions, 'version')}, {size}, in {address}"


def _mend(finding: str) -> str:
    """Return how a version's files come back; no repair mends an alias, which begins with a letter."""
    return f"; {MENDED_BY}" if finding.partition("@")[2][:1].isdigit() else ""


def rows(audits: Sequence[Audit]) -> list[dict[str, Any]]:
    """Return the table of versions, the newest of each model first."""
    return [
        {
            "version": f"{one.model}@{grown.version}",
            "created": grown.created,
            "aliases": ", ".join(grown.aliases),
            "size": "withdrawn" if grown.withdrawn else _size(grown.size_bytes),
            "added": "withdrawn" if grown.withdrawn else _size(grown.added_bytes),
        }
        for one in audits
        for grown in one.versions[:MOST_ROWS]
    ]


def page(audits: Sequence[Audit], sentence: str) -> str:
    """Return the audit as Markdown: a section for each model."""
    return "\n\n".join([f"**{shown(sentence)}**", *(_section(one) for one in audits)]) + "\n"


def _section(one: Audit) -> str:
    facts = [_growth(one), _leftovers(one.leftovers), *_withdrawn(one)]
    aliases = ["| alias | version | since | why |", "|---|---|---|---|"]
    aliases += [_row(alias) for alias in one.aliases]
    none = f"No {'sound ' if one.verified.findings else ''}alias names a version."
    broken = [f"- {shown(finding)}" for finding in one.verified.findings]
    parts = [f"## {shown(one.model)}", *facts, "\n".join(aliases) if one.aliases else none]
    return "\n\n".join([*parts, "### Broken", "\n".join(broken)] if broken else parts)


def _row(alias: Alias) -> str:
    last = alias.steps[-1]
    return f"| {shown(alias.name)} | {alias.version} | {shown(last.at)} | {shown(last.note)} |"


def _growth(one: Audit) -> str:
    if not one.versions and one.verified.findings:
        return "No version is there any more."
    if not one.versions:
        return "No version was published yet: whoever began the first one was killed, or is at it."
    added = [grown.added_bytes or 0 for grown in one.versions if not grown.withdrawn]
    if not added:
        return "Every version was withdrawn."
    return (
        f"{counted(one.verified.num_versions, 'version')}, {size_text(one.verified.size_bytes)} together; "
        f"the newest added {size_text(added[0])}, a version adds {size_text(sum(added) // len(added))} on average."
    )


def _withdrawn(one: Audit) -> list[str]:
    """Return a line for each version that was withdrawn, which is nothing broken."""
    told = [f"{one.model}@{grown.version} was {grown.withdrawn}" for grown in one.versions if grown.withdrawn]
    return ["\n".join(f"- {shown(line)}" for line in told)] if told else []


def _leftovers(found: Pruned | None) -> str:
    if found is None:
        return "A prune would refuse and free nothing, because a manifest is broken or all is gone."
    if not found.num_blobs and not found.num_uploads:
        return "A prune that keeps every version would free nothing."
    blobs, uploads = counted(found.num_blobs, "file"), counted(found.num_uploads, "unfinished upload")
    left = f"{blobs}, {size_text(found.size_bytes)}, and {uploads}"
    return f"A prune that keeps every version would free what killed writers left: {left}."


def _size(num_bytes: int | None) -> str:
    return "broken" if num_bytes is None else size_text(num_bytes)
