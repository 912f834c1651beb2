"""Threads that wait for the network leave nothing behind when nobody waits for them any more."""

import threading

from stages.threads import NUM_WAITING, in_waiting_threads


def test_on_leaving_what_has_not_begun_is_given_up_and_every_thread_ends() -> None:
    begun: list[int] = []
    there, answer = set(threading.enumerate()), threading.Event()

    def wait(number: int) -> int:
        begun.append(number)
        if number:
            answer.wait(20)
        return number

    with in_waiting_threads(wait, range(30)) as answers:
        assert next(answers) == 0
    answer.set()
    for thread in set(threading.enumerate()) - there:
        thread.join(1)

    assert len(begun) <= 1 + NUM_WAITING
    assert set(threading.enumerate()) <= there
