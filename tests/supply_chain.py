"""What `make audit` says of everything in requirements.txt: licences, parts list, advisories.

Called with the folder of its two environments, `tools` and `locked`, and the one to write to.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

PERMISSIVE = {
    "0BSD", "Apache Software License", "Apache-2.0", "BSD License", "BSD-2-Clause", "BSD-3-Clause", "ISC",
    "ISC License (ISCL)", "MIT", "MIT License", "PSF-2.0", "Python Software Foundation License",
}  # fmt: skip
# Changes to such a library are to be published; whoever only uses it owes nothing more.
WEAK_COPYLEFT = {"LGPL-3.0-only", "MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)"}
# Packages that have the text of their licence where its name belongs.
READ = {"httpx-aiohttp": ("BSD-3-Clause", "Neither the name of the copyright holder nor")}


def licence(name: str, told: str) -> str:
    """The licence of a package, on one line."""
    known, words = READ.get(name, ("", ""))
    return known if known and words in told else " ".join(told.split())


def is_allowed(told: str) -> bool:
    """Whether every licence that is named is one that users of this project can live with."""
    parts = [part.strip() for part in re.split(r"\s+(?:AND|OR)\s+|;", told)]
    return all({part, part.strip("()")} & (PERMISSIVE | WEAK_COPYLEFT) for part in parts)


def verdict(report: dict[str, Any]) -> tuple[list[str], list[str], int]:
    """What an advisory service said: findings, packages that it did not know, and how many it did.

    pip-audit finds "no known vulnerabilities" in packages that it could not look up.
    """
    found, unknown = [], []
    for package in report["dependencies"]:
        if "skip_reason" in package:
            unknown.append(package["name"])
        found += [
            f"{package['name']} {package['version']}: {each['id']}"
            f" (mended in {', '.join(each['fix_versions']) or 'no version yet'})"
            for each in package.get("vulns", ())
        ]
    return found, unknown, len(report["dependencies"]) - len(unknown)


def _run(tool: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(tool), *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False
    )


def licences(tools: Path, locked: Path, output: Path) -> bool:
    """Write the table, and say which licences nobody has looked at yet."""
    asked = _run(
        tools / "pip-licenses", "--python", locked / "bin" / "python", "--from=mixed",
        "--format=json", "--with-system",
    )  # fmt: skip
    asked.check_returncode()
    pinned = dict(
        re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    )
    rows = {re.sub(r"[-_.]+", "-", row["Name"]).lower(): row for row in json.loads(asked.stdout)}
    table = {n: licence(n, rows[n]["License"]) for n in sorted(pinned) if n in rows}
    output.write_text("".join(f"{n} {pinned[n]}: {told}\n" for n, told in table.items()))
    bad = [f"{name}: {told}" for name, told in table.items() if not is_allowed(told)]
    print(f"licences: {len(table)} packages, {len(bad)} not allowed; {output}")
    if elsewhere := sorted(pinned.keys() - rows.keys()):
        print(f"  not looked at, for other platforms: {', '.join(elsewhere)}")
    for line in bad:
        print(f"  {line}")
    return not bad


def parts_list(tools: Path, locked: Path, output: Path) -> bool:
    """Write the SBOM."""
    made = _run(
        tools / "cyclonedx-py", "environment", locked, "--pyproject", ROOT / "pyproject.toml",
        "--output-reproducible", "-o", output,
    )  # fmt: skip
    print(f"SBOM: CycloneDX; {output}" if made.returncode == 0 else f"SBOM: {made.stderr}")
    return made.returncode == 0


def advisories(tools: Path, output: Path) -> bool:
    """Ask for advisories, and say so when nobody answers: that is no acquittal, nor a finding."""
    output.unlink(missing_ok=True)
    asked = _run(
        tools / "pip-audit", "--disable-pip", "--require-hashes", "-r", "requirements.txt",
        "--progress-spinner", "off", "-f", "json", "-o", output,
    )  # fmt: skip
    if not output.exists():
        why = (asked.stderr.strip() or "no word").splitlines()[-1]
        print(f"advisories: NOT CHECKED, no database can be reached from here: {why[:200]}")
        return True
    found, unknown, known = verdict(json.loads(output.read_text()))
    if not known:
        print("advisories: NOT CHECKED, the database that was asked knows none of the packages")
        return True
    print(f"advisories: {known} packages checked, {len(found)} advisories; {output}")
    if unknown:
        print(f"  NOT CHECKED, unknown to the database: {', '.join(unknown)}")
    for line in found:
        print(f"  {line}")
    return not found


def main(environments: Path, output: Path) -> int:
    """Exit code 1 when a licence is not allowed or an advisory is out."""
    output.mkdir(exist_ok=True)
    tools, locked = (environments / "tools" / "bin").resolve(), (environments / "locked").resolve()
    good = [
        licences(tools, locked, output / "licences.txt"),
        parts_list(tools, locked, output / "sbom.cdx.json"),
        advisories(tools, output / "advisories.json"),
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
