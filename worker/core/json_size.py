"""How much a JSON text holds, told before it is parsed.

A value takes up to forty times its bytes once it is parsed (`[],` is an empty list), and a
service that compresses needs only a few kilobytes to say sixty million of them.
"""

from __future__ import annotations

MOST_VALUES = 1_000_000
"""Values beyond which a text is not parsed: 200 MB at the worst. An hour of speech has tens of
thousands."""


def holds_too_much(raw: bytes | str) -> bool:
    """Whether a JSON text has more values than are worth their memory.

    Counted are the marks that begin a value or part two, in strings only when there could be too
    many of them: a long table or transcript inside one string is one value.
    """
    if len(raw) <= MOST_VALUES:
        return False
    text = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    if _marks(text) <= MOST_VALUES:
        return False
    bare = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    if bare.count(b'"') > 2 * MOST_VALUES:
        return True
    return sum(map(_marks, bare.split(b'"')[::2])) > MOST_VALUES  # what stands outside strings


def _marks(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")
