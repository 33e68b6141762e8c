"""From settings, variables and contexts to one way of reaching NATS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent_manager.nats_access.environment import VARIABLES, access_from, variables_of
from agent_manager.nats_access.errors import AccessError
from agent_manager.nats_access.identity import (
    CredentialsIdentity,
    NkeyIdentity,
    Nobody,
    TokenIdentity,
    UserIdentity,
)
from agent_manager.nats_access.tls import Tls


def written(folder: Path, name: str, **values: Any) -> dict[str, str]:
    """A context, and the variables that name it."""
    path = folder / "nats" / "context" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
    return {"NATS_CONTEXT": name, "XDG_CONFIG_HOME": str(folder)}


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nats://a:1", ("nats://a:1",)),
        ("a", ("nats://a:4222",)),
        ("a:1, tls://b , nats://[::1]:3", ("nats://a:1", "tls://b:4222", "nats://[::1]:3")),
        ("nats://u:p@a:1,nats://b:2", ("nats://a:1", "nats://b:2")),
    ],
)
def test_servers_get_a_scheme_and_a_port_and_lose_their_user(text: str, servers: tuple[str, ...]) -> None:
    assert access_from({"NATS_URL": text}).access.servers == servers


def test_nothing_set_is_a_server_on_this_host_and_nobody_in_particular() -> None:
    access = access_from({}).access
    assert (access.servers, access.identity, access.tls) == (("nats://127.0.0.1:4222",), Nobody(), Tls())


@pytest.mark.parametrize(
    ("variables", "identity"),
    [
        ({"NATS_CREDS": "/a.creds"}, CredentialsIdentity(Path("/a.creds"))),
        ({"NATS_NKEY": "/a.nk"}, NkeyIdentity(Path("/a.nk"))),
        ({"NATS_USER": "u", "NATS_PASSWORD": "p"}, UserIdentity("u", "p")),
        ({"NATS_TOKEN": "t"}, TokenIdentity("t")),
        ({"NATS_URL": "nats://u:p%40s@a"}, UserIdentity("u", "p@s")),
        ({"NATS_URL": "nats://t@a"}, TokenIdentity("t")),
        ({"NATS_CREDS": "", "NATS_TOKEN": "t"}, TokenIdentity("t")),
    ],
)
def test_every_kind_of_identity_is_read(variables: dict[str, str], identity: Any) -> None:
    assert access_from(variables).access.identity == identity


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"NATS_CREDS": "/c", "NATS_TOKEN": "t"}, "NATS_CREDS and NATS_TOKEN are set"),
        ({"NATS_USER": "u", "NATS_PASSWORD": "p", "NATS_NKEY": "/n"}, "NATS_NKEY and NATS_USER are set"),
        ({"NATS_URL": "nats://u:p@a", "NATS_TOKEN": "t"}, "NATS_TOKEN and the user in NATS_URL are set"),
        ({"NATS_URL": "nats://u:p@a,nats://v:p@b"}, "NATS_URL names different users"),
        ({"NATS_USER": "u"}, "NATS_USER is set and NATS_PASSWORD is not"),
        ({"NATS_PASSWORD": "p"}, "NATS_PASSWORD is set and NATS_USER is not"),
        ({"NATS_CERT": "/c"}, "NATS_CERT is set and NATS_KEY is not"),
        ({"NATS_KEY": "/k"}, "NATS_KEY is set and NATS_CERT is not"),
        ({"NATS_TLS_VERIFY": "maybe"}, "NATS_TLS_VERIFY is 'maybe'"),
        ({"NATS_URL": "ws://a:1"}, "server 1 of NATS_URL is not of the form"),
        ({"NATS_URL": "nats://a/path"}, "server 1 of NATS_URL is not of the form"),
    ],
)
def test_what_does_not_go_together_is_named(variables: dict[str, str], words: str) -> None:
    with pytest.raises(AccessError, match=words):
        access_from(variables)


def test_tls_is_read_and_wanted_when_it_is_spoken_of() -> None:
    access = access_from(
        {"NATS_CA": "/ca", "NATS_CERT": "/c", "NATS_KEY": "/k", "NATS_TLS_VERIFY": "no", "NATS_TLS_FIRST": "1"}
    ).access
    assert access.tls == Tls(ca=Path("/ca"), certificate=Path("/c"), key=Path("/k"), verify=False, first=True)
    assert access.tls_wanted
    assert "NOT verified" in access.description
    assert access_from({"NATS_URL": "tls://a"}).access.tls_wanted
    assert not access_from({"NATS_TLS_VERIFY": "false"}).access.tls_wanted


@pytest.mark.parametrize(
    "variables",
    [
        {"NATS_URL": "nats://a:1,tls://b:2", "NATS_CREDS": "/c", "NATS_CA": "/ca", "NATS_TLS_VERIFY": "false"},
        {"NATS_URL": "nats://a:1", "NATS_USER": "u", "NATS_PASSWORD": "p", "NATS_CERT": "/c", "NATS_KEY": "/k"},
        {"NATS_URL": "nats://a:1", "NATS_TOKEN": "t", "NATS_TLS_FIRST": "true"},
    ],
)
def test_what_is_written_for_another_program_is_read_as_the_same(variables: dict[str, str]) -> None:
    assert variables_of(access_from(variables).access) == variables


def test_no_description_and_no_representation_shows_a_secret() -> None:
    for variables in (
        {"NATS_URL": "nats://u:hunter2@a"},
        {"NATS_TOKEN": "hunter2"},
        {"NATS_USER": "u", "NATS_PASSWORD": "hunter2"},
    ):
        access = access_from(variables).access
        assert "hunter2" not in access.description + repr(access)


# ---------------------------------------------------------------- contexts


def test_a_context_gives_what_is_not_set(tmp_path: Path) -> None:
    environ = written(tmp_path, "prod", url="nats://a:1", creds="~/a.creds", ca="/ca", tls_first=True, nkey="")
    access = access_from({**environ, "NATS_TLS_VERIFY": "false"}).access
    assert access.servers == ("nats://a:1",)
    assert access.identity == CredentialsIdentity(Path("~/a.creds").expanduser())
    assert access.tls == Tls(ca=Path("/ca"), verify=False, first=True)


def test_what_is_set_beside_a_context_takes_its_place(tmp_path: Path) -> None:
    environ = written(tmp_path, "prod", url="nats://a:1", user="u", password="p", cert="/c", key="/k")
    assert access_from({**environ, "NATS_TOKEN": "t"}).access.identity == TokenIdentity("t")
    assert access_from({**environ, "NATS_URL": "nats://v:q@b:2"}).access.identity == UserIdentity("v", "q")
    assert access_from({**environ, "NATS_URL": "nats://b:2"}).access.identity == UserIdentity("u", "p")
    assert access_from({**environ, "NATS_CERT": "/d", "NATS_KEY": "/e"}).access.tls.key == Path("/e")


def test_a_context_may_be_a_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"url": "nats://a:1"}')
    assert access_from({"NATS_CONTEXT": str(path)}).access.servers == ("nats://a:1",)


def test_what_of_a_context_is_not_honoured_is_said(tmp_path: Path) -> None:
    environ = written(tmp_path, "prod", url="nats://a:1", description="d", inbox_prefix="_I", socks_proxy="s", news=1)
    remarks = access_from(environ).remarks
    assert len(remarks) == 3
    for name in ("inbox_prefix", "socks_proxy", "news"):
        assert any(remark.startswith(f"{name} of the context {tmp_path}") for remark in remarks)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"nsc": "nsc://o/a/u"}, "nsc of the context .* cannot be used here: run `nsc generate creds`"),
        ({"user_jwt": "e.y.J"}, "user_jwt of the context .* lacks the seed"),
        ({"creds": "/c", "token": "t"}, "creds of .*prod.json and token of .*prod.json are set"),
        ({"cert": "/c"}, "cert of .*prod.json is set and key of .*prod.json is not"),
        ({"user": 1}, "user of the context .* must be a string"),
        ({"tls_first": "yes"}, "tls_first of the context .* must be true or false"),
    ],
)
def test_a_context_that_cannot_be_used_is_named(tmp_path: Path, values: dict[str, Any], words: str) -> None:
    with pytest.raises(AccessError, match=words):
        access_from(written(tmp_path, "prod", **values))


def test_an_identity_of_ones_own_makes_up_for_one_that_cannot_be_used(tmp_path: Path) -> None:
    environ = written(tmp_path, "prod", nsc="nsc://o/a/u")
    assert access_from({**environ, "NATS_CREDS": "/c"}).access.identity == CredentialsIdentity(Path("/c"))


def test_a_context_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    environ = written(tmp_path, "prod", url="nats://a:1")
    with pytest.raises(AccessError, match=r"NATS_CONTEXT names the context 'test', .*contexts there: prod"):
        access_from({**environ, "NATS_CONTEXT": "test"})


def test_an_address_in_the_place_of_a_context_is_not_repeated() -> None:
    with pytest.raises(AccessError, match=r"NATS_CONTEXT must be the name of a context, or its path") as refused:
        access_from({"NATS_CONTEXT": "nats://u:hunter2@a"})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("content", ["{", "[]", "\x00"])
def test_a_context_that_is_no_json_object_is_named(tmp_path: Path, content: str) -> None:
    environ = written(tmp_path, "prod")
    (tmp_path / "nats" / "context" / "prod.json").write_text(content)
    with pytest.raises(AccessError, match=r"the context .*prod\.json \(NATS_CONTEXT\)"):
        access_from(environ)


def test_every_variable_is_named_as_the_nats_tool_names_it() -> None:
    assert all(variable.startswith("NATS_") for variable in VARIABLES.values())
