"""Configuration: every fault names its variable, and no secret is shown."""

from __future__ import annotations

import pytest

from worker.errors import ConfigurationError
from worker.settings import Settings

SERVICE = {
    "CHATFLOW_BASE_URL": "https://chatflow.example.com/",
    "CHATFLOW_ROBOT_KEY": "key%3D",
    "CHATFLOW_ROBOT_TOKEN": "token%3D",
    "CHATFLOW_USERNAME": "somebody@example.com",
}


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """An environment of its own: nothing of the machine's, no .env file."""
    import os

    for name in list(os.environ):
        if name.startswith(("CHATFLOW_", "INGEST_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def given(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return Settings.load()

    return given


def faults(environment, **variables):
    with pytest.raises(ConfigurationError) as caught:
        environment(**variables)
    return caught.value.faults


def test_a_complete_profile(environment):
    profile = environment(**SERVICE).profile()
    assert profile.base_url == "https://chatflow.example.com"
    assert profile.credentials().robot_key == "key%3D"


def test_credentials_are_decoded_only_when_asked_to(environment):
    profile = environment(**SERVICE, CHATFLOW_DECODE_CREDENTIALS="on").profile()
    assert profile.credentials().robot_key == "key="


def test_what_is_missing_is_named_when_it_is_needed(environment):
    settings = environment()
    with pytest.raises(ConfigurationError) as caught:
        settings.profile()
    assert [fault.split(":")[0] for fault in caught.value.faults] == list(SERVICE)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CHATFLOW_BASE_URL", "chatflow.example.com"),
        ("CHATFLOW_BASE_URL", "https://user:pass@chatflow.example.com"),
        ("CHATFLOW_SETTLE_AT", "never"),
        ("CHATFLOW_DIALOG_TIMEOUT", "-1"),
        ("CHATFLOW_CA_BUNDLE", "/nowhere.pem"),
        ("INGEST_RATE_LIMIT", "fast"),
        ("INGEST_RATE_LIMIT", "0/s"),
        ("INGEST_MAX_UPLOAD_ATTEMPTS", "0"),
        ("INGEST_ON_UNKNOWN_UPLOAD", "guess"),
        ("INGEST_DATABASE_URL", "oracle://x"),
        ("INGEST_BROKER_URL", "sqs://"),
        ("INGEST_WEBHOOK_SECRET", "secret"),
        ("INGEST_SCHEDULES", "/nowhere.toml"),
        ("INGEST_SECRETS_DIR", "/nowhere"),
    ],
)
def test_a_wrong_value_names_its_variable(environment, variable, value):
    (fault,) = faults(environment, **{variable: value})
    assert fault.startswith(f"{variable}:")


def test_all_faults_are_told_at_once_and_no_secret_with_them(environment):
    told = faults(
        environment, CHATFLOW_BASE_URL="x", INGEST_RATE_LIMIT="y", INGEST_WEBHOOK_SECRET="hidden"
    )
    assert len(told) == 3
    assert "hidden" not in "\n".join(told)


@pytest.mark.parametrize(
    ("text", "rate"), [("20/s", 20.0), ("600/min", 10.0), ("7", 7.0), ("1800/h", 0.5), ("", None)]
)
def test_rates(environment, text, rate):
    assert environment(INGEST_RATE_LIMIT=text).rate_limit == rate


def test_lists_are_comma_separated_or_json(environment):
    assert environment(INGEST_ROOTS="/a, /b").roots == ["/a", "/b"]
    assert environment(INGEST_ROOTS='["/a,b"]').roots == ["/a,b"]


def test_secrets_come_from_a_folder(environment, tmp_path):
    (tmp_path / "CHATFLOW_ROBOT_KEY").write_text("from-a-file\n")
    settings = environment(
        **{**SERVICE, "CHATFLOW_ROBOT_KEY": ""}, INGEST_SECRETS_DIR=str(tmp_path)
    )
    assert settings.profile().credentials().robot_key == "from-a-file"


def profiles(tmp_path, text):
    path = tmp_path / "profiles.toml"
    path.write_text(text)
    return str(path)


def test_a_profile_differs_where_its_table_says_so(environment, tmp_path):
    path = profiles(tmp_path, '[profiles.calls]\nsettle_at = "flow"\nrate_limit = "5/s"\n')
    settings = environment(**SERVICE, INGEST_PROFILES=path)
    calls = settings.profile("calls")
    assert (calls.settle_at, calls.rate_limit) == ("flow", 5.0)
    assert calls.credentials() == settings.profile().credentials()
    assert settings.profile_names() == ["default", "calls"]


def test_credentials_do_not_follow_a_profile_to_another_address(environment, tmp_path):
    path = profiles(tmp_path, '[profiles.other]\nbase_url = "https://other.example.com"\n')
    settings = environment(**SERVICE, INGEST_PROFILES=path)
    with pytest.raises(ConfigurationError, match="CHATFLOW_ROBOT_KEY"):
        settings.profile("other")


def test_a_profiles_secrets_are_references(environment, tmp_path):
    (tmp_path / "token").write_text("from-a-file")
    path = profiles(
        tmp_path,
        f"""
        [profiles.other]
        base_url = "https://other.example.com"
        robot_key_env = "OTHER_KEY"
        robot_token_file = "{tmp_path / "token"}"
        username = "other"
        """,
    )
    other = environment(OTHER_KEY="from-env", INGEST_PROFILES=path).profile("other")
    assert other.credentials().robot_key == "from-env"
    assert other.credentials().robot_token == "from-a-file"


@pytest.mark.parametrize(
    "text",
    [
        '[profiles.a]\nrobot_key = "in clear"\n',
        '[profiles.a]\nrobot_key_env = "NOT_SET_ANYWHERE"\n',
        '[profiles.a]\nspeed = "high"\n',
        '[profile.a]\nsettle_at = "flow"\n',
        "not toml",
    ],
)
def test_a_faulty_profiles_file_is_refused(environment, tmp_path, text):
    told = faults(environment, INGEST_PROFILES=profiles(tmp_path, text))
    assert all(fault.startswith("INGEST_PROFILES") for fault in told)
    assert "in clear;" not in told[0].replace("no secret in clear;", "")


def test_no_repr_shows_a_secret(environment):
    settings = environment(**SERVICE, INGEST_DATABASE_URL="postgresql://u:hidden@h/db")
    shown = repr(settings) + repr(settings.profile()) + repr(settings.profile().credentials())
    for secret in ("key%3D", "token%3D", "somebody@example.com", "hidden"):
        assert secret not in shown
