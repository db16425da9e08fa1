"""Starts Celery and, when told so, with a death or a wrong clock built in.

The package itself knows nothing about this: methods are replaced from outside, before anything
else has read them. `LAUNCH` holds the wishes as JSON: `die` (a key of `DEATHS`), `clock` (seconds
that the clock jumps by, again and again, back and forth).
"""

import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # a signal to oneself may take a moment; nothing may happen in it


def _after(matters: Callable[[Any, tuple[Any, ...]], bool]) -> Callable[[Any], Any]:
    def wrap(method: Any) -> Any:
        @wraps(method)
        def run(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            if matters(result, args):
                _die()
            return result

        return run

    return wrap


def _before(matters: Callable[[tuple[Any, ...]], bool]) -> Callable[[Any], Any]:
    def wrap(method: Any) -> Any:
        @wraps(method)
        def run(*args: Any, **kwargs: Any) -> Any:
            if matters(args):
                _die()
            return method(*args, **kwargs)

        return run

    return wrap


def _accepts(args: tuple[Any, ...]) -> bool:
    return any(v.upload is not None and v.upload.state == "accepted" for v in args[1])


def _settles(args: tuple[Any, ...]) -> bool:
    return any(v.contents is not None and v.state.is_terminal for v in args[1])


def _sending(args: tuple[Any, ...]) -> set[Any]:
    return {each.upload for each in args[2]} if len(args) > 2 else set()


DEATHS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "after the claim": ("claim", _after(lambda got, a: got.files and a[3] == "submit")),
    "after intent": ("begin_uploads", _after(lambda got, _: bool(got))),
    "after sent": ("record", _after(lambda got, a: bool(got & _sending(a)))),
    "before accepted is recorded": ("record", _before(_accepts)),
    "after accepted is recorded": ("record", _after(lambda _, a: _accepts(a))),
    "after the claim to poll": ("claim", _after(lambda got, a: got.files and a[3] == "poll")),
    "before a result is recorded": ("record", _before(_settles)),
    "after a result is recorded": ("record", _after(lambda _, a: _settles(a))),
}


def _jump(seconds: float) -> None:
    """Let this process's clock jump every second; the monotonic one stays as it is."""
    import datetime as dt

    import celery.app.base
    import celery.worker.request

    real, offsets = time.time, itertools.cycle((0.0, seconds, -seconds))
    offset = [0.0]

    class Datetime(dt.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return dt.datetime.fromtimestamp(time.time(), tz)

    def jump() -> None:
        for offset[0] in offsets:
            time.sleep(1)

    time.time = lambda: real() + offset[0]
    celery.worker.request.datetime = Datetime
    celery.app.base.Celery.now = lambda _: Datetime.now(dt.UTC)
    threading.Thread(target=jump, daemon=True).start()


def main() -> None:
    wishes = json.loads(os.environ.pop("LAUNCH", "{}"))
    if "die" in wishes:
        from worker.adapters.database.store import SqlStore

        name, wrap = DEATHS[wishes["die"]]
        setattr(SqlStore, name, wrap(getattr(SqlStore, name)))
    if "clock" in wishes:
        _jump(wishes["clock"])
    from celery.__main__ import main as celery

    sys.argv[0] = "celery"
    sys.exit(celery())


if __name__ == "__main__":
    main()
