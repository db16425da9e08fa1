"""The scripts of deploy/check can be read by the shell and started; what they do takes minutes and root."""

import os
import shutil
import subprocess

import pytest

from tests.deploy import deploy_files

CHECK = deploy_files.DEPLOY / "check"
SCRIPTS = sorted(
    file for file in CHECK.iterdir() if file.read_bytes().startswith(b"#!/usr/bin/env bash")
)


def test_there_are_scripts_and_each_can_be_started():
    assert "image" in {file.name for file in SCRIPTS}
    assert [file.name for file in SCRIPTS if not os.access(file, os.X_OK)] == []


@pytest.mark.parametrize("file", [*SCRIPTS, CHECK / "common.sh"], ids=lambda file: file.name)
def test_the_shell_can_read_them(file):
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("no bash")
    subprocess.run([shell, "-n", file], check=True)


def test_readme_names_each_script():
    text = (deploy_files.DEPLOY / "README.md").read_text(encoding="utf-8")

    assert [file.name for file in SCRIPTS if f"check/{file.name}" not in text] == []


def test_what_the_readme_makes_in_deploy_is_not_committed_nor_packed():
    """A wheel or sdist leaves out what git ignores."""
    ignored = (deploy_files.ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()

    assert {"/deploy/secrets/", "/deploy/data/", ".env"} <= set(ignored)
