"""Work ahead in a background thread, never further than a given number of items."""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")


@dataclass
class _Failure:
    error: BaseException


class _End:
    pass


class _Producer:
    """Runs a generator in a thread; a semaphore counts the free places, so that waiting costs nothing."""

    def __init__(self, items: Generator, depth: int) -> None:
        self.ready: SimpleQueue = SimpleQueue()
        self.places = threading.Semaphore(depth)
        self._items = items
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="univs-prefetch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the thread finish the item it is working on, then end; returns when it has."""
        self._stopped.set()
        self.places.release()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._produce()
        except BaseException as error:  # handed to the consumer, who raises it where the item was asked for
            self.ready.put(_Failure(error))
        finally:
            self._items.close()

    def _produce(self) -> None:
        self.places.acquire()
        while not self._stopped.is_set():
            item = next(self._items, _End)
            self.ready.put(item)
            if item is _End:
                return
            self.places.acquire()


def in_background(items: Generator[Item, None, None], depth: int) -> Generator[Item, None, None]:
    """Yield the items of a generator that runs in a thread, at most ``depth`` items ahead of the consumer.

    An error of the generator is raised here. Closing what is returned ends the thread.
    """
    producer = _Producer(items, depth)
    try:
        while True:
            item = producer.ready.get()
            if item is _End:
                return
            if isinstance(item, _Failure):
                raise item.error
            producer.places.release()
            yield item
    finally:
        producer.stop()
