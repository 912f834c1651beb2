"""Let a flow end the way people read it: a sentence on the run, a traceback for bugs alone, and no secret in either."""

import gc
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from logging import LogRecord, getLogger
from typing import Any, ParamSpec

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import FailedRun
from prefect.states import Completed, Failed

from flows.errors import FlowError
from flows.project import check_run
from flows.telling import redacted
from petmodels.errors import PetmodelsError

P = ParamSpec("P")
_EXPECTED = (FlowError, PetmodelsError, OSError)


def settled(function: "Callable[P, str]") -> "Callable[P, State[Any]]":
    """Turn a function that returns a sentence into a flow's body: the sentence becomes the state's message.

    A FlowError, PetmodelsError or OSError becomes Failed with its text; any other exception is a bug and stays one.
    So becomes, before anything is done, a run on a worker of another project than the server's.
    A run that was Crashed before it began, as one whose pod has waited for its machine for too long, stays so: Prefect
    would let it run beside the one that has taken its place by then.
    """

    @wraps(function)
    def body(*args: P.args, **kwargs: P.kwargs) -> "State[Any]":
        if not gc.get_freeze_count():
            gc.freeze()  # what is loaded by now stays; to search it for garbage, most at the end, takes half a second
        if over := _over_before():
            return over
        try:
            with without_secrets():
                check_run()
                sentence = redacted(function(*args, **kwargs))
        except _EXPECTED as error:
            told = redacted(_told(error))
            get_run_logger().error(told)
            getLogger("prefect.flow_runs").addFilter(_is_no_failed_run)
            return Failed(message=told)
        get_run_logger().info(sentence)
        return Completed(message=sentence)

    return body


def _over_before() -> "State[Any] | None":
    """Return the final state that this run was in when it began, None for the usual ones: Pending, AwaitingRetry."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return None
    with get_client(sync_client=True) as client:
        states = client.read_flow_run_states(context.flow_run.id)
    before = next((state for state in reversed(states) if not state.is_running()), None)
    if before is None or not before.is_final():
        return None
    told = f"{before.message or before.name}; it has begun after that, and done nothing: run it again"
    get_run_logger().warning(told)
    return State(type=before.type, name=before.name, message=told)


def _told(error: BaseException) -> str:
    """Return the sentence; of a disk that is full or forbidden, what the system says and where."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename or 'a file of this worker'}"
    return str(error)


@contextmanager
def without_secrets() -> Iterator[None]:
    """Let no exception out whose traceback, as Prefect logs and keeps it, holds one of the environment's secrets.

    It stands around the body of every flow and task. An expected error stays one with its sentence; a bug becomes a
    RuntimeError with all of its own traceback in its text.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, _EXPECTED):
            getLogger("prefect.task_runs").addFilter(_is_no_expected_error)
        text = "".join(traceback.format_exception(error))
        if (clean := redacted(text)) == text:
            raise
        if isinstance(error, _EXPECTED):
            raise FlowError(redacted(_told(error))) from None
        raise RuntimeError(f"{type(error).__name__}, told without a secret:\n{clean}") from None


def _is_no_failed_run(record: LogRecord) -> bool:
    """Keep the engine from logging, with a traceback, that a flow returned Failed: its sentence stands in the log."""
    return not (record.exc_info and isinstance(record.exc_info[1], FailedRun))


def _is_no_expected_error(record: LogRecord) -> bool:
    """Keep a task's engine from logging an expected error with its traceback: the flow tells its sentence."""
    return not (record.exc_info and isinstance(record.exc_info[1], _EXPECTED))


def tell(line: str) -> None:
    """Pass a line to the run's log, without the environment's secrets."""
    get_run_logger().info(redacted(line))  # as the message itself: of "%s" and a line a log of JSON keeps "%s"
