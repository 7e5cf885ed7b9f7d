"""A process that answers through a pipe of its own: nothing is shared that a killed one could leave locked."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from marlrobust.errors import UserError

DONE, FAILED = "done", "failed"
"""Kinds of messages: an answer, and an error to be raised where it was asked for."""

Tell = Callable[[str, Any], None]
"""Sends a message, of a kind of the worker's own, before its answer."""

Answer = Callable[[Any, Tell], Any]


class Worker:
    """A process that answers what it is sent, one message after the other, until it is ended."""

    def __init__(self, start: Callable[[], Answer], died: str, *, daemon: bool = True) -> None:
        """start: called there, gives what answers; died: the sentence for a process that is gone; daemon: whether it
        ends with this process in any case. One that is none may have processes of its own."""
        context = multiprocessing.get_context("spawn")  # a fork would copy torch's and the engine's threads half
        self.died = died
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, start), daemon=daemon)
        with _undisturbed():
            self.process.start()
        theirs.close()

    def send(self, content: Any) -> None:
        """Raises UserError where the process is gone."""
        try:
            self.pipe.send(content)
        except (BrokenPipeError, ConnectionError):
            raise UserError(self.died) from None

    def receive(self) -> tuple[str, Any]:
        """The next message, its kind first. Raises what the worker raised, and UserError where it is gone."""
        try:
            kind, content = self.pipe.recv()
        except (EOFError, OSError):
            raise UserError(self.died) from None
        if kind == FAILED:
            raise content
        return kind, content

    def end(self) -> None:
        """Whatever it is doing."""
        self.pipe.close()
        self.process.kill()
        self.process.join()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals that end a program wait until this is over; a process that is started in it never gets them.

    A terminal sends Ctrl-C to every process: it is the parent that says when a worker ends.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, start: Callable[[], Answer]) -> None:
    """In a worker: answer what comes; end with the parent, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def tell(kind: str, content: Any) -> None:
        try:
            pipe.send((kind, content))
        except OSError:
            os._exit(1)  # the parent has closed the pipe

    answer: Answer | None = None
    while True:
        try:
            asked = pipe.recv()
        except (EOFError, OSError):
            return  # the parent has closed the pipe
        try:
            answer = answer or start()
            found = answer(asked, tell)
        except UserError as error:
            tell(FAILED, error)
        except MemoryError:
            tell(FAILED, UserError("there is not enough memory: use fewer processes, or fewer --rounds"))
        except Exception:
            tell(FAILED, RuntimeError(f"in a worker process:\n{traceback.format_exc()}"))
        else:
            tell(DONE, found)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
