"""Runs the cases of a Python suite, a few at a time, and prints one line for each:
`ok NAME`, `not ok NAME: reason` or `skip NAME: reason`; lines with `#` are for people."""

import asyncio
import inspect
import json
import os
import queue
import re
import sys
import threading
import time
import traceback
from pathlib import Path

CASE_TIMEOUT_S = 30
CLEANUP_TIMEOUT_S = 8
POLL_S = 0.01

BOOTSTRAP = os.environ.get("BOOTSTRAP") or "127.0.0.1:9092"
RUN_ID = os.environ.get("RUN_ID") or f"run{time.time_ns() // 1_000_000:x}"
PHASE = os.environ.get("PHASE") or "all"
# Set to `kafka` when the suite itself is checked against Apache Kafka.
ON_KAFKA = os.environ.get("ORACLE") == "kafka"
VERBOSE = bool(os.environ.get("VERBOSE"))
JOBS = int(os.environ.get("JOBS") or 6)

_partitions = json.loads((Path(__file__).parent / "partitions.json").read_text("utf-8"))
PARTITION_COUNT = _partitions["partitionCount"]
PARTITION_OF_KEY = _partitions["partitionOfKey"]

_cases = []
_print_lock = threading.Lock()


def say(line):
    with _print_lock:
        print(line, flush=True)


class Skip(Exception):
    """Ends a case that cannot be asked of this broker or client."""


class GaveUp(Exception):
    """A condition did not come true in time."""


class Context:
    """What a case gets: names of its own, and ways to wait and to clean up."""

    def __init__(self, name):
        self.name = name
        self.waiting_for = name
        self._deadline = time.monotonic() + CASE_TIMEOUT_S
        self._cleanups = []
        self._tick = threading.Event()

    def topic(self, label=""):
        return f"{RUN_ID}-{self.name}" + (f"-{label}" if label else "")

    def group(self, label=""):
        return self.topic(label) + "-group"

    def defer(self, cleanup):
        self._cleanups.append(cleanup)

    def note(self, text):
        say(f"# {self.name}: {text}")

    def skip(self, reason):
        raise Skip(reason)

    def late(self):
        return time.monotonic() > self._deadline

    def until(self, what, check):
        """Returns the first truthy answer of `check`."""
        self.waiting_for = what
        while True:
            answer = check()
            if answer:
                return answer
            if self.late():
                raise GaveUp(f"{what} not within {CASE_TIMEOUT_S} s")
            self._tick.wait(POLL_S)

    async def until_async(self, what, check):
        """As `until`; `check` may be a coroutine function."""
        self.waiting_for = what
        while True:
            answer = check()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return answer
            if self.late():
                raise GaveUp(f"{what} not within {CASE_TIMEOUT_S} s")
            await asyncio.sleep(POLL_S)

    def holds(self, what, check):
        """True at once; on Apache Kafka, which answers before all of it is seen, in the end."""
        if ON_KAFKA:
            self.until(what, check)
        else:
            assert check(), what

    def clean(self):
        for cleanup in reversed(self._cleanups):
            try:
                cleanup()
            except Exception:  # The case's own outcome is what counts.
                if VERBOSE:
                    traceback.print_exc(file=sys.stdout)

    async def clean_async(self):
        for cleanup in reversed(self._cleanups):
            try:
                await asyncio.wait_for(cleanup(), CLEANUP_TIMEOUT_S)
            except Exception:
                if VERBOSE:
                    traceback.print_exc(file=sys.stdout)


def case(function=None, *, name=None, phase="all"):
    """Registers a case; its name is the function's, with dashes."""

    def register(run):
        _cases.append((name or run.__name__.replace("_", "-"), phase, run))
        return run

    return register(function) if function else register


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what + ': ' if what else ''}got {got!r}, want {want!r}")


def raises(kinds, call, check=lambda error: True):
    """Calls and returns the error, which must be one of `kinds` and please `check`."""
    try:
        call()
    except kinds as error:
        assert check(error), f"another error: {error!r}"
        return error
    raise AssertionError("no error was raised")


def _reason(error):
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/clients/" in f.filename and not f.filename.endswith("harness.py")]
    where = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    text = str(error) or type(error).__name__
    if not isinstance(error, (AssertionError, GaveUp)):
        text = f"{type(error).__name__}: {text}"
    return re.sub(r"\s+", " ", text)[:400] + where


async def _run_async(run, context, outcome):
    try:
        await asyncio.wait_for(run(context), CASE_TIMEOUT_S)
        outcome.put(None)
    except TimeoutError:
        outcome.put(GaveUp(f"{context.waiting_for} not within {CASE_TIMEOUT_S} s"))
    except BaseException as error:
        outcome.put(error)
    finally:
        await context.clean_async()


def _run_sync(run, context, outcome):
    try:
        run(context)
        outcome.put(None)
    except BaseException as error:
        outcome.put(error)
    finally:
        context.clean()


def _start(run, context, outcome):
    if inspect.iscoroutinefunction(run):
        return lambda: asyncio.run(_run_async(run, context, outcome))
    return lambda: _run_sync(run, context, outcome)


def _run_case(name, run, threads):
    context, outcome, began = Context(name), queue.Queue(), time.monotonic()
    thread = threading.Thread(target=_start(run, context, outcome), daemon=True, name=name)
    threads.append(thread)
    thread.start()
    try:
        error = outcome.get(timeout=CASE_TIMEOUT_S + 2)
    except queue.Empty:
        error = GaveUp(f"{context.waiting_for} not within {CASE_TIMEOUT_S} s")
    if VERBOSE:
        say(f"# {name}: {(time.monotonic() - began) * 1000:.0f} ms")
    if error is None:
        say(f"ok {name}")
        return True
    if isinstance(error, Skip):
        say(f"skip {name}: {error}")
        return True
    say(f"not ok {name}: {_reason(error)}")
    if VERBOSE:
        say("".join(traceback.format_exception(error)))
    return False


def _worker(due, threads, failed):
    while True:
        try:
            name, run = due.get_nowait()
        except queue.Empty:
            return
        if not _run_case(name, run, threads):
            failed.append(name)


def main(finish, prefix=""):
    """Runs the cases of the phase, then `finish` (which removes what the run made), then exits.
    `prefix` stands before every name, where a suite has variants."""
    due, threads, failed = queue.Queue(), [], []
    for bare, phase, run in _cases:
        name = prefix + bare
        if phase == PHASE and (not sys.argv[1:] or any(part in name for part in sys.argv[1:])):
            due.put((name, run))
    # The halves of the restart test build on each other and run in order.
    count = JOBS if PHASE == "all" else 1
    workers = [threading.Thread(target=_worker, args=(due, threads, failed)) for _ in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    last = time.monotonic() + CLEANUP_TIMEOUT_S
    for thread in threads:
        thread.join(max(0, last - time.monotonic()))
    if PHASE != "before":
        finisher = threading.Thread(target=_finish, args=(finish,), daemon=True)
        finisher.start()
        finisher.join(CLEANUP_TIMEOUT_S)
    sys.stdout.flush()
    os._exit(1 if failed else 0)  # Threads of a client that hangs must not keep the suite.


def _finish(finish):
    try:
        finish()
    except Exception as error:
        say(f"# removal of topics: {_reason(error)}")
