"""The files in docker/ for compose, Kubernetes and Cloud Run, against what their readers accept.

Kubernetes: the API's own types, as python3-kubernetes has them. Compose: the schema in docker-compose. Cloud Run has
no schema in Debian; what it adds around Kubernetes' containers is the table below, from its reference.
"""

import json
import pathlib
import re
import subprocess

import jsonschema
import pytest
import yaml
from kubernetes import client as kubernetes

from containers import EXAMPLES, HARDENED, TOP, eventually

DOCKER = TOP / "docker"
PLAIN = {"str": str, "int": int, "bool": bool, "float": float}

# Beside the types of Kubernetes: what a dictionary may hold, and which of it it must.
CLOUD_RUN = {
    "Service": {"apiVersion!": "str", "kind!": "str", "metadata!": "V1ObjectMeta", "spec!": "ServiceSpec"},
    "ServiceSpec": {"template!": "RevisionTemplate", "traffic": "list[object]"},
    "RevisionTemplate": {"metadata": "V1ObjectMeta", "spec!": "RevisionSpec"},
    "RevisionSpec": {"containerConcurrency": "int", "timeoutSeconds": "int", "serviceAccountName": "str",
                     "containers!": "list[V1Container]", "volumes": "list[V1Volume]"},
    "Job": {"apiVersion!": "str", "kind!": "str", "metadata!": "V1ObjectMeta", "spec!": "JobSpec"},
    "JobSpec": {"template!": "ExecutionTemplate"},
    "ExecutionTemplate": {"metadata": "V1ObjectMeta", "spec!": "ExecutionSpec"},
    "ExecutionSpec": {"taskCount": "int", "parallelism": "int", "template!": "TaskTemplate"},
    "TaskTemplate": {"spec!": "TaskSpec"},
    "TaskSpec": {"maxRetries": "int", "timeoutSeconds": "int", "serviceAccountName": "str",
                 "containers!": "list[V1Container]", "volumes": "list[V1Volume]"},
}


def fields(name):
    """{field: (type, whether it must be there)}"""
    if name in CLOUD_RUN:
        return {field.rstrip("!"): (kind, field.endswith("!")) for field, kind in CLOUD_RUN[name].items()}
    model = getattr(kubernetes, name)
    found = {}
    for attribute, kind in model.openapi_types.items():
        found[model.attribute_map[attribute]] = (kind, refuses_none(model, attribute))
    return found


def refuses_none(model, attribute):
    """The model's own check, on an object that has been made without any."""
    settings = kubernetes.Configuration()
    empty = model.__new__(model)
    empty.local_vars_configuration = settings
    try:
        setattr(empty, attribute, None)
    except ValueError:
        return True
    return False


def complaints(value, kind, where):
    """What is wrong with a value of this type."""
    if kind in PLAIN:
        if type(value) is not PLAIN[kind]:
            yield f"{where}: {value!r} is no {kind}"
    elif kind.startswith("list["):
        for number, item in enumerate(value):
            yield from complaints(item, kind[5:-1], f"{where}[{number}]")
    elif kind.startswith("dict("):
        for key, item in value.items():
            yield from complaints(item, kind[5:-1].split(", ")[1], f"{where}.{key}")
    elif kind != "object":
        known = fields(kind)
        for key in value.keys() - known.keys():
            yield f"{where}: {kind} has no {key}"
        for key, (below, required) in known.items():
            if key in value:
                yield from complaints(value[key], below, f"{where}.{key}")
            elif required:
                yield f"{where}: {kind} lacks {key}"


def documents(name):
    return list(yaml.safe_load_all((DOCKER / name).read_text()))


@pytest.mark.parametrize("name, kinds", [
    # Types of 1.22: its v2beta2 is what became v2.
    ("kubernetes/hello.yaml", ["V1Deployment", "V1Service", "V2beta2HorizontalPodAutoscaler"]),
    ("cloudrun/service.yaml", ["Service"]),
    ("cloudrun/job.yaml", ["Job"]),
])
def test_the_types_are_right(name, kinds):
    found = documents(name)
    assert [document["kind"] for document in found] == [re.sub(r"V\d(beta\d)?", "", kind) for kind in kinds]
    for document, kind in zip(found, kinds):
        assert list(complaints(document, kind, name)) == []


@pytest.mark.parametrize("change, complaint", [
    (lambda pod: pod.update(terminationGracePeriod=35), "V1PodSpec has no terminationGracePeriod"),
    (lambda pod: pod.update(terminationGracePeriodSeconds="35"), "'35' is no int"),
    (lambda pod: pod["containers"][0].pop("name"), "V1Container lacks name"),
    (lambda pod: pod["containers"][0]["ports"][0].pop("containerPort"), "V1ContainerPort lacks containerPort"),
])
def test_a_mistake_would_be_seen(change, complaint):
    deployment = documents("kubernetes/hello.yaml")[0]
    change(deployment["spec"]["template"]["spec"])
    assert any(complaint in line for line in complaints(deployment, "V1Deployment", ""))


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]


def variables(container):
    return {item["name"]: item["value"] for item in container["env"]}


def test_kubernetes_waits_for_the_whole_stop():
    """preStop, then the report, then the time-out, and all of it before the kubelet kills."""
    pod = documents("kubernetes/hello.yaml")[0]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    settings = variables(container)
    before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    report, end = seconds(settings["PYENTRY_STOP_REPORT"]), seconds(settings["PYENTRY_STOP_TIMEOUT"])
    assert report < end
    assert before + end + 3 <= pod["terminationGracePeriodSeconds"]


def test_kubernetes_gives_no_right_away():
    pod = documents("kubernetes/hello.yaml")[0]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    assert "cpu" in container["resources"]["requests"] and container["resources"]["limits"]["cpu"] == "1"


@pytest.mark.parametrize("name, way", [
    ("cloudrun/service.yaml", ["template", "spec"]),
    ("cloudrun/job.yaml", ["template", "spec", "template", "spec"]),
])
def test_cloud_run_kills_after_pyentry_did(name, way):
    spec = documents(name)[0]["spec"]
    for step in way:
        spec = spec[step]
    settings = variables(spec["containers"][0])
    assert seconds(settings["PYENTRY_STOP_REPORT"]) < seconds(settings["PYENTRY_STOP_TIMEOUT"]) < 10


def test_the_pod_runs(start):
    """The container of the Deployment, with its image, variables and rights, under podman."""
    container = documents("kubernetes/hello.yaml")[0]["spec"]["template"]["spec"]["containers"][0]
    running = start(container["image"], env=variables(container),
                    options=[*HARDENED, f"--memory={container['resources']['limits']['memory'].replace('Mi', 'm')}"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        eventually(probe, lambda: running.answers(container[probe]["httpGet"]["path"]))
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert running.exec(command[0], "0") == ""
    assert running.stop() < 1.0
    assert running.status() == 143


def compose_schema():
    """The newest one that docker-compose has."""
    listed = subprocess.run(["dpkg", "-L", "docker-compose"], stdout=subprocess.PIPE, text=True, check=True).stdout
    path = next(path for path in listed.split() if path.endswith("/compose_spec.json"))
    return jsonschema.Draft7Validator(json.loads(pathlib.Path(path).read_text()))


def test_compose():
    """The merge key is YAML's: safe_load has applied it."""
    compose = documents("compose.yaml")[0]
    schema = compose_schema()
    schema.validate(compose)
    services = compose["services"]
    assert set(services) == {path.name for path in EXAMPLES.iterdir()} | {"redis"}
    for name, service in services.items():
        if name != "redis":
            assert (DOCKER / service["build"] / "Dockerfile").is_file()
            assert service["read_only"] and service["cap_drop"] == ["ALL"], name
    with pytest.raises(jsonschema.ValidationError):
        schema.validate({**compose, "services": {"hello": {"imaeg": "x"}}})
