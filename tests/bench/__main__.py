"""`make bench`: every contender in turn, several rounds, medians and ratios side by side.

Sizes come from the environment: BENCH_FILES (600), BENCH_ROUNDS (3), BENCH_FILE_BYTES (20000),
BENCH_ONLY ("a,e1"), BENCH_OUTPUT (tests/bench/results.json).
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from tests.bench import scenery
from tests.bench.contenders import Contender, Figures, Files, RunFailed, as_plain, contenders
from tests.bench.scenery import Stage

OUTPUT = Path(os.environ.get("BENCH_OUTPUT", scenery.ROOT / "tests/bench/results.json"))
Measured = dict[str, list[Figures]]


def chosen() -> list[Contender]:
    wanted = os.environ.get("BENCH_ONLY")
    everybody = contenders()
    return [c for c in everybody if wanted is None or c.key in wanted.split(",")]


def measure_all(players: list[Contender], folder: Path) -> Measured:
    files = Files(
        all=scenery.write_files(folder / "in" / "all", scenery.FILES),
        warm=scenery.write_files(folder / "in" / "warm", scenery.WARM_FILES, "warm"),
        count=scenery.FILES,
    )
    measured: Measured = {player.key: [] for player in players}
    with scenery.simulator(folder) as stage:
        for turn in range(scenery.ROUNDS):
            shift = turn % len(players)
            for player in players[shift:] + players[:shift]:
                place = folder / f"{player.key}-{turn}"
                began = time.monotonic()
                figures = measure_one(player, stage, files, place)
                if figures is not None:
                    measured[player.key].append(figures)
                    say(turn, player, figures, time.monotonic() - began)
                    keep(measured)
    return measured


def measure_one(player: Contender, stage: Stage, files: Files, place: Path) -> Figures | None:
    """One run, twice if need be: on a shared machine somebody may end a worker of ours."""
    for attempt in (1, 2):
        (here := place.with_name(f"{place.name}-{attempt}")).mkdir()
        stage.reset()
        try:
            return player.measure(stage, files, here)
        except RunFailed as error:
            print(f"{player.key}: {error}, see {here}", flush=True)
    return None


def say(turn: int, player: Contender, figures: Figures, seconds: float) -> None:
    print(
        f"round {turn + 1}  {player.key:3} CPU/1,000 {figures.cpu_marginal:6.2f} s"
        f" (all {figures.cpu_total:6.2f})  {figures.files_per_second:6.1f} files/s"
        f"  {figures.polls_per_file:.2f} polls  lag {figures.lag_p50:.2f}/{figures.lag_p95:.2f} s"
        f"  load {figures.load:.1f}  took {seconds:.0f} s",
        flush=True,
    )


def medians(measured: Measured) -> dict[str, dict[str, Any]]:
    return {
        key: _median_of([as_plain(each) for each in runs]) for key, runs in measured.items() if runs
    }


def _median_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    names = runs[0]
    return {
        name: None if any(run[name] is None for run in runs) else median(run[name] for run in runs)
        for name in names
    }


# --- showing -------------------------------------------------------------------------------------

HEAD = (
    "",
    "",
    "CPU s / 1,000",
    "with start",
    "÷ a",
    "÷ a2",
    "÷ c",
    "files/s",
    "polls",
    "lag p50 / p95 s",
    "recorded p50 / p95 s",
    "peak MB",
    "DB CPU",
    "sim busy",
    "others",
)


def table(players: list[Contender], found: dict[str, dict[str, Any]]) -> str:
    rows = [HEAD, *(_row(player, found) for player in players if player.key in found)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "| " + " | ".join(["---"] * len(HEAD)) + " |")
    return "\n".join(lines)


def _row(player: Contender, found: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    mine = found[player.key]
    ratios = (_ratio(mine, found.get(other)) for other in ("a", "a2", "c"))
    return (
        player.key,
        player.label,
        f"{mine['cpu_marginal']:.2f}",
        f"{mine['cpu_total']:.2f}",
        *ratios,
        f"{mine['files_per_second']:.1f}",
        f"{mine['polls_per_file']:.2f}",
        f"{mine['lag_p50']:.2f} / {mine['lag_p95']:.2f}",
        _pair(mine["recorded_p50"], mine["recorded_p95"]),
        f"{mine['peak_rss'] / 2**20:.0f}",
        "" if mine["cpu_database"] is None else f"{mine['cpu_database']:.2f}",
        f"{mine['simulator_busy']:.0%}",
        f"{mine['elsewhere_busy']:.0%}",
    )


def _ratio(mine: dict[str, Any], other: dict[str, Any] | None) -> str:
    return "" if other is None else f"{mine['cpu_marginal'] / other['cpu_marginal']:.2f}"


def _pair(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.2f} / {high:.2f}"


# --- keeping -------------------------------------------------------------------------------------


def circumstances() -> dict[str, Any]:
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=scenery.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision.stdout.strip(),
        "python": platform.python_version(),
        "cores": psutil.cpu_count(),
        "files": scenery.FILES,
        "file_bytes": scenery.FILE_BYTES,
        "rounds": scenery.ROUNDS,
        "uploads_in_flight": scenery.UPLOADS,
        "files_per_dialog": scenery.PER_DIALOG,
        "time_to_ready": {"kind": "lognormal", "median": scenery.MEDIAN, "p95": scenery.P95},
    }


def keep(measured: Measured) -> None:
    """Write down what there is so far."""
    whole = {
        "circumstances": circumstances(),
        "medians": medians(measured),
        "rounds": {key: [as_plain(run) for run in runs] for key, runs in measured.items()},
    }
    OUTPUT.write_text(json.dumps(whole, indent=2) + "\n")


def main() -> int:
    players = chosen()
    folder = Path(tempfile.mkdtemp(prefix="bench-"))  # stays, with its logs, when a run fails
    measured = measure_all(players, folder)
    shutil.rmtree(folder)
    print(table(players, medians(measured)))
    print(f"kept in {OUTPUT}")
    return 0 if all(measured.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
