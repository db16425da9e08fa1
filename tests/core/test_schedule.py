from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.core.schedule import Schedule, last_due_before, next_due, parse_schedules
from worker.errors import ConfigurationError

FULL = """
[[schedule]]
name = "nightly-calls"
cron = "0 2 * * *"
timezone = "Asia/Shanghai"
paths = ["/data/calls"]
glob = "*.wav"
recursive = true
profile = "second"
category = "Audio test"
stable_for = 2
after = "move:/data/done"
"""


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_schedules(text, "s.toml")
    return list(caught.value.faults)


def table(**fields: str) -> str:
    values = {"name": '"n"', "cron": '"0 2 * * *"', "paths": '["/in"]'} | fields
    return "[[schedule]]\n" + "\n".join(f"{k} = {v}" for k, v in values.items() if v) + "\n"


def test_a_full_schedule_is_read() -> None:
    (schedule,) = parse_schedules(FULL, "s.toml")
    assert schedule == Schedule(
        name="nightly-calls",
        cron="0 2 * * *",
        timezone="Asia/Shanghai",
        paths=("/data/calls",),
        glob="*.wav",
        recursive=True,
        profile="second",
        category="Audio test",
        stable_for=2.0,
        after="move:/data/done",
    )


def test_defaults() -> None:
    (schedule,) = parse_schedules(table(), "s.toml")
    assert schedule.timezone == "UTC"
    assert schedule.glob is None
    assert not schedule.recursive
    assert schedule.profile == "default"
    assert schedule.category is None
    assert schedule.stable_for == 5.0
    assert schedule.after == "leave"


def test_an_empty_file_has_no_schedules() -> None:
    assert parse_schedules("", "s.toml") == ()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"cron": '"* * *"'}, "cron: write five fields"),
        ({"cron": '"0 0 2 * * *"'}, "cron: write five fields"),
        ({"cron": '"61 * * * *"'}, "cron: '61 * * * *' is not a possible time: Bad minute"),
        ({"cron": '"0 0 30 2 *"'}, "cron: '0 0 30 2 *' is not a possible time"),
        ({"cron": '"x * * * *"'}, "cron: 'x * * * *' is not a possible time"),
        ({"cron": ""}, "cron: not set"),
        ({"paths": ""}, "paths: not set"),
        ({"paths": "[]"}, "paths: name at least one path"),
        ({"paths": '[""]'}, "paths: name at least one path"),
        ({"paths": '"/in"'}, "paths: Input should be a valid tuple"),
        ({"timezone": '"Mars/Olympus"'}, "timezone: unknown time zone 'Mars/Olympus'"),
        ({"timezone": '"../etc"'}, "timezone: unknown time zone"),
        ({"timezone": '""'}, "timezone: unknown time zone"),
        ({"timezone": '"Europe"'}, "timezone: unknown time zone"),
        ({"recursive": '"yes"'}, "recursive: Input should be a valid boolean"),
        ({"stable_for": "-1"}, "stable_for: Input should be greater than or equal to 0"),
        ({"stable_for": "nan"}, "stable_for: "),
        ({"after": '"burn"'}, "after: write"),
        ({"after": '"move:done"'}, "after: the folder of 'move:done' must be an absolute path"),
        ({"after": '"move:"'}, "after: the folder of 'move:' must be"),
        ({"after": '"move:/in"'}, "after: 'move:/in' moves files into the watched /in"),
        (
            {"after": '"delete"', "paths": '["https://h/x/"]'},
            "after: 'delete' works on local files",
        ),
        ({"after": '"move:s3://b/done"'}, "after: 'move:s3://b/done' is in another store than /in"),
        (
            {"after": '"move:/done"', "paths": '["s3://b/x"]'},
            "after: 'move:/done' is in another store than s3://b/x",
        ),
        (
            {"after": '"move:sftp://i/done"', "paths": '["sftp://h/x"]'},
            "after: 'move:sftp://i/done' is in another store than sftp://h/x",
        ),
        (
            {"after": '"move:s3://b/in"', "paths": '["s3://b/in/"]'},
            "after: 'move:s3://b/in' moves files into the watched s3://b/in/",
        ),
        ({"paths": '["sftp://u:hunter2@h/x"]'}, "paths: the address holds a password"),
        ({"after": '"move:sftp://u:hunter2@h/x"'}, "after: the address holds a password"),
        ({"crom": '"0 2 * * *"'}, "crom: no such field"),
    ],
)
def test_a_fault_names_file_schedule_and_field(fields: dict[str, str], said: str) -> None:
    (fault,) = faults(table(**fields))
    assert fault.startswith(f"INGEST_SCHEDULES s.toml: schedule 'n': {said}")
    assert "\n" not in fault
    assert "hunter2" not in fault


def test_a_folder_below_a_watched_one_may_take_files_unless_it_is_watched_too() -> None:
    inside = table(after='"move:/in/done"')
    assert parse_schedules(inside, "s.toml")
    assert "moves files into" in faults(inside + "recursive = true\n")[0]


def test_a_store_may_move_and_delete_within_itself() -> None:
    for path, after in {
        "s3://b/in": "move:s3://archive/done",
        "sftp://h:22/in": "move:sftp://H/done",
        "az://c/in": "delete",
    }.items():
        (schedule,) = parse_schedules(table(paths=f'["{path}"]', after=f'"{after}"'), "s.toml")
        assert schedule.after == after
    deep = table(paths='["s3://b/in"]', after='"move:s3://b/in/done"')
    assert parse_schedules(deep, "s.toml")
    assert "moves files into" in faults(deep + "recursive = true\n")[0]


def test_all_faults_are_told_at_once() -> None:
    text = table(cron='"bad"', timezone='"Nowhere"') + table(name="", paths="") + "[other]\n"
    told = faults(text)
    assert len(told) == 5
    assert sum("schedule 'n'" in line for line in told) == 2
    assert sum("schedule number 2" in line for line in told) == 2
    assert sum("unknown table or key 'other'" in line for line in told) == 1


def test_names_are_used_once() -> None:
    assert faults(table() + table()) == [
        "INGEST_SCHEDULES s.toml: schedule 'n': name: used more than once"
    ]


@pytest.mark.parametrize("text", ["[schedule]\nname = 'x'\n", "schedule = 3\n", "schedule = [3]\n"])
def test_other_shapes_are_told(text: str) -> None:
    assert faults(text)


def test_broken_toml_is_told_with_its_place() -> None:
    (fault,) = faults("[[schedule]\n")
    assert fault.startswith("INGEST_SCHEDULES s.toml: ")
    assert "line 1" in fault


# --- due times -----------------------------------------------------------------------------------


def on(cron: str, zone: str = "UTC") -> Schedule:
    return Schedule(name="n", cron=cron, timezone=zone, paths=("/in",))


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def dues(schedule: Schedule, start: float, end: float) -> list[float]:
    found, due = [], start
    while (due := next_due(schedule, due)) <= end:
        found.append(due)
    return found


def test_a_nightly_schedule_is_read_in_its_zone() -> None:
    nightly = on("0 2 * * *", "Asia/Shanghai")
    assert next_due(nightly, at("2026-11-22T00:00")) == at("2026-11-22T18:00")
    assert last_due_before(nightly, at("2026-11-22T18:00")) == at("2026-11-22T18:00")
    assert last_due_before(nightly, at("2026-11-22T17:59:59.9")) == at("2026-11-21T18:00")


def test_a_time_that_the_clock_skips_fires_once_right_after_the_gap() -> None:
    # Berlin, 29 March 2026: 02:00 became 03:00, at 01:00 UTC.
    for cron in ("30 2 * * *", "*/30 2 * * *", "0 */2 * * *"):
        fired = dues(on(cron, "Europe/Berlin"), at("2026-03-29T00:30"), at("2026-03-29T01:30"))
        assert fired == [at("2026-03-29T01:00")], cron


def test_a_time_that_the_clock_repeats_fires_the_first_time_only() -> None:
    # Berlin, 25 October 2026: 03:00 became 02:00, at 01:00 UTC.
    fired = dues(on("30 2 * * *", "Europe/Berlin"), at("2026-10-24T12:00"), at("2026-10-25T12:00"))
    assert fired == [at("2026-10-25T00:30")]
    assert next_due(on("30 2 * * *", "Europe/Berlin"), at("2026-10-25T01:10")) == at(
        "2026-10-26T01:30"
    )


def test_an_hourly_schedule_goes_on_through_the_repeated_hour() -> None:
    fired = dues(on("0 * * * *", "Europe/Berlin"), at("2026-10-24T23:30"), at("2026-10-25T02:30"))
    assert fired == [at(f"2026-10-25T0{hour}:00") for hour in range(3)]


def test_a_leap_day_is_found_years_away() -> None:
    leap = on("0 0 29 2 *")
    assert next_due(leap, at("2026-01-01T00:00")) == at("2028-02-29T00:00")
    assert last_due_before(leap, at("2028-02-28T00:00")) == at("2024-02-29T00:00")


ZONES = (
    "UTC",
    "Asia/Shanghai",
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",  # the gap is at midnight
    "America/Havana",
    "Australia/Lord_Howe",  # half an hour
    "Asia/Kathmandu",  # +05:45
    "Antarctica/Troll",  # two hours
    "Pacific/Apia",
)
MINUTES = st.sampled_from(["*", "*/30", "0", "30", "0,59", "*/7", "15-20"])
HOURS = st.sampled_from(["*", "*/2", "*/3", "0", "1", "2", "3", "0-4", "23", "2,14"])
DAYS = st.sampled_from(["* * *", "* * 1-5", "* * SUN", "*/2 * *", "1-15 * *", "* 3,10 *"])
CRONS = st.tuples(MINUTES, HOURS, DAYS).map(" ".join)


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, float]:
    """A zone and a moment within a day of one of its clock changes, if it has any."""
    zone = draw(st.sampled_from(ZONES))
    changes = _changes(zone) or [at("2026-06-01T00:00")]
    return zone, draw(st.sampled_from(changes)) + draw(st.integers(-24 * 60, 12 * 60)) * 60.0


_KNOWN: dict[str, list[float]] = {}


def _changes(zone: str) -> list[float]:
    if zone not in _KNOWN:
        start, place = at("2026-01-01T00:00"), ZoneInfo(zone)
        offsets = [
            (t, datetime.fromtimestamp(t, place).utcoffset())
            for t in (start + 1800 * step for step in range(366 * 48))
        ]
        _KNOWN[zone] = [b[0] for a, b in pairwise(offsets) if a[1] != b[1]]
    return _KNOWN[zone]


def _matches(cron: str, wall: datetime) -> bool:
    """Whether a wall time is one the fields name, by asking for the next after the minute before."""
    plain = Schedule(name="n", cron=cron, timezone="UTC", paths=("/in",))
    moment = wall.replace(tzinfo=UTC).timestamp()
    return next_due(plain, moment - 60) == moment


def _model(cron: str, zone: str, start: float, minutes: int) -> list[float]:
    """The definition, minute by minute: a clock's hand that passes the named times."""
    place, fired = ZoneInfo(zone), []
    warm_up = 26 * 60
    shown = datetime.fromtimestamp(start - warm_up * 60, place).replace(tzinfo=None)
    for step in range(-warm_up + 1, minutes + 1):
        moment = start + step * 60
        wall = datetime.fromtimestamp(moment, place).replace(tzinfo=None)
        if cron.split()[1] == "*":
            due = _matches(cron, wall)
        else:
            passed = int((wall - shown) / timedelta(minutes=1))
            due = any(_matches(cron, shown + timedelta(minutes=n + 1)) for n in range(passed))
            shown = max(shown, wall)
        if due and step > 0:
            fired.append(moment)
    return fired


@settings(max_examples=12)
@given(CRONS, moments())
def test_due_times_are_those_of_the_clock(cron: str, moment: tuple[str, float]) -> None:
    zone, start = moment
    assert dues(on(cron, zone), start, start + 18 * 3600) == _model(cron, zone, start, 18 * 60)


@settings(max_examples=200)
@given(CRONS, moments(), st.floats(0, 59))
def test_last_and_next_enclose_the_moment(
    cron: str, moment: tuple[str, float], seconds: float
) -> None:
    schedule, now = on(cron, moment[0]), moment[1] + seconds
    last, following = last_due_before(schedule, now), next_due(schedule, now)
    assert last <= now < following
    assert next_due(schedule, last) == following
    assert last_due_before(schedule, following) == following


def test_a_schedule_file_nested_without_end_is_refused():
    with pytest.raises(ConfigurationError, match="nested too deeply"):
        parse_schedules("x = " + "[" * 5000 + "]" * 5000, "schedules.toml")
