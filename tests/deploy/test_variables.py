"""The variables that deploy/ sets are the settings' own, and their examples are accepted."""

import re
import subprocess
import tomllib

import pytest
from pydantic import TypeAdapter

from tests.deploy import deploy_files
from worker.settings import Settings
from worker.settings.variables import variables

NAMES = {name for name, _, _ in variables()}
DEFAULTS = {name: default for name, default, _ in variables()}
SECRETS = {
    "CHATFLOW_ROBOT_KEY", "CHATFLOW_ROBOT_TOKEN", "CHATFLOW_USERNAME",
    "INGEST_DATABASE_URL", "INGEST_BROKER_URL",
}  # fmt: skip
OWN_DEFAULTS = {"INGEST_ROOTS"}  # the image's, not the code's, and said so


def ours(names):
    return {name for name in names if name.startswith(("CHATFLOW_", "INGEST_"))}


def test_the_example_has_every_variable_once():
    names = [name for name, _, _ in deploy_files.example_variables()]

    assert sorted(names) == sorted(NAMES)


def test_commented_lines_of_the_example_are_the_defaults():
    said = {
        name: value
        for name, value, comment in deploy_files.example_variables()
        if comment and value
    }

    assert {n: v for n, v in said.items() if n not in OWN_DEFAULTS} == {
        n: DEFAULTS[n] for n in said if n not in OWN_DEFAULTS
    }
    silent = {name for name, value, _ in deploy_files.example_variables() if not value}
    assert {name for name in silent if DEFAULTS[name] not in {"none", "off"}} == set()


def test_the_example_is_accepted_whole(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name, value, _ in deploy_files.example_variables():
        monkeypatch.setenv(name, value)

    assert Settings.load().base_url == "https://chatflow.example.com"


def test_what_compose_sets_are_variables_of_ours():
    services = deploy_files.own_services().values()
    set_there = {name for service in services for name in service.get("environment", {})}

    assert ours(set_there) <= NAMES
    assert ours(deploy_files.compose()["secrets"]) == SECRETS <= NAMES


def test_what_kubernetes_sets_are_variables_of_ours():
    by_kind = {(m["kind"], m["metadata"]["name"]): m for m in deploy_files.manifests()}

    assert set(by_kind["ConfigMap", "chatflow-ingest"]["data"]) <= NAMES
    assert set(by_kind["Secret", "chatflow-ingest"]["stringData"]) == SECRETS


def test_the_values_of_the_config_map_are_accepted(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = next(m for m in deploy_files.manifests() if m["kind"] == "ConfigMap")["data"]
    for name, value in config.items():
        monkeypatch.setenv(name, TypeAdapter(str).validate_python(value, strict=True))
    monkeypatch.setenv("INGEST_SECRETS_DIR", str(tmp_path))  # the mounted one is not here

    assert Settings.load().roots == ["/data"]


@pytest.mark.parametrize("name", deploy_files.units())
def test_what_a_unit_sets_are_variables_of_ours(name):
    service = deploy_files.units()[name]["Service"]
    set_there = {line.partition("=")[0] for line in service["Environment"].splitlines()}
    credentials = {line.partition(":")[0] for line in service["LoadCredential"].splitlines()}

    assert ours(set_there) <= NAMES
    assert ours(credentials) <= SECRETS
    assert all(
        line.endswith(f"/{line.partition(':')[0]}")
        for line in service["LoadCredential"].splitlines()
    )


def test_the_metrics_port_is_the_same_everywhere():
    compose, worker = (
        deploy_files.own_services()["worker"],
        deploy_files.containers()["chatflow-ingest-worker"],
    )
    config = next(m for m in deploy_files.manifests() if m["kind"] == "ConfigMap")["data"]
    scrape = (deploy_files.DEPLOY / "monitoring/prometheus.yml").read_text(encoding="utf-8")

    ports = {
        int(compose["environment"]["INGEST_METRICS_PORT"]),
        int(config["INGEST_METRICS_PORT"]),
        next(p["containerPort"] for p in worker["ports"] if p["name"] == "metrics"),
        int(re.search(r"port: (\d+)", scrape)[1]),
    }
    assert len(ports) == 1


def test_init_secrets_makes_every_secret_of_compose_in_a_form_the_settings_read(
    monkeypatch, tmp_path
):
    folder = tmp_path / "secrets"
    given = {
        "CHATFLOW_ROBOT_KEY": "key%3D",
        "CHATFLOW_ROBOT_TOKEN": "token",
        "CHATFLOW_USERNAME": "a@example.com",
    }
    for _ in range(2):  # a second run changes nothing
        subprocess.run(
            [deploy_files.DEPLOY / "init-secrets", folder],
            env=given | {"PATH": "/usr/bin:/bin"},
            check=True,
            capture_output=True,
        )
    made = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}

    assert set(made) == {
        entry["file"].removeprefix("secrets/")
        for entry in deploy_files.compose()["secrets"].values()
    }
    passwords = dict(
        re.findall(r"^ALTER ROLE (\w+) PASSWORD '(\w{48})';$", made["roles.sql"], re.MULTILINE)
    )
    passwords["postgres"] = made["POSTGRES_PASSWORD"]
    assert len(set(passwords.values())) == 4
    for role, name in {"owner": "OWNER", "worker": "INGEST", "reader": "READER"}.items():
        account = f"ingest_{role}:{passwords[f'ingest_{role}']}"
        assert f"//{account}@" in made[f"{name}_DATABASE_URL"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INGEST_SECRETS_DIR", str(folder))
    read = Settings.load(CHATFLOW_BASE_URL="https://chatflow.example.com")
    assert read.profile().credentials().robot_key == "key%3D"
    assert read.database_url == made["INGEST_DATABASE_URL"]
    password = re.search(r":([0-9a-f]+)@", read.broker_url)[1]
    assert f">{password} " in made["redis.acl"]
    assert folder.stat().st_mode & 0o077 == 0


def test_init_secrets_leaves_an_older_installation_its_one_role(tmp_path):
    given = {"CHATFLOW_ROBOT_KEY": "k", "CHATFLOW_ROBOT_TOKEN": "t", "CHATFLOW_USERNAME": "u"}
    older = {"INGEST_DATABASE_URL": "postgresql+psycopg://ingest:pw@h/x", "POSTGRES_PASSWORD": "pw"}
    for name, value in older.items():
        (tmp_path / name).write_text(value, encoding="utf-8")
    subprocess.run(
        [deploy_files.DEPLOY / "init-secrets", tmp_path],
        env=given | {"PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )

    made = {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}
    assert made.items() >= older.items()
    assert made["OWNER_DATABASE_URL"] == older["INGEST_DATABASE_URL"]
    assert made["READER_DATABASE_URL"] == older["INGEST_DATABASE_URL"]
    assert "ALTER" not in made["roles.sql"]


def test_the_example_of_profiles_is_accepted(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = (deploy_files.DEPLOY / "config/profiles.example.toml").read_text(encoding="utf-8")
    (tmp_path / "profiles.toml").write_text(
        text.replace("/run/secrets/", f"{tmp_path}/"), encoding="utf-8"
    )
    for name in ("STAGING_ROBOT_KEY", "STAGING_ROBOT_TOKEN"):
        (tmp_path / name).write_text("secret", encoding="utf-8")
    monkeypatch.setenv("STAGING_USERNAME", "a@example.com")

    read = Settings.load(
        CHATFLOW_BASE_URL="https://chatflow.example.com", INGEST_PROFILES="profiles.toml"
    )

    assert read.profile_names() == ["default", "contracts", "staging"]
    assert read.profile("staging").missing() == []
    assert read.profile("contracts", complete=False).rate_limit == 5


def test_the_example_of_schedules_is_toml_with_one_schedule():
    text = (deploy_files.DEPLOY / "config/schedules.example.toml").read_text(encoding="utf-8")

    assert [entry["name"] for entry in tomllib.loads(text)["schedule"]] == ["nightly-calls"]
