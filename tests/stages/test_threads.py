"""Threads that wait for the network leave nothing behind when nobody waits for them any more."""

import threading

from stages.threads import NUM_WAITING, Room, in_waiting_threads


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


def test_who_waits_for_room_is_not_overtaken_by_those_who_ask_later() -> None:
    room, order, waits = Room(2), list[str](), threading.Event()

    def hold(amount: int, name: str) -> None:
        with room.holding(amount):
            order.append(name)

    with room.holding(1):
        whole = threading.Thread(target=hold, args=(2, "the whole"))
        whole.start()
        waits.wait(0.2)  # there is nothing to see of a thread that waits
        small = threading.Thread(target=hold, args=(1, "a little, asked for later"))
        small.start()
        small.join(0.2)
    for thread in (whole, small):
        thread.join(10)

    assert order == ["the whole", "a little, asked for later"]
