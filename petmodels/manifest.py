"""The manifest: what one version of a model consists of and where it came from.

Everything that a manifest from a stranger can get wrong is refused here, by name, before a byte is written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from petmodels.documents import FORMAT, Statement, dump, load_payload
from petmodels.errors import FormatError
from petmodels.forms import is_id, is_time, is_whole_number
from petmodels.names import LAST_VERSION, is_blob, is_sha256
from petmodels.paths import check_paths

MOST_FILES = 10_000
LARGEST_FILE_BYTES = 2**40
_KEYS = {
    "format", "model", "version", "id", "created", "parent", "message", "git_commit", "dvc_lock", "params", "card",
    "metrics", "files",
}  # fmt: skip
_TEXTS = ("id", "created", "message", "git_commit", "dvc_lock", "params")


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a version: its path in the bundle, size, hash, media type, and the blob that holds its bytes."""

    path: str
    size_bytes: int
    sha256: str
    media_type: str
    blob: str

    def to_json(self) -> dict[str, Any]:
        """Return the file as the manifest spells it."""
        return {
            "path": self.path,
            "size": self.size_bytes,
            "sha256": self.sha256,
            "media_type": self.media_type,
            "blob": self.blob,
        }


@dataclass(frozen=True, kw_only=True)
class Parent:
    """The version that was the newest when this one was published: its number and its payload's SHA-256."""

    version: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One published version of a model; never changes.

    `created` is UTC by the publisher's clock (ISO 8601). `card` and `metrics` are the bundle's card.json and
    metrics.json; `params` and `dvc_lock` are texts as given, "" when there were none, and so is `git_commit`.
    """

    model: str
    version: int
    id: str
    created: str
    parent: Parent | None
    message: str
    git_commit: str
    dvc_lock: str
    params: str
    card: Mapping[str, Any]
    metrics: Mapping[str, Any]
    files: tuple[File, ...]

    @property
    def name(self) -> str:
        """What people call it: `pets@7`."""
        return f"{self.model}@{self.version}"

    @property
    def size_bytes(self) -> int:
        """The size of all files together."""
        return sum(file.size_bytes for file in self.files)

    def content(self) -> dict[str, Any]:
        """Return what was published, without its number, time and parent: equal for equal bundles."""
        kept = {"message", "git_commit", "dvc_lock", "params", "card", "metrics"}
        files = [(file.path, file.sha256, file.size_bytes) for file in self.files]
        return {**{key: value for key, value in vars(self).items() if key in kept}, "files": sorted(files)}

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as a plain JSON object, in the order in which people read it."""
        parent = {"version": self.parent.version, "sha256": self.parent.sha256} if self.parent else None
        head = {"format": FORMAT, "model": self.model, "version": self.version, "id": self.id, "created": self.created}
        origin = {"parent": parent, "message": self.message, "git_commit": self.git_commit, "dvc_lock": self.dvc_lock}
        facts = {"params": self.params, "card": dict(self.card), "metrics": dict(self.metrics)}
        return {**head, **origin, **facts, "files": [file.to_json() for file in self.files]}

    def to_payload(self) -> str:
        """Return the text that is hashed, signed and stored."""
        return dump(self.to_json())


def manifest_in(statement: Statement, model: str, version: int) -> Manifest:
    """Return the manifest of `model` number `version`, or raise FormatError when the statement holds anything else."""
    where = f"the manifest of {model}@{version}"
    content = load_payload(statement, where)
    if set(content) != _KEYS:
        odd = sorted(set(content) ^ _KEYS)
        raise FormatError(f"{where} lacks or adds keys: {', '.join(odd)[:200]}")
    if (content["model"], content["version"]) != (model, version) or type(content["version"]) is not int:
        raise FormatError(f"{where} is another version's: {str(content['model'])[:64]}@{str(content['version'])[:20]}")
    if not all(isinstance(content[key], str) for key in _TEXTS):
        raise FormatError(f"{where} holds something else than text in one of: {', '.join(_TEXTS)}")
    if not is_id(content["id"]):
        raise FormatError(f"{where} has an id that is not 32 hexadecimal digits: {content['id'][:40]!r}")
    if not is_time(content["created"]):
        raise FormatError(f"{where} holds a time that can't be: {content['created'][:40]!r}")
    if not isinstance(content["card"], dict) or not isinstance(content["metrics"], dict):
        raise FormatError(f"{where} holds a card or metrics that are no JSON object")
    plain = {key: content[key] for key in (*_TEXTS, "card", "metrics")}
    files = files_in(content["files"], where)
    return Manifest(model=model, version=version, parent=parent_in(content["parent"], where), files=files, **plain)


def parent_in(content: object, where: str) -> Parent | None:
    """Return the parent that a version names, or raise FormatError for one that can't be."""
    if content is None:
        return None
    if not isinstance(content, dict) or set(content) != {"version", "sha256"}:
        raise FormatError(f"{where} names its parent in an unknown way")
    if not is_whole_number(content["version"], 1, LAST_VERSION) or not is_sha256(content["sha256"]):
        raise FormatError(f"{where} names a parent that can't be")
    return Parent(version=content["version"], sha256=content["sha256"])


def files_in(content: object, where: str) -> tuple[File, ...]:
    """Return the files that a manifest lists, or raise FormatError for any that can't be."""
    if not isinstance(content, list) or not content:
        raise FormatError(f"{where} lists no files")
    if len(content) > MOST_FILES:
        raise FormatError(f"{where} lists more than {MOST_FILES} files: {len(content)}")
    files = tuple(_file(one, where) for one in content)
    check_paths((file.path for file in files), where)
    sizes: dict[str, int] = {}
    for file in files:
        if sizes.setdefault(file.sha256, file.size_bytes) != file.size_bytes:
            raise FormatError(f"{where} gives one SHA-256 two sizes: {file.path[:200]!r}")
    return files


def _file(content: object, where: str) -> File:
    if not isinstance(content, dict) or set(content) != {"path", "size", "sha256", "media_type", "blob"}:
        raise FormatError(f"{where} describes a file in an unknown way")
    path, size = content["path"], content["size"]
    if not isinstance(path, str) or not isinstance(content["media_type"], str):
        raise FormatError(f"{where} describes a file in an unknown way")
    if not is_whole_number(size, 0, LARGEST_FILE_BYTES):
        raise FormatError(f"{where} claims an impossible size of {path[:200]!r}: {str(size)[:40]}")
    if not is_sha256(content["sha256"]) or not is_blob(content["blob"], content["sha256"]):
        raise FormatError(f"{where} names no SHA-256, or a blob of another one, for {path[:200]!r}")
    return File(path=path, size_bytes=size, sha256=content["sha256"], media_type=content["media_type"],
                blob=content["blob"])  # fmt: skip
