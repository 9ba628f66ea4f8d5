"""Two computations that advance in turn, each up to where it has something for the other."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


class _AbandonedError(BaseException):
    """Ends a computation that nobody waits for; no `except Exception` on its way holds it up."""


def handed_over(run: Callable[[Callable[[T], None]], None]) -> Generator[T, None, None]:
    """Iterate over what a function hands over, one at a time.

    The function runs in a thread of its own, but never beside its consumer: it goes on when the
    next item is asked for, and rests while that is used. What it raises is raised where the next
    item is asked for. Closing the generator ends the function where it hands over the next item.

    Args:
        run: Called with the function that it is to hand its items to.

    Yields:
        The items.

    Example:
        >>> list(handed_over(lambda hand: [hand(1), hand(2)]))
        [1, 2]
    """
    asked: SimpleQueue[bool] = SimpleQueue()
    answers: SimpleQueue[tuple[T] | BaseException | None] = SimpleQueue()
    abandoned = False

    def hand(item: T) -> None:
        answers.put((item,))
        if abandoned or not asked.get():
            raise _AbandonedError

    def work() -> None:
        result: BaseException | None = None
        try:
            if asked.get():
                run(hand)
        except BaseException as error:
            result = error
        answers.put(result)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            asked.put(True)
            answer = answers.get()
            if answer is None:
                return
            if isinstance(answer, BaseException):
                raise answer
            yield answer[0]
            del answer  # nothing but the consumer holds on to an item
    finally:
        abandoned = True
        asked.put(False)
        with suppress(KeyboardInterrupt):
            thread.join()
