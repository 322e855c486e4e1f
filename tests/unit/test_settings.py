"""Where settings come from, which wins, and what is said of mistakes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from caxton_node.config import Settings, load_settings
from caxton_node.config.settings import HttpSettings, NodeSettings, all_settings
from caxton_node.domain.errors import Rejected


@pytest.fixture
def place(tmp_path):
    """Return a loader for one machine: `place(file="…", flags={}, env={})`."""
    working_dir, home = tmp_path / "work", tmp_path / "home"
    working_dir.mkdir()
    home.mkdir()

    def load(file=None, *, flags=None, env=None):
        if file is not None:
            (working_dir / "caxton.toml").write_text(file)
        return load_settings(
            flags=flags or {}, environment=env or {}, working_dir=working_dir, home=home
        )

    load.working_dir, load.home = working_dir, home
    return load


def refused(load, *arguments, **options):
    with pytest.raises(Rejected) as caught:
        load(*arguments, **options)
    assert caught.value.code == "invalid_settings"
    return caught.value.places


def test_without_anything_the_defaults_are_in_force(place):
    loaded = place()
    settings = loaded.settings
    assert settings.http.address == ("127.0.0.1", 8080)
    assert settings.node.data_dir == place.home / ".local" / "share" / "caxton"
    assert settings.retry.max_s == 10.0
    assert settings.python.allow == ()
    assert loaded.file is None
    assert {origin for _, origin in loaded.sources.values()} == {"default"}


def test_the_data_directory_follows_xdg(place):
    loaded = place(env={"XDG_DATA_HOME": "/srv/data"})
    assert loaded.settings.node.data_dir == Path("/srv/data/caxton")


def test_a_relative_xdg_path_is_ignored_as_the_standard_says(place):
    loaded = place(env={"XDG_DATA_HOME": "data"})
    assert loaded.settings.node.data_dir == place.home / ".local" / "share" / "caxton"


def test_every_setting_can_be_given_in_the_file(place):
    settings = place("""
[node]
name = "n1"
data_dir = "data"
synced = false
[http]
bind = "[::1]:9000"
max_body = "5MB"
[log]
level = "WARN"
format = "json"
[llm]
provider = "openai"
model = "m"
base_url = "http://localhost:11434/v1/"
api_key = "k"
prices = { "gpt-4o" = { input = 2.5, output = 10 } }
[tools]
allowed_private_hosts = ["127.0.0.1:8000", "*.internal"]
[python]
allow = ["agents.*", "a.b:C"]
[limits]
drain_timeout = "1m"
retention = "7d"
[retry]
attempts = 3
initial = 0.5
factor = 1.5
max = "30s"
""").settings
    assert (settings.node.name, settings.node.is_synced) == ("n1", False)
    assert settings.node.data_dir == place.working_dir / "data"
    assert settings.http.address == ("::1", 9000)
    assert settings.http.max_body_bytes == 5_000_000
    assert (settings.log.level, settings.log.format) == ("warning", "json")
    assert (settings.llm.base_url, settings.llm.secret()) == ("http://localhost:11434/v1", "k")
    assert settings.llm.prices["gpt-4o"].output_usd_per_million == 10.0
    assert settings.tools.allowed_private_hosts == ("127.0.0.1:8000", "*.internal")
    assert settings.python.allow == ("agents.*", "a.b:C")
    assert (settings.limits.drain_timeout_s, settings.limits.retention_s) == (60.0, 604_800.0)
    assert settings.retry.model_dump() == {
        "attempts": 3, "initial_s": 0.5, "factor": 1.5, "max_s": 30.0,
    }  # fmt: skip


def test_every_setting_can_be_given_in_the_environment(place):
    settings = place(
        env={
            "CAXTON_NODE__SYNCED": "no",
            "CAXTON_HTTP__BIND": "0.0.0.0:1",
            "CAXTON_RETRY__ATTEMPTS": "7",
            "CAXTON_RETRY__FACTOR": "3",
            "CAXTON_TOOLS__ALLOWED_PRIVATE_HOSTS": "localhost, 10.0.0.5:80",
            "CAXTON_LLM__PRICES": '{"m": {"input": 1, "output": 2}}',
            "CAXTON_LIMITS__RETENTION": "1d",
        }
    ).settings
    assert settings.node.is_synced is False
    assert settings.http.address == ("0.0.0.0", 1)
    assert (settings.retry.attempts, settings.retry.factor) == (7, 3.0)
    assert settings.tools.allowed_private_hosts == ("localhost", "10.0.0.5:80")
    assert settings.llm.prices["m"].input_usd_per_million == 1.0
    assert settings.limits.retention_s == 86_400.0


def test_a_flag_wins_over_the_environment_over_the_file(place):
    file = '[http]\nbind = "127.0.0.1:1"\n[log]\nlevel = "error"\nformat = "json"\n'
    env = {"CAXTON_HTTP__BIND": "127.0.0.1:2", "CAXTON_LOG_LEVEL": "debug"}
    loaded = place(file, flags={"http.bind": "127.0.0.1:3", "log.level": None}, env=env)
    assert loaded.sources["http.bind"] == ("127.0.0.1:3", "flag")
    assert loaded.sources["log.level"] == ("debug", "env CAXTON_LOG_LEVEL")
    assert loaded.sources["log.format"] == ("json", "file caxton.toml:5")
    assert loaded.sources["retry.attempts"] == (5, "default")


def test_values_are_shown_as_they_are_written(place):
    sources = place().sources
    assert sources["limits.retention"] == ("30d", "default")
    assert sources["http.max_body"] == ("2MB", "default")
    assert sources["retry.initial"] == ("100ms", "default")
    assert sources["llm.prices"] == ({}, "default")


def test_the_sources_name_every_setting(place):
    assert list(place().sources) == [setting.key for setting in all_settings()]


def test_an_empty_variable_is_one_that_is_not_set(place):
    assert (
        place(env={"CAXTON_HTTP__BIND": "", "CAXTON_CONFIG": ""}).settings.http.address[1] == 8080
    )


def test_the_file_in_the_working_directory_comes_first(place):
    folder = place.home / ".config" / "caxton"
    folder.mkdir(parents=True)
    (folder / "caxton.toml").write_text('[node]\nname = "from-home"\n')
    assert place().settings.node.name == "from-home"
    assert place('[node]\nname = "from-here"\n').settings.node.name == "from-here"


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_the_file_can_be_named(place, how):
    (place.home / "mine.toml").write_text('[node]\nname = "named"\n')
    flags = {"config": "~/mine.toml"} if how == "flag" else {}
    env = {"CAXTON_CONFIG": str(place.home / "mine.toml")} if how == "variable" else {}
    loaded = place('[node]\nname = "here"\n', flags=flags, env=env)
    assert loaded.settings.node.name == "named"
    assert loaded.sources["node.name"][1] == f"file {place.home / 'mine.toml'}:2"


def test_a_named_file_must_exist(place):
    (problem,) = refused(place, flags={"config": "missing.toml"})
    assert problem.rule == "unreadable_file"
    assert problem.file == "missing.toml"


def test_a_file_that_is_no_toml_names_its_place(place):
    (problem,) = refused(place, "[http]\nbind = 127.0.0.1:80\n")
    assert (problem.file, problem.line, problem.rule) == ("caxton.toml", 2, "syntax")


@pytest.mark.parametrize(
    ("file", "field", "line", "fix"),
    [
        ('[http]\nbnid = "x"\n', "http.bnid", 2, "`http.bind`"),
        ('[htpp]\nbind = "x"\n', "htpp", 1, "[http]"),
        ('bind = "x"\n', "bind", 1, "`http.bind`"),
        ('[http]\nlevel = "info"\n', "http.level", 2, "`log.level`"),
        ("[http]\nzzz = 1\n", "http.zzz", 2, "Known here: bind"),
        ("[memroy]\nbackend = 1\n", "memroy", 1, "memory"),
        ("http = 1\n", "http", 1, "[http]"),
        ("[limits]\ndrain_timeout_s = 3\n", "limits.drain_timeout_s", 2, "`limits.drain_timeout`"),
    ],
)
def test_an_unknown_key_names_file_line_and_the_nearest(place, file, field, line, fix):
    (problem,) = refused(place, file)
    assert (problem.file, problem.field, problem.line) == ("caxton.toml", field, line)
    assert problem.column == 1
    assert fix in problem.fix


@pytest.mark.parametrize(
    "line",
    [
        'http.bind = "8080"', 'http.bind = "host:99999"', "http.bind = 8080",
        'http.max_body = "1B"', 'grpc.max_message = "1MB"',
        'log.level = "loud"', "node.synced = 1", 'node.name = "a b"', 'node.data_dir = ""',
        "retry.attempts = 0", "retry.factor = 0.5", 'retry.max = "soon"', "retry.initial = nan",
        'limits.retention = "1s"', 'tools.allowed_private_hosts = ["http://x"]',
        'python.allow = "a.b:C"', "python.allow = [1]", "llm.api_key = 7", 'llm.api_key = " "',
        'llm.base_url = "localhost"', 'llm.prices.m = { input = 1 }', 'llm.prices.m = 3',
        'llm.prices.m = { input = -1, output = 1 }', 'node.name = "\\u0000"',
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_at_its_line(place, line):
    (problem,) = refused(place, f"\n{line}\n")
    assert (problem.file, problem.line) == ("caxton.toml", 2)
    assert line.split(" ")[0].split(".m")[0] in problem.message


def test_all_mistakes_are_told_at_once(place):
    problems = refused(place, '[http]\nbind = "x"\n[retry]\nattempts = -1\nfactor = "x"\n')
    assert [problem.field for problem in problems] == [
        "http.bind",
        "retry.attempts",
        "retry.factor",
    ]


@pytest.mark.parametrize("head", ["", "[http]\n"])
def test_a_file_full_of_mistakes_is_not_read_to_its_end(place, head):
    file = head + "".join(f"unknown{index} = 1\n" for index in range(9_000))
    assert len(refused(place, file)) == 50


def test_a_wrong_variable_is_named(place):
    (problem,) = refused(place, env={"CAXTON_RETRY__ATTEMPTS": "many"})
    assert "CAXTON_RETRY__ATTEMPTS" in str(problem)


def test_an_unknown_setting_in_the_environment_is_an_error(place):
    (problem,) = refused(place, env={"CAXTON_HTTP__BNID": "x"})
    assert problem.fix == "Did you mean CAXTON_HTTP__BIND?"


def test_an_unknown_variable_without_a_section_is_a_warning(place):
    (warning,) = place(env={"CAXTON_LOG_LEVLE": "x"}).warnings
    assert warning.fix == "Did you mean CAXTON_LOG_LEVEL?"


@pytest.mark.parametrize(
    "name",
    ["CAXTON_SERVER", "CAXTON_SERVICE_HOST", "CAXTON_PORT", "CAXTON_PORT_8080_TCP_ADDR",
     "CAXTON_HEADLESS_SERVICE_PORT_HTTP", "CAXTONLIKE", "PATH"],
)  # fmt: skip
def test_variables_of_others_pass_without_a_word(place, name):
    assert place(env={name: "x"}).warnings == ()


def test_the_short_and_the_long_name_may_not_contradict(place):
    (problem,) = refused(place, env={"CAXTON_LOG_LEVEL": "info", "CAXTON_LOG__LEVEL": "debug"})
    assert problem.rule == "contradiction"


def test_variables_in_the_file_are_replaced_once(place):
    file = '[llm]\nmodel = "${M:-small}"\napi_key = "${K}"\n'
    settings = place(file, env={"K": "${M}"}).settings
    assert (settings.llm.model, settings.llm.secret()) == ("small", "${M}")


def test_an_unset_variable_is_an_error_at_its_line(place):
    (problem,) = refused(place, '[llm]\nmodel = "${NO_SUCH}"\n')
    assert (problem.line, problem.rule) == (2, "unset_variable")


def test_no_error_repeats_what_came_from_the_environment(place):
    problems = refused(place, '[llm]\nbase_url = "${K}"\nprovider = "${K}"\n', env={"K": "hunter2"})
    assert len(problems) == 2
    assert "hunter2" not in repr(problems)


def test_an_address_with_a_password_is_refused_and_not_repeated(place):
    (problem,) = refused(place, '[llm]\nbase_url = "https://me:hunter2@host/v1"\n')
    assert problem.rule == "secret_in_file"
    assert "hunter2" not in repr(problem)


def test_a_secret_comes_from_a_file_without_its_line_end(place):
    (place.home / "key").write_text("hunter2\n")
    loaded = place('[llm]\napi_key_file = "~/key"\n')
    assert loaded.settings.llm.secret() == "hunter2"
    assert loaded.sources["llm.api_key"] == ("(secret)", "file caxton.toml:2")


def test_a_secrets_file_in_the_environment_replaces_the_secret_in_the_file(place):
    (place.home / "key").write_text("new")
    env = {"CAXTON_LLM__API_KEY_FILE": str(place.home / "key")}
    assert place('[llm]\napi_key = "old"\n', env=env).settings.llm.secret() == "new"


def test_a_secret_and_its_file_in_one_place_contradict(place):
    (problem,) = refused(place, '[llm]\napi_key = "old"\napi_key_file = "x"\n')
    assert problem.rule == "contradiction"


@pytest.mark.parametrize("value", ['"missing"', "7"])
def test_a_secrets_file_must_be_there(place, value):
    (problem,) = refused(place, f"[llm]\napi_key_file = {value}\n")
    assert (problem.field, problem.line) == ("llm.api_key_file", 2)


def test_secrets_are_never_shown(place):
    loaded = place('[llm]\napi_key = "hunter2"\n')
    assert "hunter2" not in repr(loaded)
    assert "hunter2" not in loaded.settings.model_dump_json()


def test_settings_are_frozen_and_closed(tmp_path):
    settings = Settings(node=NodeSettings(data_dir=tmp_path))
    with pytest.raises(ValidationError):
        settings.node = NodeSettings(data_dir=tmp_path)
    with pytest.raises(ValidationError):
        HttpSettings.model_validate({"port": 1})


def test_tests_may_name_fields_as_the_code_does(tmp_path):
    assert HttpSettings(bind="127.0.0.1:0", max_body_bytes=5_000).max_body_bytes == 5_000


def test_every_setting_is_documented():
    assert [setting.key for setting in all_settings() if not setting.doc.endswith(".")] == []


@given(st.binary(max_size=200))
def test_any_file_is_refused_or_loaded(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    (folder / "any.toml").write_bytes(data)
    try:
        load_settings(flags={"config": "any.toml"}, environment={}, working_dir=folder, home=folder)
    except Rejected as problem:
        assert problem.places  # noqa: PT017 - most bytes are no settings, some are


@given(
    st.sampled_from([setting.key for setting in all_settings()]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
)
def test_any_text_in_the_environment_is_refused_or_loaded(tmp_path_factory, key, text):
    folder = tmp_path_factory.getbasetemp()
    name = f"CAXTON_{key.upper().replace('.', '__')}"
    try:
        load_settings(flags={}, environment={name: text}, working_dir=folder, home=folder)
    except Rejected as problem:
        assert name in str(problem)  # noqa: PT017 - most texts are no values, some are


def test_the_reading_of_agent_files_does_not_load_pydantic():
    code = "import sys, caxton_node.agentfile; sys.exit('pydantic' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ), timeout=30)
