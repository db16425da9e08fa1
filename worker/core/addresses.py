"""Rules about sources that are addresses: their names, their secrets, paths that climb."""

from __future__ import annotations

import re
from urllib.parse import unquote, unquote_to_bytes, urlsplit

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
LOCAL_SCHEMES = frozenset({"file", "local"})
"""What fsspec too calls this machine's files; they are never opened through it."""

_QUOTED = frozenset({"http", "https", *LOCAL_SCHEMES})
"""Schemes whose addresses spell a path's characters with percent signs."""

_QUOTED_AGAIN = re.compile("%(?:25)+")
"""A percent sign that was quoted, however often: one pass for each time might never end."""

_HALVES = re.compile("[\ud800-\udfff]")
_PORTS = {"http": 80, "https": 443, "sftp": 22, "ssh": 22, "ftp": 21}
"""Schemes whose addresses begin with a host, and the port that is meant when none is said."""

_PASSWORD = re.compile(
    r"(?<=://)(?:([^/?#]*?):[^/?#]*@|(?!arn:)([^/?#:@\[\]]*):(?!\d*[/?#])[^@]*@)"
)
"""The second half is a password with a slash that nobody quoted; access points begin `arn:`."""

_USER = re.compile(r"(?<=://)[^/?#]*@")
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_FIELD = re.compile(r"([^=?&#;]+)=([^?&#;]*)")
_SECRET_WORDS = frozenset(
    {"sig", "signature", "token", "sas", "key", "secret", "pass", "pwd", "auth", "jwt"}
)
_SECRET_ENDINGS = (
    "signature", "token", "key", "keyid", "accessid", "secret", "password", "passwd", "credential",
    "credentials", "authorization",
)  # fmt: skip
STARS = "***"
CURE_OF_SECRETS = (
    "the address holds a password, key or signature, which would be stored and shown; write it into"
    " INGEST_SOURCE_OPTIONS, and the address without it"
)


def decoded(text: str) -> str:
    """Percent signs decoded as often as there are any: a server may do it twice."""
    while (plain := unquote(_QUOTED_AGAIN.sub("%", text))) != text:
        text = plain
    return text


def climbs(path: str) -> bool:
    """Whether a path leads upwards in any spelling, and so elsewhere than its beginning says."""
    return any(piece == ".." for piece in re.split(r"[/\\]", decoded(path)))


def bare(url: str) -> str:
    """The address without what it may carry of secrets: user, password, query, fragment."""
    if "://" not in url:
        return url
    return _QUERY.sub("", _USER.sub("", _PASSWORD.sub("", url)))


def has_secret(url: str) -> bool:
    """Whether an address carries a password, a key or a signature, which would be stored with it.

    A user's name is none, but over HTTP, where tokens travel in its place.
    """
    if not _is_remote(url):
        return False
    user = scheme_of(url) in {"http", "https"} and _USER.search(url)
    query = _QUERY.search(url)
    fields = _FIELD.finditer(query[0]) if query else ()
    return bool(_PASSWORD.search(url) or user) or any(_is_secret(each[1]) for each in fields)


def without_secrets(url: str) -> str:
    """The address with stars in the place of each secret; what is no address stays as it is."""
    if not _is_remote(url):
        return url
    url = _PASSWORD.sub(lambda found: f"{found[1] or found[2] or ''}:{STARS}@", url)
    if scheme_of(url) in {"http", "https"}:
        url = _USER.sub(f"{STARS}@", url)
    return _QUERY.sub(lambda query: _FIELD.sub(_starred, query[0]), url)


def _is_remote(url: str) -> bool:
    return bool(_ADDRESS.match(url)) and scheme_of(url) not in LOCAL_SCHEMES


def _starred(field: re.Match[str]) -> str:
    name, value = field.groups()
    return f"{name}={STARS if _is_secret(name) else value}"


def _is_secret(name: str) -> bool:
    """Whether a query's field is named like a credential: X-Amz-Signature, sig, access_token."""
    plain = unquote(name).lower()
    words = set(re.split(r"[^a-z0-9]+", plain))
    return bool(words & _SECRET_WORDS) or plain.endswith(_SECRET_ENDINGS)


def anonymous(url: str) -> str:
    """The address without the user that it names."""
    return _USER.sub("", url)


def scheme_of(url: str) -> str:
    """What stands before `://`, in lower case."""
    return url.partition("://")[0].lower()


def place(url: str) -> tuple[str, ...] | None:
    """Scheme, host and path of an address, part by part.

    Addresses lie below one another when their parts do, however they are spelt. None for an
    address that may lead elsewhere than it says.
    """
    scheme, rest = scheme_of(url), url.partition("://")[2]
    try:
        host, path = _split(url) if scheme in _PORTS else ("", rest)
    except ValueError:
        return None
    parts = tuple(unquote(part) for part in path.split("/") if part)
    return None if any(map(climbs, parts)) else (scheme, host, *parts)


def _split(url: str) -> tuple[str, str]:
    """Host and path; beyond HTTP a path may hold any character, and users have their own files."""
    split = urlsplit(url)
    host = f"{split.hostname}:{split.port or _PORTS[split.scheme]}"
    if split.scheme in {"http", "https"}:
        return host, split.path
    user = f"{split.username}@" if split.username else ""
    return user + host, url.partition("://")[2].partition("/")[2]


def file_name(source: str) -> str:
    """The name of the file at a source: its last part, without what an address adds to it.

    It is the name that rows and results show and that the service is told. Valid text always.
    """
    scheme = _ADDRESS.match(source)
    if scheme is None:
        return valid_text(source.rstrip("/").rpartition("/")[2] or source)
    rest = source[scheme.end() :]
    if scheme[1].lower() in {"http", "https"}:
        rest = _QUERY.sub("", rest)
    last = rest.rstrip("/").rpartition("/")[2]
    if scheme[1].lower() in _QUOTED:
        quoted = last.encode(errors="surrogatepass")
        last = unquote_to_bytes(quoted).decode(errors="surrogateescape")
    return valid_text(last)


def valid_text(name: str) -> str:
    """The name with U+FFFD for bytes that are no text, and for halves of surrogate pairs."""
    return _HALVES.sub("\ufffd", name)
