"""The committed wire code is what the contract compiles to, and says what the domain says."""

import dataclasses
import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf.descriptor import EnumDescriptor
from packaging.requirements import Requirement

from caxton.v1 import agents_pb2, cluster_pb2, errors_pb2, memory_pb2, messages_pb2, peer_pb2
from caxton_node.domain import agent as domain_agent
from caxton_node.domain.delivery import DeliveryMode, DeliveryStatus, RoutingStrategy
from caxton_node.domain.errors import ERRORS, Place
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative

ROOT = Path(__file__).resolve().parents[2]
WIRE = ROOT / "caxton" / "v1"
ETCD_WIRE = ROOT / "caxton_cluster" / "metadata" / "wire"
ENUMS = [
    (messages_pb2.Performative, Performative),
    (messages_pb2.DeliveryMode, DeliveryMode),
    (messages_pb2.DeliveryStatus, DeliveryStatus),
    (messages_pb2.RoutingStrategy, RoutingStrategy),
    (agents_pb2.AgentKind, domain_agent.AgentKind),
    (agents_pb2.AgentState, domain_agent.AgentState),
]
RECORDS = [
    (agents_pb2.AgentSpec, domain_agent.AgentSpec),
    (agents_pb2.LlmSettings, domain_agent.LlmSettings),
    (agents_pb2.MemorySettings, domain_agent.MemorySettings),
    (agents_pb2.BudgetSettings, domain_agent.BudgetSettings),
    (agents_pb2.SupervisionSettings, domain_agent.SupervisionSettings),
    (agents_pb2.LimitSettings, domain_agent.LimitSettings),
    (agents_pb2.PermissionSettings, domain_agent.PermissionSettings),
    (agents_pb2.DeploymentSettings, domain_agent.DeploymentSettings),
    (agents_pb2.ScheduleSettings, domain_agent.ScheduleSettings),
    (errors_pb2.Place, Place),
]
SERVICES = {
    (
        messages_pb2,
        "Messages",
    ): "Send SendBatch Get List ListConversations GetConversation Trace Stream "
    "Converse ListDeadLetters RetryDeadLetter DropDeadLetter",
    (agents_pb2, "Agents"): "Deploy Validate List Get Delete Restart Stop Suspend Resume Scale "
    "Rollback Versions Logs Chat",
    (memory_pb2, "Memory"): "AddEntities AddRelations AddObservations Search OpenNodes Graph "
    "History Forget Export Import Stats",
    (cluster_pb2, "Cluster"): "Members Status Partition Watch Leave Locks",
    (peer_pb2, "Peer"): "Link FetchDefinition KeepDefinition PullRegistry FetchPast Call",
}


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "proto" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_code_is_what_the_contract_compiles_to(tmp_path):
    generator = load_generator()
    fresh = {path.name: path.read_bytes() for path in generator.generate(tmp_path)}
    committed = {
        path.name: path.read_bytes()
        for pattern in generator.GENERATED
        for folder in (WIRE, ETCD_WIRE)
        for path in folder.glob(pattern)
    }
    stale = [name for name in fresh if fresh[name] != committed.get(name)]
    assert stale == [], "run `make proto` and commit what it writes"
    assert sorted(committed) == sorted(fresh)


def short_names(descriptor: EnumDescriptor) -> list[str]:
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", descriptor.name).upper() + "_"
    return [value.name.removeprefix(prefix).lower() for value in descriptor.values]


@pytest.mark.parametrize(("wire", "domain"), ENUMS)
def test_an_enum_has_the_values_of_the_domain_and_unspecified(wire, domain):
    names = short_names(wire.DESCRIPTOR)
    assert names[0] == "unspecified"
    assert sorted(names[1:]) == sorted(domain)


@pytest.mark.parametrize(("wire", "domain"), RECORDS)
def test_a_record_has_the_fields_of_the_domain(wire, domain):
    # A duration is a number of seconds inside and a Duration outside.
    expected = {field.name.removesuffix("_s") for field in dataclasses.fields(domain)}
    assert set(wire.DESCRIPTOR.fields_by_name) == expected


def test_a_message_has_the_fields_of_the_domain():
    between_nodes_only = {"home"}
    fields = set(Message.__struct_fields__) - between_nodes_only
    assert set(messages_pb2.Message.DESCRIPTOR.fields_by_name) == fields


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_every_error_code_fits_the_detail_of_a_status(code):
    detail = errors_pb2.ErrorDetail(code=code, detail=ERRORS[code].title)
    assert errors_pb2.ErrorDetail.FromString(detail.SerializeToString()).code == code
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)


@pytest.mark.parametrize(("module", "service"), SERVICES)
def test_a_service_has_the_calls_that_were_promised(module, service):
    methods = module.DESCRIPTOR.services_by_name[service].methods
    assert [method.name for method in methods] == SERVICES[module, service].split()


def test_frames_of_a_link_are_the_same_in_both_directions():
    request = peer_pb2.PeerLinkRequest.DESCRIPTOR.fields_by_name["frame"]
    response = peer_pb2.PeerLinkResponse.DESCRIPTOR.fields_by_name["frame"]
    assert request.message_type is response.message_type
    assert request.number == response.number


def lower_bound(name: str) -> tuple[int, ...]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(line) for line in project["dependencies"]]
    (requirement,) = [item for item in wanted if item.name == name]
    (bound,) = [item.version for item in requirement.specifier if item.operator == ">="]
    return tuple(int(part) for part in bound.split("."))


def test_the_oldest_protobuf_that_may_be_installed_can_load_the_code():
    text = (WIRE / "messages_pb2.py").read_text()
    generated = re.search(r"Protobuf Python Version: ([\d.]+)", text)[1]
    assert lower_bound("protobuf") >= tuple(int(part) for part in generated.split("."))


def test_the_oldest_grpc_that_may_be_installed_can_load_the_code():
    text = (WIRE / "messages_pb2_grpc.py").read_text()
    generated = re.search(r"GRPC_GENERATED_VERSION = '([\d.]+)'", text)[1]
    assert lower_bound("grpcio") >= tuple(int(part) for part in generated.split("."))
