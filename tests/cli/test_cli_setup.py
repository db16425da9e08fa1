"""``init``, ``config``, and names that look like settings."""

import json
import os
import pty
import stat
import subprocess
import sys
import termios
import time

import pytest

from tests.cli.desk import invoke
from worker.settings import Settings

ANSWERS = {
    "CHATFLOW_BASE_URL": "https://chatflow.example.com",
    "CHATFLOW_ROBOT_KEY": "key%3D",
    "CHATFLOW_ROBOT_TOKEN": "to ken#'\"\\",
    "CHATFLOW_USERNAME": "alice",
}
OPTIONS = [
    "--base-url", ANSWERS["CHATFLOW_BASE_URL"],
    "--robot-key", ANSWERS["CHATFLOW_ROBOT_KEY"],
    "--robot-token", ANSWERS["CHATFLOW_ROBOT_TOKEN"],
    "--username", ANSWERS["CHATFLOW_USERNAME"],
]  # fmt: skip


def in_force():
    profile = Settings.load().profile()
    credentials = profile.credentials()
    return dict(
        zip(
            ANSWERS,
            (
                profile.base_url, credentials.robot_key, credentials.robot_token,
                credentials.username,
            ),
            strict=True,
        )
    )  # fmt: skip


# --- init ----------------------------------------------------------------------------------------


def test_init_writes_what_the_settings_then_read(database, tmp_path):
    result = invoke("init", *OPTIONS, "--tenant-name", "Acme")
    file = tmp_path / ".env"

    assert result.exit_code == 0, result.output
    assert in_force() == ANSWERS
    assert Settings.load().tenant_name == "Acme"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".env")] == [".env"]
    for secret in ("key%3D", "to ken"):
        assert secret not in result.output


def test_init_does_not_replace_a_file_unless_told_to(database, tmp_path):
    file = tmp_path / "own.env"
    file.write_text("kept")
    refused = invoke("init", *OPTIONS, "--output", str(file))

    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert file.read_text() == "kept"
    assert invoke("init", *OPTIONS, "--output", str(file), "--force").exit_code == 0
    assert "alice" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_init_without_a_terminal_says_which_option_is_missing(database, tmp_path):
    result = invoke("init", *OPTIONS[:2])

    assert result.exit_code == 2
    assert "--robot-key" in result.stderr
    assert not (tmp_path / ".env").exists()


def test_init_checks_the_address(database, tmp_path):
    result = invoke("init", *OPTIONS, "--base-url", "chatflow.example.com")

    assert result.exit_code == 2
    assert "CHATFLOW_BASE_URL: write it as https://DOMAIN" in result.stderr
    assert not (tmp_path / ".env").exists()


def test_init_refuses_what_such_a_file_can_t_hold(database, tmp_path):
    result = invoke("init", *OPTIONS, "--robot-token", "${HOME}")

    assert result.exit_code == 2
    assert "CHATFLOW_ROBOT_TOKEN" in result.stderr
    assert "INGEST_SECRETS_DIR" in result.stderr
    assert list(tmp_path.glob(".env*")) == []


def test_init_says_that_the_environment_goes_first(database, monkeypatch):
    monkeypatch.setenv("CHATFLOW_USERNAME", "bob")

    assert "CHATFLOW_USERNAME is set in the environment" in invoke("init", *OPTIONS).stderr


def test_init_asks_at_a_terminal_and_shows_no_secret(database, tmp_path):
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "worker.cli", "init"],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:  # fmt: skip
        os.close(theirs)
        screen = ""
        for question, answer in zip(
            ("DOMAIN", "Robot key", "Robot token", "User account"), ANSWERS.values(), strict=True
        ):
            while question not in screen:
                screen += os.read(ours, 1000).decode()
            while question.startswith("Robot") and termios.tcgetattr(ours)[3] & termios.ECHO:
                time.sleep(0.01)  # what is typed before the echo is off would be shown
            os.write(ours, answer.encode() + b"\n")
        while process.poll() is None:
            try:
                screen += os.read(ours, 1000).decode()
            except OSError:  # the terminal has nobody at its other end
                break
    os.close(ours)

    assert process.returncode == 0, screen
    assert in_force() == ANSWERS
    assert "alice" in screen
    assert "key%3D" not in screen
    assert "to ken" not in screen


# --- config --------------------------------------------------------------------------------------


def test_config_says_what_is_in_force_and_where_it_comes_from(database, monkeypatch, tmp_path):
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "CHATFLOW_ROBOT_TOKEN").write_text("token-secret")
    (tmp_path / ".env").write_text("CHATFLOW_ROBOT_KEY=key-secret\nCHATFLOW_QUESTION=from file\n")
    monkeypatch.setenv("INGEST_SECRETS_DIR", str(secrets))
    monkeypatch.setenv("CHATFLOW_QUESTION", "from the environment")
    monkeypatch.setenv("INGEST_BROKER_URL", "redis://user:hunter2@127.0.0.1:6379/0")
    result = invoke("config", "--json")
    found = {one["name"]: one for one in json.loads(result.stdout)["settings"]}

    assert result.exit_code == 0
    assert {
        name: (found[name]["value"], found[name]["source"])
        for name in (
            "CHATFLOW_ROBOT_KEY", "CHATFLOW_ROBOT_TOKEN", "CHATFLOW_QUESTION", "INGEST_BROKER_URL",
            "CHATFLOW_TENANT_NAME", "CHATFLOW_USERNAME",
        )
    } == {
        "CHATFLOW_ROBOT_KEY": ("***", ".env"),
        "CHATFLOW_ROBOT_TOKEN": ("***", str(secrets)),
        "CHATFLOW_QUESTION": ("from the environment", "environment"),
        "INGEST_BROKER_URL": ("redis://***@127.0.0.1:6379/0", "environment"),
        "CHATFLOW_TENANT_NAME": ("AiopsTest", "default"),
        "CHATFLOW_USERNAME": (None, "default"),
    }  # fmt: skip
    for command in (("config",), ("config", "--json")):
        shown = invoke(*command).output
        assert "-secret" not in shown
        assert "hunter2" not in shown


def test_config_with_a_fault_names_it(database, monkeypatch):
    monkeypatch.setenv("CHATFLOW_BASE_URL", "nonsense")
    result = invoke("config")

    assert result.exit_code == 2
    assert "CHATFLOW_BASE_URL" in result.stderr


def test_names_that_are_no_settings_are_listed_with_the_nearest(database, monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("INGEST_ROOT=/data\n")
    monkeypatch.setenv("CHATFLOW_BASEURL", "https://x")
    unknown = json.loads(invoke("config", "--json").stdout)["unknown"]

    assert unknown == [
        {"name": "CHATFLOW_BASEURL", "source": "environment", "nearest": "CHATFLOW_BASE_URL"},
        {"name": "INGEST_ROOT", "source": ".env", "nearest": "INGEST_ROOTS"},
    ]


def test_the_compose_file_s_own_variable_is_known(database, tmp_path):
    (tmp_path / ".env").write_text("INGEST_DATA=/data\n")

    assert json.loads(invoke("config", "--json").stdout)["unknown"] == []


def test_every_command_warns_of_them_on_stderr(store, monkeypatch):
    monkeypatch.setenv("CHATFLOW_BASEURL", "https://x")
    result = invoke("status", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["batches"] == []
    assert "warning: CHATFLOW_BASEURL (environment) is no setting" in result.stderr
    assert "CHATFLOW_BASE_URL?" in result.stderr


@pytest.mark.parametrize("place", ["environment", ".env"])
def test_variables_that_profiles_take_secrets_from_are_known(
    database, monkeypatch, tmp_path, place
):
    profiles = tmp_path / "profiles.toml"
    profiles.write_text('[profiles.b]\nrobot_key_env = "CHATFLOW_KEY_OF_B"\n')
    monkeypatch.setenv("CHATFLOW_KEY_OF_B", "x")
    if place == ".env":
        (tmp_path / ".env").write_text(f"INGEST_PROFILES={profiles}\n")
    else:
        monkeypatch.setenv("INGEST_PROFILES", str(profiles))

    assert json.loads(invoke("config", "--json").stdout)["unknown"] == []
