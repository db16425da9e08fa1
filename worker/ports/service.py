"""The remote service: dialogs, uploads, statuses. One verb each, asynchronous."""

from __future__ import annotations

from typing import Protocol

from worker.core.model.wire import DialogSession, StatusReply, UploadForm, UploadReply
from worker.ports.sources import SourceContent


class Dialogs(Protocol):
    """Opens dialog sessions."""

    async def open(self) -> DialogSession:
        """Open one dialog and follow it to its upload node.

        Raises:
            CredentialsRefused: the service does not accept key, token or user name.
            Redirected: the handshake was answered with a redirect.
            NoUploadNode: the dialog ended, or failed, without an upload node.
            ServiceBusy: the handshake was answered 429 or 503.
            ServiceUnreachable: no connection came about.
            ServiceFault: reset, close code 1011 to 1013, or silence until the deadline.
        """
        ...


class Uploads(Protocol):
    """Submits files."""

    async def upload(self, form: UploadForm, content: SourceContent) -> UploadReply:
        """Send one file, streamed. Never repeated by the adapter.

        Raises:
            ServiceUnreachable: for certain nothing was sent.
            ServiceBusy: 429 or 503, for certain not taken.
            UploadRefused: another 4xx, or an envelope code other than success.
            Redirected: answered with a redirect, which is not followed.
            UploadUnknown: the request had begun and its reply is lost or unreadable, or 5xx.
            SourceRejected: the file could not be read to its end.
        """
        ...


class Statuses(Protocol):
    """Asks for a file's status."""

    async def ask(self, chatflow_file_id: str) -> StatusReply:
        """Ask for one file's status: one request, never repeated here.

        Raises:
            ServiceUnreachable, ServiceBusy, ServiceFault: ask again later (also for an
                envelope code other than success, whose code and message it carries).
            Redirected: answered with a redirect, which is not followed.
        """
        ...
