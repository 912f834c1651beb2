"""What can stop a stage, split by who can act.

StageError                  one line on stderr, exit status 1, never a traceback
├── ParamsError             change params.yaml
├── SourceError             the source, as named, can't be used
│   ├── UnreachableError    try again later, or from somewhere else
│   ├── ChecksumError       these are not the bytes that were asked for
│   └── ArchiveError        the archive is broken or unsafe
├── DataError               the images, labels or files need a person's decision
└── ResourceError           this machine lacks memory, threads or disk space
"""

import unicodedata

NO_THREADS = (
    "this machine lets the process start no more threads or processes; raise its limit (--pids-limit, TasksMax=, "
    "ulimit -u), or let it use fewer cores by LOKY_MAX_CPU_COUNT"
)


class StageError(Exception):
    """A failure the user can mend; its text is one line that names the culprit and the fix."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))


class ParamsError(StageError):
    """A value in params.yaml is unknown, missing, of the wrong type or impossible."""


class SourceError(StageError):
    """A source, as named in params.yaml or arrivals.csv, can't be used."""


class UnreachableError(SourceError):
    """A source did not answer, or not to the end, after all retries."""


class ChecksumError(SourceError):
    """A file's bytes differ from what its checksum or its own header promises."""


class ArchiveError(SourceError):
    """An archive is truncated, of an unknown kind, or would write where it must not."""


class DataError(StageError):
    """Images, labels or files are not what the stage needs."""


class ResourceError(StageError):
    """Memory, threads or disk space ran out."""


def printable(text: str) -> str:
    """Return a message with `\\n`, `\\x1b` or `\\u202e` in the place of what would not be seen as itself.

    Names of files and cells of a CSV file come from outside: as they are they could write lines of their own into the
    log, or tell the terminal what to do.
    """
    if text.isprintable():
        return text
    return "".join(one.encode("unicode_escape").decode() if _steers(one) else one for one in text)


def _steers(character: str) -> bool:
    """Say whether a character is no letter's companion, as the joiners of scripts and emoji are, but acts by itself."""
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and character not in "\u00ad\u200c\u200d"


def is_lack_of_memory(error: BaseException) -> bool:
    """Say whether this is how Python, numpy, torch (also of a GPU) or ONNX Runtime say that memory ran out."""
    text = str(error).lower()
    told = (
        "out of memory",
        "can't allocate memory",
        "failed to allocate memory",
        "bad_alloc",
        "alloc_failed",  # of cuBLAS and cuDNN
    )
    return isinstance(error, MemoryError) or ("shared memory" not in text and any(words in text for words in told))


def is_lack_of_threads(error: BaseException) -> bool:
    """Say whether this is how Python, torch or a fork say that no more threads or processes may be started."""
    text = str(error).lower()
    return any(words in text for words in ("can't start new thread", "resource temporarily unavailable"))
