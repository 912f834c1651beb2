"""A folder that a pull has made: what its record, `.petmodels.json`, says of its files, checked before they are used.

Reads the record and what predicting needs; leaves nothing. The record is the manifest as the registry has it, with its
signatures, so that neither the registry nor the cache is asked.
"""

from os.path import lexists
from pathlib import Path

from petmodels.bundle import is_needed
from petmodels.documents import LONGEST_DOCUMENT_BYTES, Statement, load_payload, load_statement
from petmodels.errors import BundleError, ChecksumError, FormatError, SignatureError
from petmodels.forms import is_whole_number
from petmodels.hashing import has_bytes
from petmodels.manifest import File, Manifest, manifest_in
from petmodels.names import LAST_VERSION, is_model
from petmodels.parallel import at_once
from petmodels.paths import PULLED
from petmodels.signing import check_signed, trusted_keys


def checked_files(folder: Path) -> dict[str, Path] | None:
    """Return the files that predicting needs by their path in the bundle, None for a folder without a record.

    Each is read and hashed. Raises ChecksumError for one that is another or gone, SignatureError when no trusted key
    has signed the record, and FormatError when it is broken.
    """
    record = folder / PULLED
    if not lexists(record):
        return None
    try:
        manifest = _manifest(record)
    except SignatureError as error:
        raise SignatureError(f"this pulled folder's record can't be trusted; pull it again: {error}") from error
    except FormatError as error:  # no pull goes over files of which no record says that they are its own
        raise FormatError(f"this pulled folder's record is broken; pull into a new folder: {error}") from error
    needed = [file for file in manifest.files if is_needed(file.path)]
    for path, is_whole in at_once(lambda file: _compared(folder, file), needed):
        if not is_whole:
            ways = f"pull it again, or delete {record} if the change is your own"
            raise ChecksumError(f"this file isn't {manifest.name}'s any more; {ways}: {path}")
    return {file.path: folder / file.path for file in needed}


def _manifest(record: Path) -> Manifest:
    statement = _statement(record)
    check_signed(statement, trusted_keys(), str(record))
    content = load_payload(statement, str(record))
    model, version = content.get("model"), content.get("version")
    if not isinstance(model, str) or not is_model(model) or not is_whole_number(version, 1, LAST_VERSION):
        raise FormatError(f"it names no version of a model: {record}")
    return manifest_in(statement, model, version)


def _statement(record: Path) -> Statement:
    try:
        with record.open("rb") as file:
            data = file.read(LONGEST_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise FormatError(f"it can't be read ({error.strerror}): {record}") from error
    return load_statement(data, str(record))


def _compared(folder: Path, file: File) -> tuple[Path, bool]:
    path = folder / file.path
    try:
        return path, has_bytes(path, file.sha256, file.size_bytes)
    except (FileNotFoundError, NotADirectoryError):
        return path, False
    except OSError as error:
        raise BundleError(f"a file can't be read ({error.strerror}): {path}") from error
