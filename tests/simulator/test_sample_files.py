import io
import re
import wave
import zipfile
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from worker.simulator import DEMO_SCENARIO, load_scenario, write_samples

pytestmark = pytest.mark.anyio


@pytest.fixture
def samples(tmp_path):
    return {path.name: path.read_bytes() for path in write_samples(tmp_path / "new")}


def test_the_same_files_are_written_every_time(tmp_path, samples):
    assert {path.name: path.read_bytes() for path in write_samples(tmp_path)} == samples
    assert {name.rpartition(".")[2] for name in samples} == {
        "wav", "pdf", "docx", "png", "txt", "xyz",
    }  # fmt: skip


def test_the_recording_holds_a_tone(samples):
    with wave.open(io.BytesIO(samples["morning-call.wav"])) as recording:
        frames = recording.readframes(recording.getnframes())

    assert recording.getframerate() == 8000
    assert len(set(frames)) > 100


def test_the_page_s_table_points_at_its_objects(samples):
    page = samples["agreement.pdf"]
    table = int(re.search(rb"startxref\n(\d+)\n%%EOF", page)[1])
    places = [int(place) for place in re.findall(rb"(\d{10}) 00000 n", page[table:])]
    length = int(re.search(rb"/Length (\d+)", page)[1])
    drawing = page.partition(b"stream\n")[2].partition(b"\nendstream")[0]

    assert page[table:].startswith(b"xref")
    assert all(
        page[place:].startswith(b"%d 0 obj" % number)
        for number, place in enumerate(places, start=1)
    )
    assert length == len(drawing)


def test_the_document_is_a_valid_package(samples):
    with zipfile.ZipFile(io.BytesIO(samples["minutes.docx"])) as archive:
        assert archive.testzip() is None
        parts = {name: ET.fromstring(archive.read(name)) for name in archive.namelist()}

    (relationship,) = parts["_rels/.rels"]
    assert relationship.attrib["Target"] in parts
    text = "".join(parts["word/document.xml"].itertext())
    assert text == "Minutes of the weekly meetingEverybody was there."


def test_the_picture_can_be_seen(samples):
    with Image.open(io.BytesIO(samples["waves.png"])) as picture:
        picture.load()

        assert picture.size == (96, 64)
        assert len(picture.getcolors(10_000)) > 100


async def test_the_demo_takes_what_it_should_and_fails_what_it_should(serving, samples):
    scenario = load_scenario(DEMO_SCENARIO)
    categories = {name: scenario.categories[place] for place, name in enumerate(("a", "d", "i"))}
    by_format = {"wav": "a", "pdf": "d", "docx": "d", "txt": "d", "png": "i"}
    ends = {}
    async with serving(scenario) as client:
        for name, content in samples.items():
            ending = name.rpartition(".")[2]
            if ending not in by_format:
                continue
            category = categories[by_format[ending]]
            methods = {m.file_format: m for m in category.customized_parse_methods}
            method = methods.get(ending, methods[""])
            file_id = await client.upload_id(
                name,
                content=content,
                extra_params=category.variable,
                parse_model=method.parse_model,
                parse_prompt=method.parse_prompt,
            )
            client.clock.forward(60)
            ends[name] = await client.data(file_id)

        assert {name: data["status"] for name, data in ends.items()} == {
            "morning-call.wav": 5,
            "agreement.pdf": 7,
            "minutes.docx": 5,
            "waves.png": 5,
            "notes.txt": 5,
            "broken-recording.wav": 6,
        }
        assert "no audio track" in ends["broken-recording.wav"]["error_msg"]
        assert not any(category.takes("floor-plan.xyz") for category in scenario.categories)
