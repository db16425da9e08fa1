"""Contents that are too large for the server: one such file must not stop all the others.

MariaDB takes and gives no row above its `max_allowed_packet` (16 MiB unless configured), and cuts
the connection of who tries. PostgreSQL and SQLite take a gigabyte.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import text

from worker.adapters.database.engine.transaction import Transaction
from worker.core.model.wire import Contents
from worker.core.verdicts import Ended, StillPolling, Verdict, too_large

_SURELY_FITS = 2**20
_ROOM = 2**16  # for the rest of the statement
_ESCAPED = "\\'\"\n\r\x1a\0"


def fitting(tx: Transaction, verdicts: Sequence[Verdict]) -> Sequence[Verdict]:
    """The verdicts, those with contents that the server would refuse turned into failures."""
    if tx.kind != "mariadb" or not any(_sent_size(v.contents) > _SURELY_FITS for v in verdicts):
        return verdicts
    limit = int(tx.run(text("SELECT @@max_allowed_packet")).scalar_one())
    return [_fitting(verdict, limit) for verdict in verdicts]


def _fitting(verdict: Verdict, limit: int) -> Verdict:
    match verdict:
        case StillPolling() | Ended() if _sent_size(verdict.contents) >= limit - _ROOM:
            return too_large(verdict, limit)
        case _:
            return verdict


def _sent_size(contents: Contents | None) -> int:
    if contents is None:
        return 0
    segments = contents.segments
    written = None if segments is None else json.dumps(segments, ensure_ascii=False)
    return sum(map(_escaped_size, (contents.parse_text, written, contents.llm_text)))


def _escaped_size(words: str | None) -> int:
    if not words:
        return 0
    return len(words.encode(errors="replace")) + sum(map(words.count, _ESCAPED))
