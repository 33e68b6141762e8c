"""Connecting to real servers in each of the ways, and what is said when it does not work."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from agent_manager.nats_access.access import Access
from agent_manager.nats_access.client import AccessClient
from agent_manager.nats_access.dialing import Caller, NotConnectedError, dial, dispose
from agent_manager.nats_access.environment import access_from
from agent_manager.nats_access.identity import (
    CredentialsIdentity,
    Identity,
    NkeyIdentity,
    Nobody,
    TokenIdentity,
    UserIdentity,
)
from agent_manager.nats_access.nkey import KeyKind, Nkey
from agent_manager.nats_access.pace import Pace
from agent_manager.nats_access.tls import Tls
from agent_manager.nats_access.trouble import Trouble, TroubleCode
from tests.harness.external_nats import Certificates, external_nats, tls_block
from tests.harness.nats_server import running_nats
from tests.harness.waiting import eventually
from tests.integration.nats_access.odd_server import ODD_INFO, odd_server

PACE = Pace(connect_timeout_s=5.0)
IMPATIENT = Pace(connect_timeout_s=0.5)
CALLER = Caller(name="test", inbox_prefix="_INBOX_test")


class Nobodys:
    """A listener that must hear nothing."""

    async def failed(self, error: Exception) -> None:
        raise AssertionError from error

    async def disconnected(self) -> None:
        """At the end."""

    async def reconnected(self) -> None:
        raise AssertionError

    async def closed(self) -> None:
        """At the end."""

    async def lame_duck(self) -> None:
        raise AssertionError


async def works(access: Access) -> None:
    """Connected, and a round trip is made."""
    client = await dial(access, CALLER, Nobodys(), PACE)
    await client.flush()
    await dispose(client)


async def troubles(access: Access, pace: Pace = PACE) -> list[Trouble]:
    with pytest.raises(NotConnectedError) as raised:
        await dial(access, CALLER, Nobodys(), pace)
    return list(raised.value.troubles)


async def trouble(access: Access, pace: Pace = PACE) -> Trouble:
    [only] = await troubles(access, pace)
    return only


# ---------------------------------------------------------------- identities


async def test_a_user_with_a_password(tmp_path: Path) -> None:
    async with external_nats(tmp_path, {"authorization": {"user": "u", "password": "p@s"}}) as server:
        await works(Access(servers=(server.url,), identity=UserIdentity("u", "p@s")))
        await works(access_from({"NATS_URL": server.url.replace("//", "//u:p%40s@")}).access)
        for identity in (UserIdentity("u", "wrong"), TokenIdentity("t"), Nobody()):
            found = await trouble(Access(servers=(server.url,), identity=identity))
            assert found.code is TroubleCode.CREDENTIALS_REFUSED
            assert identity.description in found.text
            assert "wrong" not in found.text


async def test_a_token(tmp_path: Path) -> None:
    async with external_nats(tmp_path, {"authorization": {"token": "secret"}}) as server:
        await works(Access(servers=(server.url,), identity=TokenIdentity("secret")))
        assert (await trouble(Access(servers=(server.url,)))).code is TroubleCode.CREDENTIALS_REFUSED


@pytest.mark.parametrize("decorated", [False, True])
async def test_an_nkey(tmp_path: Path, decorated: bool) -> None:
    key = Nkey.generate(KeyKind.USER)
    seed = tmp_path / "user.nk"
    seed.write_text(f"-----BEGIN USER NKEY SEED-----\n{key.seed}\n---\n" if decorated else f"{key.seed}\n")
    async with external_nats(tmp_path, {"authorization": {"users": [{"nkey": key.public}]}}) as server:
        await works(Access(servers=(server.url,), identity=NkeyIdentity(seed)))
        seed.write_text(Nkey.generate(KeyKind.USER).seed)
        found = await trouble(Access(servers=(server.url,), identity=NkeyIdentity(seed)))
        assert found.code is TroubleCode.CREDENTIALS_REFUSED


async def test_a_credentials_file_of_operator_mode(tmp_path: Path) -> None:
    async with running_nats(tmp_path) as server:
        await works(Access(servers=(server.url,), identity=CredentialsIdentity(server.files.manager_credentials)))


@pytest.mark.parametrize(
    "identity", [CredentialsIdentity(Path("/nowhere/a.creds")), NkeyIdentity(Path("/nowhere/a.nk"))]
)
async def test_a_file_that_is_not_there_is_named(tmp_path: Path, identity: Identity) -> None:
    async with external_nats(tmp_path, {}) as server:
        found = await trouble(Access(servers=(server.url,), identity=identity))
        assert found.code is TroubleCode.CREDENTIALS_UNREADABLE
        assert "/nowhere/a." in found.text


async def test_a_context_of_the_nats_tool(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    tls = tls_block(certificates.issue("server", "127.0.0.1"))
    async with external_nats(tmp_path, {**tls, "authorization": {"user": "u", "password": "p"}}) as server:
        context = tmp_path / "prod.json"
        values = {"url": server.url, "user": "u", "password": "p", "ca": str(certificates.ca)}
        context.write_text(json.dumps(values))
        await works(access_from({"NATS_CONTEXT": str(context)}).access)


# ---------------------------------------------------------------- protection


async def test_tls_with_a_ca_of_ones_own_whatever_the_scheme(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    async with external_nats(tmp_path, tls_block(certificates.issue("server", "127.0.0.1"))) as server:
        await works(Access(servers=(server.url,), tls=Tls(ca=certificates.ca)))
        await works(Access(servers=(server.url.replace("nats:", "tls:"),), tls=Tls(ca=certificates.ca)))
        await works(Access(servers=(server.url,), tls=Tls(verify=False)))


async def test_a_server_with_handshake_first(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    tls = tls_block(certificates.issue("server", "127.0.0.1"), handshake_first=True)
    async with external_nats(tmp_path, tls) as server:
        await works(Access(servers=(server.url,), tls=Tls(ca=certificates.ca, first=True)))
        found = await trouble(Access(servers=(server.url,), tls=Tls(ca=certificates.ca)), IMPATIENT)
        assert (found.code, "tls_first" in found.text) == (TroubleCode.NO_ANSWER, True)


async def test_a_handshake_that_comes_too_early_is_told_from_silence(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    async with external_nats(tmp_path, tls_block(certificates.issue("server", "127.0.0.1"))) as server:
        found = await trouble(Access(servers=(server.url,), tls=Tls(ca=certificates.ca, first=True)), IMPATIENT)
        assert "handshake_first" in found.text


@pytest.mark.parametrize(
    ("names", "options", "trusted", "code"),
    [
        (["127.0.0.1"], {}, "other", TroubleCode.TLS_UNKNOWN_CA),
        (["127.0.0.1"], {}, None, TroubleCode.TLS_UNKNOWN_CA),
        (["example.org"], {}, "ca", TroubleCode.TLS_NAME_MISMATCH),
        (
            ["127.0.0.1"],
            {"not_before": datetime.datetime(2020, 1, 1), "not_after": datetime.datetime(2021, 1, 1)},  # noqa: DTZ001 as trustme wants it
            "ca",
            TroubleCode.TLS_EXPIRED,
        ),
    ],
)
async def test_a_certificate_that_is_not_to_be_trusted_is_told_apart(
    tmp_path: Path, names: list[str], options: dict[str, Any], trusted: str | None, code: TroubleCode
) -> None:
    certificates = Certificates(tmp_path)
    Certificates(tmp_path, "other")
    pair = certificates.issue("server", *names, **options)
    async with external_nats(tmp_path, tls_block(pair)) as server:
        ca = tmp_path / f"{trusted}.pem" if trusted else None
        assert (await trouble(Access(servers=(server.url,), tls=Tls(ca=ca)))).code is code
        await works(Access(servers=(server.url,), tls=Tls(ca=ca, verify=False)))


async def test_a_server_that_wants_client_certificates(tmp_path: Path) -> None:
    certificates, strangers = Certificates(tmp_path), Certificates(tmp_path, "strangers")
    tls = tls_block(certificates.issue("server", "127.0.0.1"), verify=True, ca_file=str(certificates.ca))
    own, foreign = certificates.issue("own", "me@example.org"), strangers.issue("foreign", "me@example.org")
    async with external_nats(tmp_path, tls) as server:

        def access(certificate: Path | None = None, key: Path | None = None) -> Access:
            return Access(servers=(server.url,), tls=Tls(ca=certificates.ca, certificate=certificate, key=key))

        await works(access(*own))
        missing = await trouble(access())
        assert (missing.code, "tls_cert" in missing.text) == (TroubleCode.TLS_CLIENT_CERTIFICATE, True)
        refused = await trouble(access(*foreign))
        assert (refused.code, str(foreign[0]) in refused.text) == (TroubleCode.TLS_CLIENT_CERTIFICATE, True)
        mixed = await trouble(access(own[0], foreign[1]))
        assert (mixed.code, str(foreign[1]) in mixed.text) == (TroubleCode.TLS_FILES, True)


async def test_a_server_without_tls_never_gets_the_password_of_who_wants_tls(tmp_path: Path) -> None:
    received = bytearray()

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.11.0","max_payload":1048576,"auth_required":true}\r\n')
        received.extend(await reader.read())
        writer.close()

    async with await asyncio.start_server(pretend, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        identity = UserIdentity("u", "hunter2")
        found = await trouble(Access(servers=(f"tls://127.0.0.1:{port}",), identity=identity))
        assert found.code is TroubleCode.TLS_NOT_OFFERED
        listener.close()
    assert b"hunter2" not in received


# ---------------------------------------------------------------- servers


async def test_every_server_that_cannot_be_used_is_told_with_its_reason(tmp_path: Path) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def speak_http(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    expected = {"nats://127.0.0.1:1": TroubleCode.UNREACHABLE, "nats://nowhere.invalid:4222": TroubleCode.UNREACHABLE}
    async with (
        await asyncio.start_server(hang_up, "127.0.0.1", 0) as first,
        await asyncio.start_server(speak_http, "127.0.0.1", 0) as second,
        await asyncio.start_server(say_nothing, "127.0.0.1", 0) as third,
    ):
        for listener, code in (
            (first, TroubleCode.NOT_NATS),
            (second, TroubleCode.NOT_NATS),
            (third, TroubleCode.NO_ANSWER),
        ):
            expected[f"nats://127.0.0.1:{listener.sockets[0].getsockname()[1]}"] = code
        found = await troubles(Access(servers=tuple(expected)), IMPATIENT)
    assert {each.server: each.code for each in found} == expected


@pytest.mark.parametrize("info", ODD_INFO)
async def test_what_speaks_like_nats_and_is_none_is_told(info: bytes) -> None:
    async with odd_server(info) as port:
        found = await trouble(Access(servers=(f"nats://127.0.0.1:{port}",)))
    assert found.code is TroubleCode.NOT_NATS


async def test_one_server_that_works_is_enough(tmp_path: Path) -> None:
    async with external_nats(tmp_path, {}) as server:
        for _ in range(10):
            await works(Access(servers=("nats://127.0.0.1:1", server.url)))


async def test_a_server_that_takes_no_more_connections_says_so(tmp_path: Path) -> None:
    async with external_nats(tmp_path, {"max_connections": 1}) as server:
        access = Access(servers=(server.url,))

        async def connected() -> AccessClient | None:
            # Whoever looked whether the server is there may be connected still.
            with contextlib.suppress(NotConnectedError):
                return await dial(access, CALLER, Nobodys(), PACE)
            return None

        client = await eventually(connected)
        # A server that hangs up on what it has not read takes its reason along.
        assert (await trouble(access)).code in (TroubleCode.LIMIT_REACHED, TroubleCode.NO_ANSWER)
        await dispose(client)


async def test_a_cancellation_is_heeded_whenever_it_comes() -> None:
    outcomes = set()
    for turns in range(40):
        attempt = asyncio.create_task(dial(Access(servers=("nats://127.0.0.1:1",)), CALLER, Nobodys(), PACE))
        for _ in range(turns):
            await asyncio.sleep(0)
        was_under_way = attempt.cancel()
        (outcome,) = await asyncio.gather(attempt, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError) is was_under_way
        outcomes.add(type(outcome))
    assert outcomes == {asyncio.CancelledError, NotConnectedError}
