"""An event loop in a thread of its own, for tests that block."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Self

START_S = 60.0
END_S = 60.0


class LoopThread(ABC):
    """Something asynchronous that lives in an event loop of its own thread; used with `with`.

    A subclass says what lives there, as an asynchronous context. `with` goes on when the context
    has been entered, and leaves it in the end. What is raised by either is raised in the test's
    thread.
    """

    def __init__(
        self,
        new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    ) -> None:
        self._new_event_loop = new_event_loop
        self._loop: asyncio.AbstractEventLoop
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._main, daemon=True)

    @abstractmethod
    def lives(self) -> AbstractAsyncContextManager[object]:
        """Return what is entered in the loop at the start, and left at the end."""

    def call[T](self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine in the loop, and return what it returns."""

        async def wrapped() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(wrapped(), self._loop).result(START_S)

    def _main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=self._new_event_loop) as runner:
                runner.run(self._live())
        except BaseException as error:  # noqa: BLE001 - raised in the test's thread
            self._error = error
        finally:
            self._ready.set()

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with self.lives():
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(START_S), f"{type(self).__name__} did not start"
        self._raise_error()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(END_S)
        assert not self._thread.is_alive(), f"{type(self).__name__} did not end"
        self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error
