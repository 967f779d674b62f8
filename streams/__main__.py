"""`python -m streams`: one metrics worker in the foreground, until SIGTERM or Ctrl-C."""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while the rest is imported: Ctrl-C ends it at once, without a word

import asyncio
import gc
import logging.config
import warnings
from typing import Final

import faust

from streams import log
from streams.app import make_app
from streams.given import read_or_exit

#: The state is a million objects without a cycle; looking for cycles took a twelfth of a worker's CPU.
GARBAGE: Final = (1_000_000, 20, 100)


def main() -> None:
    """Read the settings, run the worker."""
    settings, rules, file = read_or_exit()
    logging_config = log.config(settings.log_level, settings.log_format)
    logging.config.dictConfig(logging_config)
    try:
        import uvloop
    except ImportError:
        pass
    else:
        with warnings.catch_warnings():  # 3.14 deprecates policies, but Faust's threads make their loops with one
            warnings.simplefilter("ignore", DeprecationWarning)
            asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    app = make_app(settings, rules, file)
    worker = faust.Worker(
        app, quiet=True, loglevel=settings.log_level, logging_config=logging_config, redirect_stdouts=False
    )
    worker.spinner = None
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()
