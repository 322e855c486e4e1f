"""The files in `deploy/`: accepted by the tools that will read them, and saying what is meant."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from caxton_node.cli.node_options import FLAGS
from caxton_node.config import load_settings
from caxton_node.security.tls_files import read_material

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "k8s" / "caxton"
TOOLS = os.pathsep.join(
    [str(ROOT / "build" / "tools"), str(Path(sys.executable).parent), os.environ["PATH"]]
)
HELM = shutil.which("helm", path=TOOLS)
CHECKOV = shutil.which("checkov", path=str(ROOT / ".venv-checkov" / "bin") + os.pathsep + TOOLS)
VALUES = ["", *sorted(path.name for path in (CHART / "ci").glob("*.yaml"))]
COMPOSE = [*sorted((DEPLOY / "compose").glob("*.yaml")), DEPLOY / "swarm" / "stack.yaml"]
# As much of Kubernetes as the chart asks for, at least.
KUBERNETES = "1.31.0"

needs_helm = pytest.mark.skipif(
    HELM is None, reason="helm is not installed (`make build/tools/helm`, with Go)"
)


def run(*command: str, check: bool = True) -> str:
    program = shutil.which(command[0], path=TOOLS)
    if program is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(
        [program, *command[1:]], capture_output=True, text=True, timeout=50, check=False, cwd=ROOT
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@cache
def rendered(values: str = "", *more: str) -> str:
    options = ["--values", str(CHART / "ci" / values)] if values else []
    return run(
        *("helm", "template", "caxton", str(CHART), "--namespace", "agents"),
        *("--kube-version", KUBERNETES, *options, *more),
    )


def objects(values: str = "", *more: str) -> dict[str, dict[str, Any]]:
    """Return what the chart renders, by kind and name."""
    found = filter(None, yaml.safe_load_all(rendered(values, *more)))
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in found}


def pod_of(values: str = "", *more: str) -> dict[str, Any]:
    return objects(values, *more)["StatefulSet/caxton"]["spec"]["template"]


# The chart.


@needs_helm
@pytest.mark.parametrize("values", VALUES)
def test_helm_finds_nothing_wrong_with_the_chart(values):
    options = ["--values", str(CHART / "ci" / values)] if values else []
    run("helm", "lint", "--strict", str(CHART), "--kube-version", KUBERNETES, *options)


@needs_helm
@pytest.mark.parametrize("values", VALUES)
def test_kubernetes_knows_every_field_that_is_rendered(values, tmp_path):
    path = tmp_path / "rendered.yaml"
    path.write_text(rendered(values))
    run("kubernetes-validate", "--strict", str(path))


@needs_helm
@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("replicaCount=0", "replicaCount"),
        ("replicaCuont=3", "replicaCuont"),
        ("tls.mode=none", "mode"),
        ("tls.mode=existing", "existingSecret"),
        ("tls.mode=certManager", "name"),
        ("terminationGracePeriodSeconds=10", "terminationGracePeriodSeconds"),
        ("image.digest=sha256:12", "digest"),
    ],
)
def test_values_that_cannot_be_meant_are_refused_with_their_place(setting, place):
    said = run(
        *("helm", "template", "c", str(CHART), "--kube-version", KUBERNETES, "--set", setting),
        check=False,
    )
    assert "values don't meet the specifications" in said
    assert place in said


@needs_helm
@pytest.mark.parametrize(
    "settings",
    ["replicaCount=10", "autoscaling.enabled=true,autoscaling.maxReplicas=10"],
)
def test_more_pods_than_there_are_certificates_for_are_refused(settings):
    template = ("helm", "template", "c", str(CHART), "--kube-version", KUBERNETES, "--set")
    assert "tls.nodesMax is 9" in run(*template, settings, check=False)
    assert "kind: StatefulSet" in run(*template, f"{settings},tls.nodesMax=10")


@needs_helm
def test_a_prometheus_in_another_namespace_is_let_in():
    clients = objects("observed-values.yaml")["NetworkPolicy/caxton"]["spec"]["ingress"][1]
    selected = [one.get("namespaceSelector", {}).get("matchLabels") for one in clients["from"]]
    assert {"kubernetes.io/metadata.name": "monitoring"} in selected
    assert {"port": 8080, "protocol": "TCP"} in clients["ports"]


@needs_helm
def test_the_configuration_is_one_that_a_node_reads(tmp_path):
    everything = "observed-values.yaml"
    toml = objects(everything)["ConfigMap/caxton"]["data"]["caxton.toml"]
    toml = re.sub(r"/etc/caxton/\S+(?=\")", str(tmp_path / "secret"), toml)
    (tmp_path / "secret").write_text("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
    (tmp_path / "caxton.toml").write_text(toml)
    settings = load_settings(
        flags={"config": str(tmp_path / "caxton.toml"), "node.data_dir": str(tmp_path)},
        environment={},
        working_dir=tmp_path,
        home=tmp_path,
    ).settings
    assert settings.cluster.peers == ("caxton-nodes.agents.svc.cluster.local:7946",)
    assert settings.cluster.expect is None, "with an autoscaler the nodes count themselves"
    assert settings.limits.drain_timeout_s == 45.0
    assert settings.telemetry.otlp_endpoint == "http://collector.observability:4317"


@needs_helm
def test_pods_find_each_other_before_they_are_ready():
    service = objects()["Service/caxton-nodes"]["spec"]
    assert service["publishNotReadyAddresses"] is True
    assert service["clusterIP"] == "None"
    gossip = {(p["port"], p["protocol"]) for p in service["ports"] if p["port"] == 7946}
    assert gossip == {(7946, "TCP"), (7946, "UDP")}
    assert objects()["StatefulSet/caxton"]["spec"]["serviceName"] == "caxton-nodes"


@needs_helm
def test_no_probe_asks_who_else_is_there():
    container = pod_of()["spec"]["containers"][0]
    paths = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness")]
    assert paths == ["/health", "/health"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"


@needs_helm
def test_a_pod_drains_before_it_is_told_to_stop_and_has_the_time_for_it():
    spec = pod_of()["spec"]
    command = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command == ["caxton", "cluster", "drain", "--drain-timeout", "60s"]
    assert spec["terminationGracePeriodSeconds"] >= 60 + 45


@needs_helm
def test_pods_run_without_rights_and_without_a_root_to_write_to():
    spec = pod_of()["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert not [name for name in objects() if name.startswith(("Role", "ClusterRole"))]


@needs_helm
def test_a_changed_setting_restarts_the_pods_and_nothing_else_does():
    def sum_of(*more):
        return pod_of("plain-values.yaml", *more)["metadata"]["annotations"]["checksum/config"]

    assert sum_of("--set", "config.limits.retention=7d") != sum_of()
    assert sum_of("--set", "service.type=NodePort") == sum_of()


@needs_helm
def test_the_network_policy_lets_gossip_through_by_both_transports():
    policy = objects()["NetworkPolicy/caxton"]["spec"]
    for direction in ("ingress", "egress"):
        ports = {
            (p["port"], p["protocol"]) for rule in policy[direction] for p in rule.get("ports", ())
        }
        assert {(7946, "UDP"), (7946, "TCP"), (50051, "TCP")} <= ports


@needs_helm
def test_certificates_made_by_the_chart_are_ones_that_a_node_takes():
    files = objects()["Secret/caxton-tls"]["data"]
    told = {name: base64.b64decode(value) for name, value in files.items()}
    assert len(told) == 1 + 2 * 9
    for number in range(9):
        pod = f"caxton-{number}"
        read_material(told["ca.crt"], told[f"{pod}.crt"], told[f"{pod}.key"], node=pod)
    key = base64.b64decode(objects()["Secret/caxton-gossip"]["data"]["gossip.key"])
    assert len(base64.b64decode(key)) == 32


@needs_helm
def test_alerts_of_the_chart_are_those_that_are_tested():
    rules = objects("observed-values.yaml")["PrometheusRule/caxton"]["spec"]
    assert rules == yaml.safe_load((DEPLOY / "observability" / "rules.yaml").read_text())


@needs_helm
def test_the_plain_manifests_are_those_of_the_chart():
    done = subprocess.run(
        ["sh", str(DEPLOY / "k8s" / "render.sh")],
        capture_output=True,
        text=True,
        env=os.environ | {"HELM": HELM},
        check=True,
        timeout=50,
    )
    assert done.stdout == (DEPLOY / "k8s" / "plain.yaml").read_text(), "run deploy/k8s/render.sh"


def test_the_plain_manifests_hold_no_secret():
    assert "kind: Secret\n" not in (DEPLOY / "k8s" / "plain.yaml").read_text()


# Everything else.


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_compose_files_are_of_the_schema(path):
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(path))


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_compose_files_name_only_what_they_define_and_what_is_there(path):
    document = yaml.safe_load(path.read_text())
    addition = path.name in {"etcd.yaml", "shared-memory.yaml"}
    for service in document["services"].values():
        for name in service.get("depends_on", ()):
            assert name in document["services"]
        for secret in service.get("secrets", ()):
            name = secret["source"] if isinstance(secret, dict) else secret
            assert name in document["secrets"]
        for network in service.get("networks", ()):
            assert addition or network in document["networks"]
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (path.parent / source).exists()
            else:
                assert source in document["volumes"]


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_compose_files_set_only_settings_that_there_are(path, tmp_path):
    document = yaml.safe_load(path.read_text())
    for service in document["services"].values():
        environment = service.get("environment") or {}
        own = {key: str(value) for key, value in environment.items() if "CAXTON" in key}
        for key in [key for key in own if key.endswith("_FILE")]:
            del own[key]
        load_settings(
            flags={"node.data_dir": str(tmp_path)},
            environment=own,
            working_dir=tmp_path,
            home=tmp_path,
        )


def test_the_job_of_nomad_uses_only_options_and_settings_that_there_are(tmp_path):
    job = (DEPLOY / "nomad" / "caxton.nomad.hcl").read_text()
    bare = re.sub(r'"[^"\n]*"|#.*', "", job)
    assert [bare.count(one) for one in "{["] == [bare.count(one) for one in "}]"]
    args = re.findall(r'"([^"]*)"', job.split("args = [", 1)[1].split("]", 1)[0])
    options = dict(zip(args[::2], args[1::2], strict=True))
    known = {FLAGS[option]: value for option, value in options.items()}
    # What Nomad fills in.
    filled = {key: re.sub(r"\$\{[^}]*\}", "127.0.0.1", value) for key, value in known.items()}
    own = dict(re.findall(r'^\s+(CAXTON_\w+)\s*= "(.*)"$', job, re.MULTILINE))
    assert own.pop("CAXTON_CLUSTER__PEERS").count(":7946") == 3
    for key in [key for key in own if key.endswith("_FILE")]:
        path = tmp_path / key
        path.write_text("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
        own[key] = str(path)
    settings = load_settings(
        flags={**filled, "node.name": "caxton-1", "node.data_dir": str(tmp_path)},
        environment=own,
        working_dir=tmp_path,
        home=tmp_path,
    ).settings
    assert settings.cluster.expect == 3
    assert settings.security.cert_file is not None


def test_hadolint_finds_nothing_in_the_dockerfile():
    run("hadolint", str(DEPLOY / "Dockerfile"))


def test_shellcheck_finds_nothing_in_any_script():
    scripts = [*DEPLOY.rglob("*.sh"), ROOT / ".ci" / "run"]
    run("shellcheck", *map(str, scripts))


def test_scripts_of_compose_make_secrets_that_a_node_takes(tmp_path):
    folder = tmp_path / "secrets"
    program = str(Path(sys.executable).with_name("caxton"))
    subprocess.run(
        ["sh", str(DEPLOY / "compose" / "make-secrets.sh"), str(folder)],
        env=os.environ | {"CAXTON": program},
        check=True,
        capture_output=True,
        timeout=50,
    )
    for node in ("node-1", "node-2", "node-3"):
        files = (folder / name for name in ("ca.crt", f"{node}.crt", f"{node}.key"))
        read_material(*(path.read_bytes() for path in files), node=node)
    assert (folder / "authority" / "ca.key").stat().st_mode & 0o077 == 0


def test_systemd_accepts_the_unit(tmp_path):
    unit = (DEPLOY / "systemd" / "caxton.service").read_text()
    path = tmp_path / "caxton.service"
    path.write_text(unit.replace("/opt/caxton/bin/caxton-node", sys.executable))
    said = run("systemd-analyze", "verify", str(path), check=False)
    assert "caxton.service" not in said, said


def test_systemd_finds_little_exposed(tmp_path):
    unit = str(DEPLOY / "systemd" / "caxton.service")
    said = run("systemd-analyze", "security", "--offline=true", "--threshold=20", unit, check=False)
    assert "Overall exposure level" in said, said
    level = float(said.rsplit("Overall exposure level for caxton.service: ", 1)[1].split()[0])
    assert level <= 2.0, said


@pytest.mark.timeout(240)
@needs_helm
@pytest.mark.skipif(CHECKOV is None, reason="no checkov: it could not be installed")
def test_checkov_finds_only_what_the_baseline_gives_reasons_for(tmp_path):
    path = tmp_path / "rendered.yaml"
    path.write_text(rendered())
    for target, framework in ((path, "kubernetes"), (DEPLOY / "Dockerfile", "dockerfile")):
        done = subprocess.run(
            [
                *(CHECKOV, "--config-file", str(DEPLOY / "k8s" / "checkov.yaml")),
                *("--file", str(target), "--framework", framework, "--output", "json"),
            ],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        report = json.loads(done.stdout)
        failed = [one["check_id"] for one in report["results"]["failed_checks"]]
        assert failed == []
        assert report["summary"]["passed"] > 10
