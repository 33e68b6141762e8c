"""The chart, judged by Helm's own library and by the schemas of Kubernetes."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.harness.deployment import DEPLOY, LAUNCHER_STOP_MAX_S, installed, run

helm = pytest.importorskip("helm_python", reason="there is no wheel of Helm's library for this machine")

CHART = DEPLOY / "helm" / "agent-manager"
KUBERNETES = ("1.27", "1.33")
"""The oldest that Chart.yaml names, and a new one."""

VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "exposed": {"api": {"exposed": True}},
    "node only": {"api": {"enabled": False}},
    "sqlite, no policies": {
        "database": {"existingSecret": ""},
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
    },
    "everything set": {
        "nameOverride": "agents",
        "image": {"pullSecrets": [{"name": "registry"}], "node": {"repository": "r/node", "tag": "1"}},
        "nats": {"url": "tls://a:4222,tls://b:4222", "existingSecret": "n", "signingKeyKey": "signing.nk"},
        "node": {
            "packagesVolume": {"persistentVolumeClaim": {"claimName": "packages"}},
            "persistence": {"storageClass": "fast", "size": "1Gi"},
            "env": [{"name": "NO_COLOR", "value": "1"}],
            "annotations": {"a": "b"},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "agents", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
        },
        "networkPolicy": {"nodeEgress": [{"ports": [{"port": 443}]}]},
    },
}


def rendered(values: dict[str, Any]) -> dict[str, str]:
    """The templates' output by path."""
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        output: dict[str, str] = chart.render(values, name="demo", namespace="agents")
        return output


def objects(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The Kubernetes objects of a release."""
    manifests = (text for path, text in rendered(values).items() if path.endswith(".yaml"))
    return [each for text in manifests for each in yaml.safe_load_all(text) if each]


def of_kind(values: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The objects of a kind by name."""
    return {each["metadata"]["name"]: each for each in objects(values) if each["kind"] == kind}


def pods(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The specifications of all pods."""
    return [each["spec"]["template"]["spec"] for each in objects(values) if "template" in each.get("spec", {})]


def test_helm_finds_nothing_wrong() -> None:
    verdict = helm.lint(CHART, strict=True)
    assert verdict["errors"] == []
    assert [message["error"] for message in verdict["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_kubernetes_knows_every_field(variant: str, version: str) -> None:
    release = objects(VARIANTS[variant])
    assert len(release) >= 3
    for each in release:
        kubernetes_validate.validate(each, version, strict=True)


def test_its_files_and_what_it_renders_are_clean_yaml() -> None:
    lint = (installed("yamllint"), "--strict", "--config-file", DEPLOY.parent / ".yamllint")
    run(*lint, CHART / "Chart.yaml", CHART / "values.yaml")
    for path, text in rendered({}).items():
        if path.endswith(".yaml"):
            run(*lint, "-", input=text.strip() + "\n")


def test_the_schema_names_exactly_the_values_there_are() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

    def compare(part: Any, described: dict[str, Any], where: str) -> None:
        properties = described.get("properties")
        if properties is None:
            return
        assert set(properties) - {"global"} == set(part), where
        for key in part:
            compare(part[key], properties[key], f"{where}.{key}")

    compare(values, schema, "values")


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"node": {"replicas": 2}}, "replicas"),
        ({"nodes": {}}, "nodes"),
        ({"nats": {"url": "localhost:4222"}}, "url"),
        ({"api": {"port": 80}}, "port"),
        ({"node": {"terminationGracePeriodSeconds": 30}}, "terminationGracePeriodSeconds"),
    ],
)
def test_a_wrong_value_is_refused_by_name(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(helm.HelmError, match=complaint):
        rendered(values)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_pod_is_confined(variant: str) -> None:
    for pod in pods(VARIANTS[variant]):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 65532
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            confinement = container["securityContext"]
            assert confinement["allowPrivilegeEscalation"] is False
            assert confinement["readOnlyRootFilesystem"] is True
            assert confinement["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_selectors_services_and_policies_mean_pods_that_there_are(variant: str) -> None:
    release = objects(VARIANTS[variant])
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in release if "template" in each.get("spec", {})]
    for each in release:
        selector = each.get("spec", {}).get("selector") or each.get("spec", {}).get("podSelector")
        if selector is not None:
            wanted = selector.get("matchLabels", selector)
            assert sum(wanted.items() <= found.items() for found in labels) == 1, each["metadata"]["name"]


def test_the_chart_holds_no_secret_and_takes_them_from_existing_ones() -> None:
    assert of_kind({}, "Secret") == {}
    [node] = of_kind({}, "StatefulSet").values()
    variables = {each["name"]: each for each in node["spec"]["template"]["spec"]["containers"][0]["env"]}
    reference = variables["AGENT_MANAGER_DATABASE_URL"]["valueFrom"]["secretKeyRef"]
    assert reference == {"name": "agent-manager-database", "key": "url"}
    assert variables["AGENT_MANAGER_NATS_CREDS"]["value"] == "/run/secrets/nats/node.creds"


def test_an_api_that_is_not_exposed_listens_on_loopback_and_nobody_is_let_in() -> None:
    for exposed, host, peers in ((False, "127.0.0.1", 0), (True, "0.0.0.0", 1)):
        values = {"api": {"exposed": exposed}}
        [deployment] = of_kind(values, "Deployment").values()
        env = {each["name"]: each["value"] for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
        assert env["MANAGEMENT_API_SERVICE_HOST"] == host
        assert ("demo-api" in of_kind(values, "Service")) is exposed
        assert len(of_kind(values, "NetworkPolicy")["demo-api"]["spec"]["ingress"]) == peers


def test_a_pod_is_given_longer_for_its_end_than_the_launcher_takes() -> None:
    [node] = of_kind({}, "StatefulSet").values()
    assert node["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > LAUNCHER_STOP_MAX_S
