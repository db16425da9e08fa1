"""Keeping the network libraries from saying what travels through them.

At DEBUG, websockets logs headers and bodies, httpx every URL and httpcore every header;
credentials would be among them. No level and no logging configuration brings these loggers back.
"""

from __future__ import annotations

import logging

_SPOKEN_BY_LIBRARIES = (
    "websockets",
    "websockets.client",
    "websockets.protocol",
    "httpx",
    "httpx2",
    "httpcore2",
    "httpcore2.connection",
    "httpcore2.http11",
    "httpcore2.http2",
    "httpcore2.proxy",
    "httpcore2.socks",
    "aiohttp.client",
    "aiohttp.internal",
    "aiohttp.websocket",
)


def silent_logger() -> logging.Logger:
    """A logger that says nothing, and that no logging configuration can reach."""
    logger = logging.Logger("silent", level=logging.CRITICAL + 1)  # noqa: LOG001 - out of every configuration's reach
    logger.addFilter(_nothing)
    logger.disabled = True
    return logger


def silence_libraries() -> None:
    """Mute the loggers of websockets, httpx, httpcore and aiohttp's client; repeatable.

    A filter stays where a later `dictConfig` or `setLevel` changes levels and handlers.
    """
    for name in _SPOKEN_BY_LIBRARIES:
        logging.getLogger(name).addFilter(_nothing)


def _nothing(_: logging.LogRecord) -> bool:
    return False
