from worker.core.model.wire import Credentials
from worker.core.redaction import LONGEST, redactor

CREDENTIALS = Credentials("secret%3Dkey", "to+ken/one", "someone@example.org")


def test_credentials_leave_a_text_in_every_spelling():
    redact = redactor(CREDENTIALS)
    said = redact("secret%3Dkey secret=key to+ken/one to%2Bken%2Fone someone@example.org stays")
    assert said == "[redacted] [redacted] [redacted] [redacted] [redacted] stays"


def test_words_are_bounded():
    assert len(redactor(CREDENTIALS)("x" * 10_000)) == LONGEST


def test_empty_credentials_redact_nothing():
    assert redactor(Credentials("", "", ""))("abc") == "abc"
