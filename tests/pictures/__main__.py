"""`make pictures`: photographs the report and Flower's pages for the README.

`python -m tests.pictures FOLDER` takes every page there in four ways: wide and narrow, light and dark, to be looked
at before a page is changed.
"""

import io
import sys
from pathlib import Path

from PIL import Image

from tests.pictures.browser import Browser, browser
from tests.pictures.scene import LOGIN, at_work, flower, scene

PICTURES = Path(__file__).parents[2] / "deploy" / "pictures"
LARGEST = 150_000
"""Bytes of a picture in the repository."""

WIDE, NARROW = (1280, 900), (390, 844)
WAYS = {
    "wide-light": (WIDE, False), "wide-dark": (WIDE, True),
    "narrow-light": (NARROW, False), "narrow-dark": (NARROW, True),
}  # fmt: skip


def main(folder: Path | None) -> None:
    """Take the README's pictures, or all into a folder."""
    with scene() as stage, browser() as shown, flower(stage) as address:
        stage.type("report", "nightly-2026-11-24", "--output", "report.html")
        places = {"report": f"file://{stage.folder}/report.html"}
        with at_work(stage):
            batch = f"{address}/batches/nightly-2026-11-24"
            pages = {
                "batches": f"{address}/batches",
                "batch": batch,
                "running": f"{address}/batches/nightly-2026-11-25",
                "file": f"{batch}/files/broken-0912.wav",
            }
            for name, url in (places | pages).items():
                if folder is not None:
                    _every_way(shown, name, url, folder)
                elif name in {"report", "batches"}:
                    shown.open(
                        url,
                        width=1180,
                        height=820 if name == "report" else 520,
                        dark=False,
                        login=LOGIN,
                    )
                    keep(shown.picture(), PICTURES / f"{name}.png")


def _every_way(shown: Browser, name: str, url: str, folder: Path) -> None:
    for way, ((width, height), dark) in WAYS.items():
        took = shown.open(url, width=width, height=height, dark=dark, login=LOGIN)
        tall = shown.evaluate("document.documentElement.scrollHeight")
        across = shown.evaluate("document.documentElement.scrollWidth")
        shown.open(url, width=width, height=min(tall, 4000), dark=dark, login=LOGIN)
        (folder / f"{name}-{way}.png").write_bytes(shown.picture())
        beyond = f", {across - width} pixels too wide" if across > width else ""
        sys.stderr.write(f"{name} {way}: {took:.2f} s, {tall} high{beyond}\n")


def keep(picture: bytes, path: Path) -> None:
    """Write a picture with as few colours as it can do with."""
    small = Image.open(io.BytesIO(picture)).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    path.parent.mkdir(exist_ok=True)
    small.save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        sys.exit(f"{path}: {path.stat().st_size} bytes are too many")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
