"""What the service's answer to an upload or a status call means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

from worker.adapters.chatflow.http_reply import BUSY, Answer
from worker.adapters.chatflow.redirects import REDIRECTS, redirected
from worker.codes import of_http_status
from worker.core.contents import clean_text
from worker.core.loose_json import MalformedReply
from worker.core.messages import (
    Envelope,
    EnvelopeError,
    parse_status_reply,
    parse_upload_reply,
    refuses_credentials,
)
from worker.core.model.wire import StatusReply, UploadReply
from worker.core.reply_words import error_words, http_words
from worker.errors import ServiceBusy, ServiceFault, UploadRefused, UploadUnknown

_UNAUTHORIZED = frozenset({401, 403})
_OF_THE_MOMENT = _UNAUTHORIZED | {408, 425}
"""HTTP refusals that another attempt may not meet; any other is for good."""


class Judge:
    """Reads answers of one service.

    A refusal that speaks of credentials is the call's own error here and only says so
    (`blames_credentials`): a firewall answers 403 too, and a file may exceed a "token limit".

    Args:
        redact: takes credentials out of the service's words before they enter an error.
    """

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact

    def upload(self, answer: Answer, asked: str) -> UploadReply:
        """Judge the answer to an upload to the address `asked`; raises as `Uploads` does."""
        self._judge_status_line(answer, asked)
        if answer.status >= 500 or answer.status < 200:
            raise UploadUnknown(f"the upload was answered with {self._http(answer)}")
        if answer.status >= 300:
            self._refuse(answer)
        try:
            envelope = answer.envelope()
            if isinstance(envelope, Envelope):
                return parse_upload_reply(envelope.data)
        except MalformedReply as error:
            raise UploadUnknown(f"the upload's reply can't be used: {error}") from error
        words = error_words(envelope, self._redact)
        raise UploadRefused(words, code=envelope.code, blames_credentials=_blames(envelope))

    def _refuse(self, answer: Answer) -> NoReturn:
        """An HTTP 4xx, or a 3xx that sends nowhere: not taken."""
        code, blames = of_http_status(answer.status), answer.status in _UNAUTHORIZED
        if isinstance(error := answer.envelope_or_none(), EnvelopeError):
            code, blames = error.code or code, blames or _blames(error)
        raise UploadRefused(
            self._http(answer),
            code=code,
            permanent=answer.status not in _OF_THE_MOMENT,
            blames_credentials=blames,
        )

    def status(self, answer: Answer, asked: str, file_id: str) -> StatusReply:
        """Judge the answer to a status call for `file_id`; raises as `ports.service.Statuses`."""
        self._judge_status_line(answer, asked)
        if not 200 <= answer.status < 300:
            raise ServiceFault(
                f"the status call was answered with {self._http(answer)}",
                code=of_http_status(answer.status),
                blames_credentials=answer.status in _UNAUTHORIZED,
            )
        try:
            envelope = answer.envelope()
            if isinstance(envelope, Envelope):
                return self._cleaned(parse_status_reply(envelope.data, file_id))
        except MalformedReply as error:
            raise ServiceFault(f"the status reply can't be used: {error}") from error
        words = error_words(envelope, self._redact)
        raise ServiceFault(words, code=envelope.code, blames_credentials=_blames(envelope))

    def _judge_status_line(self, answer: Answer, asked: str) -> None:
        """What an HTTP status means for either kind of call."""
        if answer.status in REDIRECTS:
            raise redirected(asked, answer.location, self._redact)
        if answer.status in BUSY:
            raise ServiceBusy(
                f"the service is busy: {self._http(answer)}",
                retry_after=answer.retry_after,
                everything=answer.status == 503,
            )

    def _http(self, answer: Answer) -> str:
        """The HTTP status, and what was said with it."""
        return http_words(answer.status, answer.body, self._redact)

    def _cleaned(self, reply: StatusReply) -> StatusReply:
        if not reply.error_message:
            return reply
        return replace(reply, error_message=clean_text(self._redact(reply.error_message)))


def _blames(error: EnvelopeError) -> bool:
    return refuses_credentials(error.code, error.message)
