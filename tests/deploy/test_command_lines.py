"""Every command line of deploy/ is one that our commands, Celery or Flower understand."""

import importlib.util

import pytest
from celery.bin.celery import celery

from tests import readme_blocks
from tests.deploy import deploy_files

COMMAND_LINES = dict(deploy_files.command_lines())


def test_all_kinds_of_files_were_read():
    assert {place.split()[0] for place in COMMAND_LINES} == {
        "Containerfile",
        "compose",
        "kubernetes",
        "systemd",
    }


@pytest.mark.parametrize("place", COMMAND_LINES)
def test_the_command_line_exists(place):
    match COMMAND_LINES[place]:
        case ["celery", "-A", "worker", "flower", *options]:
            assert unknown(options, flower_options()) == []
        case ["celery", "-A", "worker", "worker" | "beat" as name, *options]:
            assert unknown(options, {o for p in celery.commands[name].params for o in p.opts}) == []
        case ["chatflow-ingest", *words]:
            assert " ".join(words) in {usage for usage, _ in readme_blocks.command_list()}
        case ["python", "-m", module]:
            assert importlib.util.find_spec(module) is not None
        case ["python", "-c", code]:
            compile(code, place, "exec")
        case words:
            pytest.fail(f"nobody knows {words}")


def unknown(words, options):
    return [
        word for word in words if word.startswith("-") and word.partition("=")[0] not in options
    ]


def flower_options():
    from flower import options  # registers them with tornado
    from tornado.options import options as registered

    assert options
    return {f"--{name.replace('_', '-')}" for name in registered}


def test_every_place_starts_worker_beat_and_flower_and_migrates():
    for kind in ("compose", "kubernetes", "systemd"):
        started = [words for place, words in COMMAND_LINES.items() if place.startswith(kind)]

        assert {words[3] for words in started if words[0] == "celery"} == {
            "worker",
            "beat",
            "flower",
        }
        assert ["chatflow-ingest", "db", "upgrade"] in started
