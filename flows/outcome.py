"""Let a flow end the way people read it: one sentence on the run, a traceback for bugs alone."""

from collections.abc import Callable
from functools import wraps
from logging import LogRecord, getLogger
from typing import Any, ParamSpec

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.exceptions import FailedRun
from prefect.states import Completed, Failed

from flows.children import redacted
from flows.errors import FlowError
from petmodels.errors import PetmodelsError

P = ParamSpec("P")


def settled(function: "Callable[P, str]") -> "Callable[P, State[Any]]":
    """Turn a function that returns a sentence into a flow's body: the sentence becomes the state's message.

    A FlowError, PetmodelsError or OSError becomes Failed with its text; any other exception is a bug and stays one, but
    for the environment's secrets in its text.
    """

    @wraps(function)
    def body(*args: P.args, **kwargs: P.kwargs) -> "State[Any]":
        try:
            sentence = redacted(function(*args, **kwargs))
        except (FlowError, PetmodelsError, OSError) as error:
            told = redacted(_told(error))
            get_run_logger().error("%s", told)
            getLogger("prefect.flow_runs").addFilter(_is_no_failed_run)
            return Failed(message=told)
        except Exception as error:
            _redact(error)
            raise
        get_run_logger().info("%s", sentence)
        return Completed(message=sentence)

    return body


def _told(error: Exception) -> str:
    """Return the sentence; of a disk that is full or forbidden, what the system says and where."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename or 'a file of this worker'}"
    return str(error)


def _redact(error: BaseException | None) -> None:
    """Take secrets out of what an exception, and those that led to it, say; Prefect keeps message and traceback."""
    seen: set[int] = set()
    while error and id(error) not in seen:
        seen.add(id(error))
        error.args = tuple(redacted(part) if isinstance(part, str) else part for part in error.args)
        error = error.__cause__ or error.__context__


def _is_no_failed_run(record: LogRecord) -> bool:
    """Keep the engine from logging, with a traceback, that a flow returned Failed: its sentence stands in the log."""
    return not (record.exc_info and isinstance(record.exc_info[1], FailedRun))


def tell(line: str) -> None:
    """Pass a line to the run's log, without the environment's secrets."""
    get_run_logger().info("%s", redacted(line))
