"""A model's newest versions as a list: their manifests, the aliases that name them, and what is broken."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from petmodels.aliases import Alias
from petmodels.errors import NotFoundError, TrustError
from petmodels.manifest import Manifest
from petmodels.parallel import at_once
from petmodels.storage import Storage
from petmodels.versions import read_manifest


@dataclass(frozen=True)
class Listed:
    """A version in a listing: its manifest, and the aliases that name it; a broken one has its error instead."""

    version: int
    manifest: Manifest | None
    aliases: tuple[str, ...]
    error: str = ""


def listing(storage: Storage, model: str, versions: Iterable[int], aliases: Sequence[Alias]) -> list[Listed]:
    """Return some versions of a model in the given order, a request each; a broken one hides none of the others."""

    def listed(version: int) -> Listed:
        names = tuple(alias.name for alias in aliases if alias.version == version)
        try:
            return Listed(version, read_manifest(storage, model, version), names)
        except (TrustError, NotFoundError) as error:
            return Listed(version, None, names, str(error))

    return at_once(listed, versions)
