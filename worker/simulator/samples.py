"""Small genuine files for the demo, made by code: tone, page, document, picture, note."""

from __future__ import annotations

import io
import math
import struct
import wave
import zipfile
import zlib
from pathlib import Path

DEMO_SCENARIO = Path(__file__).with_name("demo.toml")
"""The scenario that goes with the samples."""

RATE = 8000
WIDTH, HEIGHT = 96, 64
EPOCH = (2026, 1, 1, 0, 0, 0)  # the same bytes on every run

_CONTENT_TYPES = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/xml"/>
<Override PartName="/word/document.xml" ContentType="\
application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/>
</Types>"""

_RELATIONSHIPS = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="rId1" Target="word/document.xml" Type="\
http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"/>
</Relationships>"""

_DOCUMENT = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>{}\
<w:sectPr><w:pgSz w:w="11906" w:h="16838"/></w:sectPr></w:body></w:document>"""

_PARAGRAPH = "<w:p><w:r><w:t>{}</w:t></w:r></w:p>"

_NOTES = """Three things to remember
========================

1. Every file ends in exactly one state.
2. What was uploaded is not uploaded again.
3. Umlauts arrive unharmed: äöü, and so does 文件.
"""


def write_samples(folder: Path) -> list[Path]:
    """Write the sample files into a folder, made when it is missing, and return their paths.

    With `DEMO_SCENARIO` the simulator parses all of them but `broken-recording.wav`, which fails,
    and `floor-plan.xyz`, whose format no category takes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    samples = {
        "morning-call.wav": tone((440.0, 554.4, 659.3)),
        "agreement.pdf": page("Service agreement", "Both parties keep their files in order."),
        "minutes.docx": document("Minutes of the weekly meeting", "Everybody was there."),
        "waves.png": picture(),
        "notes.txt": _NOTES.encode(),
        "broken-recording.wav": tone((220.0,)),
        "floor-plan.xyz": b"XYZ1\nwall 0 0 4 0\nwall 4 0 4 3\ndoor 1 0\n",
    }
    return [_write(folder / name, content) for name, content in samples.items()]


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def tone(pitches: tuple[float, ...], seconds: float = 0.4) -> bytes:
    """A WAV recording, mono, 16 bit: these pitches (Hz), one after another."""
    samples = [
        int(12_000 * math.sin(2 * math.pi * pitch * moment / RATE))
        for pitch in pitches
        for moment in range(int(RATE * seconds))
    ]
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(RATE)
        recording.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return buffer.getvalue()


def page(title: str, text: str) -> bytes:
    """A PDF of one A4 page with a title and a line of text (ASCII, without parentheses)."""
    drawing = f"BT /F1 24 Tf 72 760 Td ({title}) Tj /F1 12 Tf 0 -36 Td ({text}) Tj ET".encode()
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
            b" /Resources << /Font << /F1 5 0 R >> >> >>"
        ),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawing), drawing),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    return _pdf(objects)


def _pdf(objects: tuple[bytes, ...]) -> bytes:
    body, places = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return body + (
        b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
        + b"trailer\n<< /Size %d /Root 1 0 R >>\n" % (len(objects) + 1)
        + b"startxref\n%d\n%%%%EOF\n" % len(body)
    )


def document(*paragraphs: str) -> bytes:
    """A Word document with these paragraphs (text without markup characters)."""
    body = "".join(_PARAGRAPH.format(text) for text in paragraphs)
    parts = {
        "[Content_Types].xml": _CONTENT_TYPES,
        "_rels/.rels": _RELATIONSHIPS,
        "word/document.xml": _DOCUMENT.format(body),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def picture() -> bytes:
    """A PNG of coloured waves."""
    rows = b"".join(b"\0" + _row(y) for y in range(HEIGHT))  # 0: the row is not filtered
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)  # 8 bit RGB
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _row(y: int) -> bytes:
    return bytes(
        int(127 + 127 * math.sin(x / 9 + y / (5 + 3 * colour) + colour))
        for x in range(WIDTH)
        for colour in range(3)
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
