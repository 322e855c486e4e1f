"""The pure parts behind guests: grants, rates, quarantine, admission, manifests, signatures."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from caxton_node.agentfile import AgentFormat, parse_agent
from caxton_node.agentfile.server_manifest import parse_server_manifest
from caxton_node.cli.guest_source import with_digest
from caxton_node.domain.errors import Rejected
from caxton_node.domain.wasm import GrantSettings, HttpGrant, WasmSettings
from caxton_node.runtime.server_tools import read_result, read_tools
from caxton_node.wasm.admission import admit_component, admit_core
from caxton_node.wasm.binary import count_sections
from caxton_node.wasm.confinement import filter_program
from caxton_node.wasm.errors import UnfitModule
from caxton_node.wasm.grants import added_rights, allows_url, missing_grant
from caxton_node.wasm.operations import OPERATIONS
from caxton_node.wasm.quarantine import Quarantine
from caxton_node.wasm.rates import Allowance
from caxton_node.wasm.shapes import Shape
from caxton_node.wasm.signatures import check_signature, sign

DIGEST = "ab" * 32
PLACE = HttpGrant(methods=frozenset({"GET"}), scheme="https", host="api.example.com", port=443)


# Grants.


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_whoever_was_granted_nothing_may_ask_for_nothing_that_needs_a_grant(operation):
    if operation.partition(".")[0] in ("log", "clock", "config", "secrets"):
        return
    assert missing_grant(operation, {}, GrantSettings()) is not None


@pytest.mark.parametrize(
    ("operation", "values", "grants"),
    [
        ("messaging.send", {"receiver": "Clerk"}, GrantSettings(messaging=("Clerk",))),
        ("messaging.send", {"receiver": "team-a"}, GrantSettings(messaging=("team-*",))),
        ("messaging.send", {"receiver": "anybody"}, GrantSettings(messaging=("*",))),
        ("messaging.send", {"receiver": "capability:x"}, GrantSettings(messaging=("*",))),
        ("memory.search", {"scope": "agent"}, GrantSettings(memory=("agent",))),
        ("kv.get", {"key": "k"}, GrantSettings(kv_bytes=1)),
        ("tools.call", {"name": "calc.add"}, GrantSettings(tools=("calc.*",))),
        ("files.read", {"path": "a"}, GrantSettings(files=("read",))),
        ("files.paths", {"prefix": ""}, GrantSettings(files=("read",))),
        ("model.complete", {"request": {}}, GrantSettings(model=("*",))),
    ],
)
def test_what_is_granted_may_be_asked_for(operation, values, grants):
    assert missing_grant(operation, values, grants) is None


@pytest.mark.parametrize(
    ("operation", "values", "grants", "missing"),
    [
        ("messaging.send", {"receiver": "Clerks"}, ("messaging", ("Clerk",)), '["Clerks"]'),
        (
            "messaging.send",
            {"receiver": "capability:pay"},
            ("messaging", ("c*",)),
            "capability:pay",
        ),
        ("messaging.send", {"receiver": ""}, ("messaging", ("*",)), "messaging"),
        ("messaging.send", {"receiver": 5}, ("messaging", ("*",)), "messaging"),
        ("memory.add", {"scope": "global"}, ("memory", ("agent",)), 'memory = ["global"]'),
        ("tools.call", {"name": "calculator"}, ("tools", ("calc.*",)), 'tools = ["calculator"]'),
        ("files.write", {"path": "a"}, ("files", ("read",)), 'files = ["write"]'),
        ("files.delete", {"path": "a"}, ("files", ("read",)), 'files = ["write"]'),
    ],
)
def test_a_refusal_names_the_grant_that_is_missing(operation, values, grants, missing):
    name, given = grants
    found = missing_grant(operation, values, GrantSettings(**{name: given}))
    assert found is not None
    assert missing in found


@pytest.mark.parametrize(
    ("method", "scheme", "host", "port", "is_allowed"),
    [
        ("GET", "https", "api.example.com", 443, True),
        ("POST", "https", "api.example.com", 443, False),
        ("GET", "http", "api.example.com", 443, False),
        ("GET", "https", "api.example.com", 8443, False),
        ("GET", "https", "evil.example.com", 443, False),
        ("GET", "https", "api.example.com.evil.org", 443, False),
    ],
)
def test_a_place_of_the_web_is_a_method_a_scheme_a_host_and_a_port(
    method, scheme, host, port, is_allowed
):
    found = allows_url([PLACE], method=method, scheme=scheme, host=host, port=port)
    assert found is is_allowed


def test_a_star_opens_what_is_below_a_host_and_not_the_host_itself():
    below = HttpGrant(methods=frozenset({"GET"}), scheme="https", host="*.example.com", port=443)
    hosts = ("a.example.com", "example.com", "badexample.com")
    found = [
        allows_url([below], method="GET", scheme="https", host=host, port=443) for host in hosts
    ]
    assert found == [True, False, False]


def test_a_version_that_asks_for_less_asks_for_nothing_new():
    before = GrantSettings(tools=("a", "b"), kv_bytes=100, http=(PLACE,))
    after = GrantSettings(tools=("a",), kv_bytes=50, http=(PLACE,))
    assert added_rights(before, after) == ()


def test_every_right_that_is_new_is_told():
    wider = HttpGrant(
        methods=frozenset({"GET", "POST"}), scheme="https", host="api.example.com", port=443
    )
    after = GrantSettings(
        messaging=("*",), kv_bytes=10, http=(wider,), secrets=("KEY",), model=("*",)
    )
    added = added_rights(GrantSettings(http=(PLACE,)), after)
    assert len(added) == 5


# Rates and quarantine.


def test_an_allowance_fills_at_its_rate():
    allowance = Allowance(10)
    assert [allowance.take(5, 0.0), allowance.take(5, 0.0), allowance.take(1, 0.0)] == [
        True,
        True,
        False,
    ]
    assert allowance.take(5, 0.5)
    assert not allowance.take(1, 0.5)


def test_an_allowance_saves_no_more_than_one_unit():
    allowance = Allowance(10)
    allowance.take(10, 0.0)
    assert allowance.take(10, 1_000.0)
    assert not allowance.take(1, 1_000.0)


def test_what_was_spent_unseen_is_waited_for():
    allowance = Allowance(10)
    allowance.take(1, 0.0)
    allowance.charge(20)
    assert not allowance.take(1, 1.0)
    assert allowance.take(1, 3.0)


def test_five_violations_in_a_minute_close_a_guest_in_and_four_do_not():
    quarantine = Quarantine()
    assert [quarantine.note(second) for second in (0.0, 1.0, 2.0, 3.0)] == [False] * 4
    assert quarantine.note(4.0)
    assert quarantine.is_closed


def test_violations_far_apart_close_nobody_in():
    quarantine = Quarantine()
    assert not any(quarantine.note(minute * 61.0) for minute in range(20))


# Files.


@pytest.mark.parametrize(
    "data",
    [b"", b"\0asm", b"MZ" * 20, b"\0asm\x02\0\0\0", b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\xff\xff"],
)
def test_what_is_no_webassembly_is_malformed(data):
    with pytest.raises(UnfitModule) as caught:
        count_sections(data)
    assert caught.value.rule == "malformed"


CORE_AGENT = [
    ["memory", "memory"],
    ["alloc", "func(i32)->i32"],
    ["handle_message", "func(i32,i32)->i32"],
]


def test_a_core_module_is_told_by_its_exports():
    assert admit_core([], CORE_AGENT) is Shape.CORE_AGENT
    assert admit_core([], [["memory", "memory"], ["_start", "func()->"]]) is Shape.STDIO_SERVER


@pytest.mark.parametrize(
    ("imports", "exports", "rule"),
    [
        ([], CORE_AGENT[1:], "shape"),
        ([], [*CORE_AGENT, ["snapshot", "func()->i32"]], "shape"),
        ([], [*CORE_AGENT[:2], ["handle_message", "func(i64)->i64"]], "signature_of_export"),
        ([["env", "abort", "func()->"]], CORE_AGENT, "import"),
        ([["caxton", "call", "func(i32)->i32"]], CORE_AGENT, "import"),
        ([["wasi_snapshot_preview1", "proc_exec", "func()->"]], CORE_AGENT, "import"),
    ],
)
def test_what_does_not_fit_is_refused_by_a_rule_with_a_name(imports, exports, rule):
    with pytest.raises(UnfitModule) as caught:
        admit_core(imports, exports)
    assert caught.value.rule == rule


ERROR = "record<code:string,message:string>"
COMPONENT_AGENT = {"handle-message": f"func(string)->result<option<string>,{ERROR}>"}


def test_a_component_may_import_what_host_wit_has_in_the_types_it_has_it():
    kv = {"get": f"func(string)->result<option<string>,{ERROR}>", "error": "record"}
    imports = {
        "caxton:guest/kv@1.0.0": kv,
        "caxton:guest/types@1.0.0": {},
        "wasi:io/poll@0.2.9": {},
    }
    assert admit_component(imports, COMPONENT_AGENT) is Shape.COMPONENT_AGENT


@pytest.mark.parametrize(
    "imports",
    [
        {"caxton:guest/kv@1.0.0": {"get": "func(u32)->string"}},
        {"caxton:guest/kv@1.0.0": {"steal": "func()->"}},
        {"caxton:guest/kv@2.0.0": {}},
        {"evil:corp/root@0.1.0": {}},
        {"wasi:http/types@0.3.0": {}},
    ],
)
def test_a_component_may_import_nothing_else(imports):
    with pytest.raises(UnfitModule):
        admit_component(imports, COMPONENT_AGENT)


# Signatures.


def signed(key, *, name="guest", version="1.0.0", digest=DIGEST):
    return WasmSettings(sha256=digest, signature=sign(key, digest, name, version), signer="us")


@pytest.fixture
def key():
    return Ed25519PrivateKey.generate()


@pytest.fixture
def signers(key):
    return {"us": base64.b64encode(key.public_key().public_bytes_raw()).decode()}


def test_a_good_signature_passes(key, signers):
    found = check_signature(signed(key), "guest", "1.0.0", mode="require", signers=signers)
    assert found is None


@pytest.mark.parametrize(("name", "version"), [("other", "1.0.0"), ("guest", "0.9.0")])
def test_a_signature_is_of_one_name_and_one_version(key, signers, name, version):
    with pytest.raises(UnfitModule):
        check_signature(signed(key), name, version, mode="warn", signers=signers)


def test_a_revoked_signer_is_refused_also_where_none_is_asked_for(key):
    with pytest.raises(UnfitModule):
        check_signature(signed(key), "guest", "1.0.0", mode="warn", signers={})


def test_an_unsigned_guest_is_warned_of_or_refused(signers):
    unsigned = WasmSettings(sha256=DIGEST)
    assert check_signature(unsigned, "guest", "1.0.0", mode="warn", signers=signers)
    with pytest.raises(UnfitModule):
        check_signature(unsigned, "guest", "1.0.0", mode="require", signers=signers)


# Manifests.


def test_a_manifest_grants_what_it_says():
    spec = parse_agent(
        f'name = "A"\nkind = "wasm"\ncapabilities = ["x"]\n[wasm]\nsha256 = "{DIGEST}"\n'
        '[limits]\ncpu = "100ms"\n[grants]\nhttp = ["POST http://h:8080"]\nkv = "1KB"\n',
        format=AgentFormat.TOML,
    ).spec
    assert spec.limits.cpu_s == 0.1
    assert spec.grants.kv_bytes == 1_000
    assert str(spec.grants.http[0]) == "POST http://h:8080"


def test_a_guest_without_a_digest_and_grants_without_a_guest_are_refused():
    for text in (
        'name = "A"\nkind = "wasm"\ncapabilities = ["x"]\n',
        'name = "A"\ncapabilities = ["x"]\nsystem_prompt = "p"\n[grants]\nkv = 1\n',
    ):
        with pytest.raises(Rejected):
            parse_agent(text, format=AgentFormat.TOML)


def test_a_servers_manifest_says_all_that_is_wrong_with_it():
    with pytest.raises(Rejected) as caught:
        parse_server_manifest(
            'name = "9x"\nverison = "1.0.0"\n[wasm]\nsha256 = "zz"\n[grants]\nhttp = ["ftp://x"]\n'
        )
    fields = {place.field for place in caught.value.places}
    assert {"name", "verison", "wasm.sha256", "grants.http[0]"} <= fields


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('name = "a"\n', f'name = "a"\n\n[wasm]\nsha256 = "{DIGEST}"\n'),
        (
            '[wasm]\nmodule = "a.wasm" # beside\n[grants]\n',
            f'[wasm]\nsha256 = "{DIGEST}"\n[grants]\n',
        ),
        ("[wasm]\n[grants]\nmodule = 1\n", f'[wasm]\nsha256 = "{DIGEST}"\n[grants]\nmodule = 1\n'),
    ],
)
def test_the_digest_takes_the_place_of_the_path(text, wanted):
    assert with_digest(text, DIGEST) == wanted


# Tools.


def test_a_tool_is_called_by_its_server_and_its_name():
    (spec,) = read_tools("calc", b'[{"name":"add","description":"Adds."}]')
    assert spec.name == "calc.add"
    assert spec.is_destructive


@pytest.mark.parametrize(
    "listed",
    [
        b"[]",
        b'{"tools":[]}',
        b"5",
        b'[{"name":"a b"}]',
        b'[{"name":"a"},{"name":"a"}]',
        b'[{"name":"a","description":"\\u202e"}]',
        b'[{"name":"a","inputSchema":{"type":"array"}}]',
    ],
)
def test_a_list_that_could_mislead_is_refused(listed):
    with pytest.raises(Rejected):
        read_tools("calc", listed)


def test_results_of_mcp_become_what_a_turn_sees():
    assert read_result(b"7").content == 7
    assert read_result(b'{"content":[{"type":"text","text":"hi"}]}').content == {"text": "hi"}
    failed = read_result(b'{"content":[{"type":"text","text":"no"}],"isError":true}')
    assert failed.is_error
    assert read_result(b'{"content":[],"structuredContent":{"a":1}}').content == {"a": 1}


# The second wall.


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_jump_of_the_filter_of_system_calls_lands_in_it(machine):
    program = filter_program(machine)
    rows = [program[start : start + 8] for start in range(0, len(program), 8)]
    for place, row in enumerate(rows):
        if row[0] in (0x15, 0x35, 0x45):
            assert place + 1 + max(row[2], row[3]) < len(rows)
    assert rows[-1][0] == 0x06
