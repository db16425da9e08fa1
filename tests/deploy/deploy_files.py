"""Reads the files of deploy/ for the tests beside it."""

import configparser
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


def own_services() -> dict[str, dict[str, Any]]:
    """The compose services that run our image."""
    return {
        n: s for n, s in compose()["services"].items() if s["image"].startswith("chatflow-ingest:")
    }


def manifests() -> list[dict[str, Any]]:
    """Every Kubernetes object, those of the examples included."""
    files = [
        f for f in sorted((DEPLOY / "kubernetes").glob("*.yaml")) if f.name != "kustomization.yaml"
    ]
    return [
        document for f in files for document in yaml.safe_load_all(f.read_text(encoding="utf-8"))
    ]


def pods() -> dict[str, dict[str, Any]]:
    """The pod specification of each workload."""
    return {
        m["metadata"]["name"]: m["spec"]["template"]["spec"]
        for m in manifests()
        if m["kind"] in {"Deployment", "Job"}
    }


def containers() -> dict[str, dict[str, Any]]:
    return {name: container for name, pod in pods().items() for container in pod["containers"]}


def units() -> dict[str, configparser.ConfigParser]:
    """The systemd services; of a key that is given more than once all values, one a line."""
    return {f.name: _unit(f) for f in sorted((DEPLOY / "systemd").glob("*.service"))}


def _unit(file: Path) -> configparser.ConfigParser:
    values: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = values.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read_dict(
        {name: {k: "\n".join(v) for k, v in keys.items()} for name, keys in values.items()}
    )
    return parser


def containerfile_words(instruction: str) -> list[list[str]]:
    """The JSON word lists of an instruction, such as CMD, in the order of the file."""
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith(f"{instruction} ")]
    return [json.loads(line[line.index("[") :]) for line in lines if "[" in line]


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Every command line of ours in deploy/, with where it stands."""
    for instruction in ("CMD", "HEALTHCHECK"):
        for words in containerfile_words(instruction):
            yield f"Containerfile {instruction}", words
    for name, service in own_services().items():
        yield f"compose {name}", service["command"]
        if "test" in service.get("healthcheck", {}):
            yield f"compose {name} health", service["healthcheck"]["test"][1:]
    for name, container in containers().items():
        yield f"kubernetes {name}", container["command"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if "exec" in container.get(probe, {}):
                yield f"kubernetes {name} {probe}", container[probe]["exec"]["command"]
    for name, unit in units().items():
        words = shlex.split(unit["Service"]["ExecStart"])
        yield f"systemd {name}", [Path(words[0]).name, *words[1:]]


def example_variables() -> list[tuple[str, str, bool]]:
    """Name, value and whether it is a comment, of every assignment of .env.example."""
    text = (DEPLOY / ".env.example").read_text(encoding="utf-8")
    found = re.findall(r"^(#?)([A-Z][A-Z_]+)=(.*)$", text, re.MULTILINE)
    return [(name, value, bool(comment)) for comment, name, value in found]
