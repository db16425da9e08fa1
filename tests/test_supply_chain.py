import pytest

from tests.supply_chain import is_allowed, licence, verdict


@pytest.mark.parametrize(
    "told", ["MIT", "MPL-2.0 AND (Apache-2.0 OR MIT)", "Apache Software License; BSD License"]
)
def test_licences_that_users_can_live_with_are_allowed(told):
    assert is_allowed(told)


@pytest.mark.parametrize(
    "told", ["UNKNOWN", "", "AGPL-3.0-only", "MIT AND GPL-3.0-or-later", "My own (MIT)"]
)
def test_any_other_licence_is_not(told):
    assert not is_allowed(told)


def test_a_text_in_place_of_a_name_is_believed_only_as_it_was_read():
    text = "Copyright\n* Neither the name of the copyright holder nor the names of its\n"

    assert licence("httpx-aiohttp", text) == "BSD-3-Clause"
    assert not is_allowed(licence("httpx-aiohttp", "Copyright\nAll rights reserved."))
    assert not is_allowed(licence("another", text))


def test_a_package_that_was_not_looked_up_is_not_called_safe():
    advisory = {"id": "PYSEC-2027-1", "fix_versions": ["2.0"]}
    report = {
        "dependencies": [
            {"name": "good", "version": "1.0", "vulns": []},
            {"name": "bad", "version": "1.0", "vulns": [advisory]},
            {"name": "private", "skip_reason": "not found"},
        ]
    }

    assert verdict(report) == (["bad 1.0: PYSEC-2027-1 (mended in 2.0)"], ["private"], 2)
