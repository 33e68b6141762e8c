from __future__ import annotations

import base64
import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client, RawCredentials

from agent_manager.adapters.nats.credentials import (
    LaunchIdentities,
    Program,
    issue_user,
    write_program_user,
)
from agent_manager.adapters.nats.keyring import Issuer
from agent_manager.domain.clock import Now
from agent_manager.domain.errors import InvalidRequestError
from agent_manager.nats_access.nkey import KeyKind, Nkey
from agent_manager.ports.identities import Identities, LaunchName
from agent_manager.protocol.permissions import OF_API, OF_SERVICE, of_launch
from tests.harness.fakes import FakeClock

NOW = 1_700_000_000
ISSUER = Issuer(Nkey.generate(KeyKind.ACCOUNT).public, Nkey.generate(KeyKind.ACCOUNT))


class StoppedClock:
    def now(self) -> Now:
        return Now(mono=1.0, wall=NOW)


def identities(directory: Path, *, lifetime_s: float | None = None) -> LaunchIdentities:
    return LaunchIdentities(
        directory=directory,
        directory_of_others=directory.with_name("others"),
        issuer=ISSUER,
        node_id="node-1",
        clock=StoppedClock(),
        lifetime_s=lifetime_s,
    )


def claims_of(credentials: str) -> dict[str, Any]:
    claims = credentials.splitlines()[1].split(".")[1]
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    return read


def seed_of(credentials: str) -> str:
    return credentials.splitlines()[-2]


async def test_the_nats_client_reads_token_and_seed_of_one_user() -> None:
    text = issue_user(ISSUER, name="service", permissions=OF_SERVICE, issued_at=NOW, lifetime_s=None)
    client = Client()
    read = client._read_creds_user_jwt(RawCredentials(text))
    assert bytes(read).decode() == text.splitlines()[1]
    assert Nkey(seed_of(text)).public == claims_of(text)["sub"]


def test_every_user_has_a_key_of_its_own() -> None:
    one, other = (
        issue_user(ISSUER, name="service", permissions=OF_SERVICE, issued_at=NOW, lifetime_s=None) for _ in range(2)
    )
    assert claims_of(one)["sub"] != claims_of(other)["sub"]


@pytest.mark.parametrize(("lifetime_s", "expires_at"), [(None, None), (90.0, NOW + 90)])
def test_a_user_lives_as_long_as_it_was_given(lifetime_s: float | None, expires_at: int | None) -> None:
    text = issue_user(ISSUER, name="service", permissions=OF_SERVICE, issued_at=NOW, lifetime_s=lifetime_s)
    assert claims_of(text).get("exp") == expires_at


def test_a_launch_gets_its_own_permissions_in_a_file_of_its_own(tmp_path: Path) -> None:
    identity: Identities = identities(tmp_path / "creds", lifetime_s=60)

    path = Path(identity.issue(LaunchName("echo", "echo_0", "launch1")))

    claims = claims_of(path.read_text())
    expected = of_launch(agent_id="echo", node_id="node-1", instance_id="echo_0", launch_id="launch1")
    assert path == tmp_path / "creds" / "launch1.creds"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert claims["nats"]["pub"]["allow"] == list(expected.publish)
    assert claims["nats"]["sub"]["allow"] == list(expected.subscribe)
    assert (claims["name"], claims["exp"]) == ("echo_0.launch1", NOW + 60)


def test_only_what_has_lived_half_of_its_life_is_renewed_with_a_key_of_its_own(tmp_path: Path) -> None:
    clock = FakeClock(wall=NOW)
    program = Program("api", tmp_path / "api.creds", OF_API)
    write_program_user(program, ISSUER, NOW, 100)
    renewing = LaunchIdentities(
        directory=tmp_path / "creds",
        directory_of_others=tmp_path / "others",
        issuer=ISSUER,
        node_id="node-1",
        clock=clock,
        lifetime_s=100,
        programs=[program],
    )
    launch = LaunchName("echo", "echo_0", "launch1")
    path = Path(renewing.issue(LaunchName("echo", "echo_0", "launch1")))
    first, first_of_program = path.read_text(), program.path.read_text()

    clock.advance(49)
    renewing.renew([launch])
    assert (path.read_text(), program.path.read_text()) == (first, first_of_program)

    clock.advance(1)
    renewing.renew([launch])
    assert claims_of(path.read_text())["exp"] == claims_of(program.path.read_text())["exp"] == NOW + 150
    assert claims_of(path.read_text())["sub"] != claims_of(first)["sub"]
    assert claims_of(path.read_text())["nats"]["pub"] == claims_of(first)["nats"]["pub"]
    assert path.stat().st_mode & 0o777 == 0o600

    renewed = path.read_text()
    renewing.renew([launch])
    assert path.read_text() == renewed


def test_a_successor_renews_what_its_predecessor_issued_and_restores_what_is_gone(tmp_path: Path) -> None:
    clock = FakeClock(wall=NOW)

    def manager() -> LaunchIdentities:
        return LaunchIdentities(
            directory=tmp_path,
            directory_of_others=tmp_path / "others",
            issuer=ISSUER,
            node_id="node-1",
            clock=clock,
            lifetime_s=100,
        )

    old, gone = (Path(manager().issue(LaunchName("echo", "echo_0", launch))) for launch in ("launch1", "launch2"))
    gone.unlink()
    clock.advance(50)
    manager().renew([LaunchName("echo", "echo_0", "launch1"), LaunchName("echo", "echo_0", "launch2")])
    assert claims_of(old.read_text())["exp"] == claims_of(gone.read_text())["exp"] == NOW + 150


def test_users_without_expiry_are_never_renewed(tmp_path: Path) -> None:
    clock = FakeClock(wall=NOW)
    renewing = LaunchIdentities(
        directory=tmp_path,
        directory_of_others=tmp_path / "others",
        issuer=ISSUER,
        node_id="node-1",
        clock=clock,
        lifetime_s=None,
    )
    path = Path(renewing.issue(LaunchName("echo", "echo_0", "launch1")))
    first = path.read_text()
    clock.advance(10**9)
    renewing.renew([LaunchName("echo", "echo_0", "launch1")])
    assert path.read_text() == first


def test_what_cannot_be_written_does_not_keep_the_others_from_being_renewed(tmp_path: Path) -> None:
    clock = FakeClock(wall=NOW)
    lost = Program("api", tmp_path / "nowhere" / "api.creds", OF_API)
    kept = Program("service", tmp_path / "service.creds", OF_SERVICE)
    renewing = LaunchIdentities(
        directory=tmp_path / "c",
        directory_of_others=tmp_path / "others",
        issuer=ISSUER,
        node_id="n",
        clock=clock,
        lifetime_s=9,
        programs=[lost, kept],
    )
    with pytest.raises(OSError, match="nowhere"):
        renewing.renew([])
    assert kept.path.exists()


def test_destroying_removes_the_launchs_file_and_no_other(tmp_path: Path) -> None:
    identity = identities(tmp_path)
    gone, kept = (Path(identity.issue(LaunchName("echo", "echo_0", launch))) for launch in ("launch1", "launch2"))
    identity.destroy("launch1")
    identity.destroy("launch1")
    assert (gone.exists(), kept.exists()) == (False, True)


def test_only_what_belongs_to_the_launches_named_is_kept(tmp_path: Path) -> None:
    identity = identities(tmp_path)
    for launch in ("launch1", "launch2", "launch3"):
        identity.issue(LaunchName("echo", "echo_0", launch))
    (tmp_path / ".partial-left-by-a-killed-writer").write_text("half a seed")

    identity.keep_only(frozenset({"launch2", "never-issued"}))

    assert [path.name for path in tmp_path.iterdir()] == ["launch2.creds"]


def test_keeping_nothing_where_nothing_was_issued_is_no_fault(tmp_path: Path) -> None:
    identities(tmp_path / "never").keep_only(frozenset())


@pytest.mark.parametrize("agent_id", ["manager", "Echo", "a_b", ""])
def test_an_agent_id_that_would_open_other_subjects_is_refused(tmp_path: Path, agent_id: str) -> None:
    with pytest.raises(InvalidRequestError):
        identities(tmp_path).issue(LaunchName(agent_id, f"{agent_id}_0", "launch1"))


def test_an_instance_of_another_agent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not an instance of the agent 'echo'"):
        identities(tmp_path).issue(LaunchName("echo", "other_0", "launch1"))


@pytest.mark.parametrize("launch_id", ["../up", "a/b", "", ".", "*", ">", "a.b"])
def test_a_launch_id_reaches_no_other_file_and_no_other_subject(tmp_path: Path, launch_id: str) -> None:
    for use in (
        lambda: identities(tmp_path).issue(LaunchName("echo", "echo_0", launch_id)),
        lambda: identities(tmp_path).destroy(launch_id),
    ):
        with pytest.raises(ValueError, match="cannot be a subject token"):
            use()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_who_runs_as_another_user_finds_its_credentials_and_nobody_elses(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    identity = identities(tmp_path / "own")
    path = Path(identity.issue(LaunchName("echo", "echo_0", "launch1", "nobody")))
    assert path.parent == tmp_path / "others"
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (nobody, 0o600)
    assert path.parent.stat().st_mode & 0o777 == 0o711
    identity.keep_only(frozenset({"launch1"}))
    assert path.exists()
    identity.renew([LaunchName("echo", "echo_0", "launch1", "nobody")])
    identity.destroy("launch1")
    assert not path.parent.exists()


def test_a_place_that_somebody_else_has_made_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "others").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="not a directory of ours"):
        identities(tmp_path / "own").issue(LaunchName("echo", "echo_0", "launch1", "nobody"))
    assert list((tmp_path / "mine").iterdir()) == []
