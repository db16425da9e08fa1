"""Configuration: every fault names its variable, and no secret is shown."""

from __future__ import annotations

from base64 import b64encode

import pytest

from worker.adapters.database import open_store
from worker.core.timings import Timings
from worker.errors import ConfigurationError
from worker.settings import Settings
from worker.settings.service import ServiceSettings

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


@pytest.mark.parametrize("text", ["5,7,8", " 8, 7,5 ", "7,5,8,8"])
def test_status_8_may_be_added_to_the_successes(environment, text):
    assert environment().success_statuses == (5, 7)
    assert environment(CHATFLOW_SUCCESS_STATUSES=text).success_statuses == (5, 7, 8)


@pytest.mark.parametrize("text", ["8", "5,8", "5,7,6", "5;7", "all", "5,7,8.0", "5,7,"])
def test_other_successes_are_refused_at_the_start(environment, text):
    with pytest.raises(ConfigurationError, match="CHATFLOW_SUCCESS_STATUSES: write 5,7"):
        environment(CHATFLOW_SUCCESS_STATUSES=text)


@pytest.mark.parametrize("value", ["[5, 7, 8]", '"5,7,8"'])
def test_a_profile_has_successes_of_its_own(environment, tmp_path, value):
    path = profiles(tmp_path, f"[profiles.ocr]\nsuccess_statuses = {value}\n")
    settings = environment(**SERVICE, INGEST_PROFILES=path)
    assert settings.profile("ocr").success_statuses == (5, 7, 8)
    assert settings.profile().success_statuses == (5, 7)


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


@pytest.mark.parametrize(
    "secret",
    [
        "whsec_",
        "whsec_!!!",
        "whsec_" + "A" * 28,  # 21 bytes
        "whsec_" + "A" * 88,  # 66 bytes
        "whsec_" + "-_" * 16,  # base64 for addresses, of which the library drops two characters
        "whsec_" + "A" * 31,  # not padded
        "whsec_" + "A" * 16 + " " + "A" * 16,
        "A" * 32,
    ],
)
def test_a_webhook_secret_that_signs_with_another_key_is_refused(monkeypatch, secret):
    monkeypatch.setenv("INGEST_WEBHOOK_SECRET", secret)
    with pytest.raises(ConfigurationError, match="INGEST_WEBHOOK_SECRET") as refused:
        Settings.load()
    assert secret == "whsec_" or secret not in str(refused.value)


def test_a_webhook_secret_of_24_to_64_bytes_is_taken(monkeypatch):
    for size in (24, 48, 64):
        monkeypatch.setenv("INGEST_WEBHOOK_SECRET", "whsec_" + b64encode(bytes(size)).decode())
        assert Settings.load().webhook_secret is not None


BOUNDED = {
    "rate_limit": ["0", "-5", "inf", "nan", "9" * 400, "1e-9", "1000001"],
    "poll_rate_limit": ["0", "inf"],
    "poll_deadline": ["0", "-1", "inf", "nan", "1000000000000"],
    "dialog_timeout": ["0", "inf", "nan", "1e9"],
    "max_concurrent_uploads": ["0", "-1", "100000000000000000000", "1.5", "1e20"],
    "max_upload_attempts": ["0", "1000000", "9" * 5000],
    "max_file_bytes": ["0", "-1", "9" * 5000, "1" + "0" * 30],
    "poll_price": ["0", "inf", "nan"],
    "unreachable_after": ["0", "inf", "nan"],
    "break_after": ["0", "-1", "1.5", "1000001", "9" * 5000],
    "reuse_results": ["0", "-1", "inf", "4000d", "9" * 40, "a month"],
}


@pytest.mark.parametrize("name", BOUNDED)
def test_a_number_has_bounds_as_a_variable_and_as_its_twin(monkeypatch, tmp_path, name):
    variable = str(ServiceSettings.model_fields[name].alias)
    for value in BOUNDED[name]:
        monkeypatch.setenv(variable, value)
        with pytest.raises(ConfigurationError, match=variable) as refused:
            Settings.load()
        assert len(str(refused.value)) < 300
    monkeypatch.delenv(variable)
    profiles = tmp_path / "profiles.toml"
    monkeypatch.setenv("INGEST_PROFILES", str(profiles))
    for value in BOUNDED[name]:
        for written in (value, f'"{value}"'):
            profiles.write_text(f"[profiles.second]\n{name} = {written}\n")
            with pytest.raises(ConfigurationError, match="INGEST_PROFILES"):
                Settings.load().profile("second", complete=False)


def test_a_switch_is_no_number(monkeypatch, tmp_path):
    profiles = tmp_path / "profiles.toml"
    profiles.write_text("[profiles.second]\nmax_concurrent_uploads = true\n")
    monkeypatch.setenv("INGEST_PROFILES", str(profiles))
    with pytest.raises(ConfigurationError, match=r"max_concurrent_uploads|CONCURRENT"):
        Settings.load().profile("second", complete=False)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@h:notaport/x",
        "postgresql://u:secret@h:99999/x",
        "postgresql+foo://u:secret@h/x",
        "postgresql+psycopg2://u:secret@h/x",
        "mysql+mysqldb://u:secret@h/x",
        "sqlite+aiosqlite:///x.db",
        "sqlite://",
    ],
)
def test_a_database_address_that_can_not_work_is_refused_in_one_line(monkeypatch, url):
    monkeypatch.setenv("INGEST_DATABASE_URL", url)
    with pytest.raises(ConfigurationError, match="INGEST_DATABASE_URL") as refused:
        open_store(Settings.load().database_url)
    assert "secret" not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_file_of_settings_that_is_no_text_is_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(b"CHATFLOW_QUESTION=\xff\n")
    with pytest.raises(ConfigurationError, match=r"\.env"):
        Settings.load()


@pytest.mark.parametrize("kind", ["no text", "dangling link"])
def test_a_secret_that_can_not_be_read_is_named(monkeypatch, tmp_path, kind):
    secret = tmp_path / "CHATFLOW_ROBOT_TOKEN"
    if kind == "no text":
        secret.write_bytes(b"\xff\xfe")
    else:
        secret.symlink_to(tmp_path / "gone")
    monkeypatch.setenv("INGEST_SECRETS_DIR", str(tmp_path))
    with pytest.raises(ConfigurationError, match="CHATFLOW_ROBOT_TOKEN"):
        Settings.load()


@pytest.mark.parametrize(
    "text",
    ["profiles = 5", "profiles = [1]", "[profiles]\nx = 5", "x = " + "[" * 5000 + "]" * 5000],
)
def test_a_profiles_file_of_another_shape_is_refused(monkeypatch, tmp_path, text):
    profiles = tmp_path / "profiles.toml"
    profiles.write_text(text)
    monkeypatch.setenv("INGEST_PROFILES", str(profiles))
    with pytest.raises(ConfigurationError, match="INGEST_PROFILES"):
        Settings.load()


def test_timings_are_set_by_name_and_hold_the_others(monkeypatch):
    monkeypatch.setenv("INGEST_TIMINGS", '{"lease": 30, "renew_every": 5}')
    assert Settings.load().timings == Timings(lease=30.0, renew_every=5.0)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"leese": 30}', "leese"),
        ('{"lease": "long"}', "lease"),
        ('{"lease": 30}', "renew_every"),
        ("30", "INGEST_TIMINGS"),
        ("soon", "JSON object"),
    ],
)
def test_timings_that_make_no_sense_are_refused_by_name(monkeypatch, text, word):
    monkeypatch.setenv("INGEST_TIMINGS", text)
    with pytest.raises(ConfigurationError, match=word):
        Settings.load()


SOURCE_OPTIONS = '{"s3": {"endpoint_url": "http://minio:9000", "secret": "hunter2!"}}'


@pytest.mark.parametrize("as_file", [False, True])
def test_options_of_sources_are_json_or_a_file_of_it(environment, tmp_path, as_file):
    (tmp_path / "options.json").write_text(SOURCE_OPTIONS)
    settings = environment(INGEST_SOURCE_OPTIONS="options.json" if as_file else SOURCE_OPTIONS)
    assert settings.source_options.of("s3://calls/a.wav")["endpoint_url"] == "http://minio:9000"
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("nowhere.json", "No such file"),
        ('{"s3": hunter2!}', "JSON object"),
        ('{"s3": "hunter2!"}', "s3: write a JSON object"),
        ('{"sftp://me:hunter2!@host": {}}', "secret"),
        ('["hunter2!"]', "INGEST_SOURCE_OPTIONS"),
    ],
)
def test_options_of_sources_that_make_no_sense_are_refused_unsaid(environment, text, word):
    (fault,) = faults(environment, INGEST_SOURCE_OPTIONS=text)
    assert fault.startswith("INGEST_SOURCE_OPTIONS")
    assert word in fault
    assert "hunter2" not in fault


def test_a_root_with_a_password_is_refused_with_the_cure(environment):
    for root in ("sftp://me:hunter2!@host/in", "https://h/in?sig=hunter2!"):
        (fault,) = faults(environment, INGEST_ROOTS=f"/data,{root}")
        assert "INGEST_ROOTS" in fault
        assert "INGEST_SOURCE_OPTIONS" in fault
        assert "hunter2" not in fault
