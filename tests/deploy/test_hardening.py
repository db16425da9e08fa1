"""What the files of deploy/ promise about images, privileges and stopping."""

import re

import pytest

from tests.deploy import deploy_files

DRAIN = 30  # seconds a worker may take to hand back what it holds


def images():
    text = (deploy_files.DEPLOY / "Containerfile").read_text(encoding="utf-8")
    yield from re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", text, re.MULTILINE)
    yield from (service["image"] for service in deploy_files.compose()["services"].values())
    yield from (container["image"] for container in deploy_files.containers().values())


def test_every_image_has_a_version():
    found = list(images())

    assert len(found) > 8
    assert [i for i in found if i.endswith(":latest") or ":" not in i.rpartition("/")[2]] == []


def test_the_image_stops_by_sigterm_as_a_numbered_user_from_hashed_packages():
    text = (deploy_files.DEPLOY / "Containerfile").read_text(encoding="utf-8")
    last_stage = text[text.rindex("\nFROM ") :]

    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last_stage, re.MULTILINE)
    assert "\nSTOPSIGNAL SIGTERM\n" in last_stage
    assert "pip install --require-hashes" in text


def test_the_image_is_built_from_nothing_but_what_it_names():
    text = (deploy_files.DEPLOY / "Containerfile").read_text(encoding="utf-8")
    ignore = (
        (deploy_files.DEPLOY / "Containerfile.dockerignore")
        .read_text(encoding="utf-8")
        .splitlines()
    )
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
        for word in line.split()
    }

    assert "*" in ignore
    assert {line.lstrip("!") for line in ignore if line.startswith("!")} == copied
    assert [name for name in copied if not (deploy_files.ROOT / name).exists()] == []


@pytest.mark.parametrize("name", deploy_files.own_services())
def test_compose_services_of_ours_are_locked_down_and_may_drain(name):
    service = deploy_files.own_services()[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["tmpfs"]
    assert int(service["stop_grace_period"].removesuffix("s")) > DRAIN


def test_database_and_broker_are_reached_from_inside_alone():
    compose = deploy_files.compose()

    assert compose["networks"]["backend"]["internal"] is True
    for name in ("postgres", "redis"):
        assert compose["services"][name]["networks"] == ["backend"]
        assert "ports" not in compose["services"][name]


def test_compose_publishes_on_loopback_only():
    published = [
        p
        for service in deploy_files.compose()["services"].values()
        for p in service.get("ports", [])
    ]

    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_flower_holds_no_credentials_of_the_service():
    flower = deploy_files.own_services()["flower"]
    unit = deploy_files.units()["chatflow-ingest-flower.service"]["Service"]["LoadCredential"]

    assert not any("ROBOT" in name for name in flower["secrets"])
    assert set(mounted("chatflow-ingest-flower")) == {"INGEST_BROKER_URL", "INGEST_DATABASE_URL"}
    assert "ROBOT" not in unit


ALL_OF_IT = [{"path": "INGEST_DATABASE_URL"}]  # a secret that is mounted whole; the one asked for


def mounted(pod):
    """The files of a pod's secrets, each with the secret that it comes from."""
    volume = next(v for v in deploy_files.pods()[pod]["volumes"] if v["name"] == "secrets")
    sources = [each["secret"] for each in volume.get("projected", {}).get("sources", [volume])]
    return {
        item["path"]: source.get("name", source.get("secretName"))
        for source in sources
        for item in source.get("items", ALL_OF_IT)
    }


def test_each_process_has_its_own_role_in_the_database():
    services = deploy_files.own_services()
    targets = {
        name: {s["target"]: s["source"] for s in service["secrets"] if isinstance(s, dict)}
        for name, service in services.items()
    }
    script = (deploy_files.DEPLOY / "database/postgresql.sql").read_text(encoding="utf-8")
    examples = {
        m["metadata"]["name"]: m["stringData"]["INGEST_DATABASE_URL"]
        for m in deploy_files.manifests()
        if m["kind"] == "Secret"
    }

    assert targets["migrate"] == {"INGEST_DATABASE_URL": "OWNER_DATABASE_URL"}
    assert targets["flower"] == {"INGEST_DATABASE_URL": "READER_DATABASE_URL"}
    assert "INGEST_DATABASE_URL" in services["worker"]["secrets"]
    for pod, role in {"migrate": "owner", "worker": "worker", "flower": "reader"}.items():
        url = examples[mounted(f"chatflow-ingest-{pod}")["INGEST_DATABASE_URL"]]
        assert f"//ingest_{role}:" in url
        assert f"'ingest_{role}'" in script


@pytest.mark.parametrize("name", deploy_files.pods())
def test_pods_are_locked_down(name):
    pod = deploy_files.pods()[name]

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "limits" in container["resources"]


def test_pods_that_work_may_drain():
    assert deploy_files.pods()["chatflow-ingest-worker"]["terminationGracePeriodSeconds"] > DRAIN


def test_selectors_find_their_pods():
    labels = [
        m["spec"]["template"]["metadata"]["labels"]
        for m in deploy_files.manifests()
        if m["kind"] == "Deployment"
    ]
    for manifest in deploy_files.manifests():
        selector = manifest.get("spec", {}).get("selector", {})
        if selector:
            assert selector.get("matchLabels", selector) in labels


@pytest.mark.parametrize("name", deploy_files.units())
def test_units_are_locked_down(name):
    service = deploy_files.units()[name]["Service"]

    assert service["User"] == "chatflow-ingest"
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""


@pytest.mark.parametrize(
    "name", [n for n, u in deploy_files.units().items() if u["Service"]["Type"] == "exec"]
)
def test_units_that_stay_are_stopped_gently_and_started_again(name):
    service = deploy_files.units()[name]["Service"]

    assert service["KillSignal"] == "SIGTERM"
    assert service["KillMode"] == "mixed"
    assert int(service["TimeoutStopSec"]) > DRAIN
    assert service["Restart"] == "always"
