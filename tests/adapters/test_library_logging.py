import logging

import pytest

from worker.adapters.chatflow.library_logging import silence_libraries, silent_logger


@pytest.mark.parametrize(
    "name", ["websockets.client", "httpx2", "httpcore2.http11", "aiohttp.client"]
)
def test_libraries_stay_silent_whatever_is_configured_later(caplog, name):
    silence_libraries()
    silence_libraries()
    caplog.set_level(logging.DEBUG, logger=name)
    logging.getLogger(name).error("a secret")
    assert caplog.text == ""


def test_the_silent_logger_says_nothing_at_any_level(caplog):
    logger = silent_logger()
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.DEBUG)
    logger.critical("a secret")
    assert caplog.text == ""
    assert "silent" not in logging.Logger.manager.loggerDict
