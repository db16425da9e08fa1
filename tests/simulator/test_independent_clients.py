"""Clients that know nothing of this project, and work with the live service, work here whole."""

import ast
import inspect

import pytest

from tests.simulator.clients import by_hand, in_a_browser, with_a_library
from worker.simulator import Simulator

pytestmark = pytest.mark.anyio

SOON = {"time_to_ready": {"kind": "fixed", "seconds": 0.15}}
CLIENTS = {
    "with a library": with_a_library.ChatClient,
    "by hand": by_hand.HandMade,
    "in a browser": in_a_browser.Page,
}


async def ingested(kind, name, scenario):
    """Run a client from dialog to contents; what it got, what it said, and what was taken."""
    async with Simulator(SOON | scenario) as simulator:
        client = CLIENTS[kind](simulator.url, "demo-key", "demo-token", "demo")
        data = await client.ingest(name, b"the bytes of " + name.encode())
        (entry,) = simulator.ledger()["uploads"]
        return data, client.said, entry


@pytest.mark.parametrize(
    ("kind", "name", "scenario"),
    [
        ("with a library", "call.wav", {}),
        ("with a library", "call.wav", {"jump": "empty_question"}),
        ("by hand", "call.wav", {}),
        ("by hand", "scan.png", {"image_methods": True}),
        ("by hand", "call.wav", {"jump": "direct"}),
        ("in a browser", "scan.png", {"image_methods": True}),
        ("in a browser", "scan.png", {"image_methods": True, "ocr_mode": True}),
    ],
)
async def test_a_client_gets_its_contents(kind, name, scenario):
    data, said, entry = await ingested(kind, name, scenario)

    assert f"message1 of {name}" in data["parse_content"]
    assert data["status"] == (8 if scenario.get("ocr_mode") else 5)
    assert entry["taken"]
    assert entry["size"] == len("the bytes of ") + len(name)
    assert entry["last_status"] == data["status"]
    assert said[-1] == f"status {data['status']}"


async def test_the_browser_s_prompt_arrives_with_its_own_line_ends():
    _, _, entry = await ingested("in a browser", "scan.png", {"image_methods": True})

    assert "\r\n" in entry["fields"]["parse_prompt"]


@pytest.mark.parametrize("kind", sorted(CLIENTS))
async def test_none_of_them_satisfies_the_strict_service(kind):
    with pytest.raises(Exception, match=r"401|404|closed"):
        await ingested(kind, "scan.png", {"strict": True, "image_methods": True})


@pytest.mark.parametrize("module", [by_hand, in_a_browser, with_a_library])
def test_they_share_no_code_with_the_package(module):
    tree = ast.walk(ast.parse(inspect.getsource(module)))
    imported = [
        name
        for node in tree
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    ]

    assert imported
    assert not [name for name in imported if name.startswith(("worker", "tests"))]
