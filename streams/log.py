"""How the workers log: one line an event, for people or as JSON. Never a caller, a number or content.

Faust and aiokafka report each retry of theirs, with tracebacks; our own lines say what of it matters, so theirs (and
Faust's under the name of its subclasses in `chunks`) only pass from CRITICAL on. With PHONON_LOG_LEVEL=debug all pass,
except for what goes over each connection: records, and a password where the mechanism is PLAIN.
"""

from typing import Any, Final

NOISY: Final = ("faust", "mode", "aiokafka", "kafka", "asyncio", "streams.chunks")
TELLING: Final = ("aiokafka.conn",)


def reason(error: BaseException) -> str:
    """What went wrong, its kind first; aiokafka's errors say theirs themselves."""
    if isinstance(error, TimeoutError):
        return "no answer from Kafka in time"
    kind, text = type(error).__name__, str(error)
    return text if text.startswith(kind) else f"{kind} {text}".strip()


def config(level: str, style: str) -> dict[str, Any]:
    """For logging.config.dictConfig."""
    formats = {
        "console": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"},
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
            "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
        },
    }
    quiet = level.upper() if level == "debug" else "CRITICAL"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formats[style]},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
        "loggers": {name: {"level": quiet} for name in NOISY} | {name: {"level": "CRITICAL"} for name in TELLING},
        "root": {"level": level.upper(), "handlers": ["stderr"]},
    }
