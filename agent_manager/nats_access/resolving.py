"""From single values, as settings and variables give them, and a context of the `nats` tool, to one `Access`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from agent_manager.nats_access.access import Access
from agent_manager.nats_access.contexts import Context, read_context
from agent_manager.nats_access.errors import AccessError
from agent_manager.nats_access.identity import (
    CredentialsIdentity,
    Identity,
    NkeyIdentity,
    Nobody,
    TokenIdentity,
    UserIdentity,
)
from agent_manager.nats_access.servers import UserInfo, parse_servers
from agent_manager.nats_access.tls import Tls

DEFAULT_URL = "nats://127.0.0.1:4222"

_IDENTITIES = ("creds", "nkey", "user", "password", "token")
Called = Callable[[str], str]
"""From the name of a field of `Wanted` to how the value is called where it was set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Single values; None is not set. `url` may be a list and name a user, `context` is a name or a path."""

    url: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    creds: Path | None = None
    nkey: Path | None = None
    context: str | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_verify: bool | None = None
    tls_first: bool | None = None

    @property
    def given(self) -> frozenset[str]:
        """The names of what is set."""
        return frozenset(each.name for each in fields(self) if getattr(self, each.name) is not None)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The access, and what of the context could not be honoured, as sentences."""

    access: Access
    remarks: tuple[str, ...] = ()


def resolve(wanted: Wanted, *, called: Called, environ: Mapping[str, str]) -> Resolved:
    """The access that `wanted` describes; what it does not say comes from its context, if it names one.

    `environ` tells where contexts are. Raises AccessError: two identities at once (both named), half a client
    certificate, a context that cannot be read. No other file is read yet.
    """
    if wanted.context is None:
        return Resolved(_access(wanted, called))
    context = read_context(wanted.context, called("context"), environ)
    own = replace(wanted, context=None)
    from_context = _wanted_of(context)
    if own.given & {*_IDENTITIES} or _names_user(own, called):
        from_context = replace(from_context, **dict.fromkeys(_IDENTITIES))
    else:
        context.check_identity()
    if own.url is not None:
        from_context = replace(from_context, url=None)
    if own.given & {"tls_cert", "tls_key"}:
        from_context = replace(from_context, tls_cert=None, tls_key=None)
    merged = replace(from_context, **{name: getattr(own, name) for name in own.given})

    def call(name: str) -> str:
        return called(name) if name in own.given else f"{name.removeprefix('tls_')} of {context.path}"

    return Resolved(_access(merged, call), context.remarks)


def _wanted_of(context: Context) -> Wanted:
    text, path = context.text, context.file
    return Wanted(
        url=text("url"),
        user=text("user"),
        password=text("password"),
        token=text("token"),
        creds=path("creds"),
        nkey=path("nkey"),
        tls_ca=path("ca"),
        tls_cert=path("cert"),
        tls_key=path("key"),
        tls_first=context.flag("tls_first"),
    )


def _names_user(wanted: Wanted, called: Called) -> bool:
    return wanted.url is not None and parse_servers(wanted.url, called("url"))[1] is not None


def _access(wanted: Wanted, called: Called) -> Access:
    servers, user_info = parse_servers(wanted.url or DEFAULT_URL, called("url"))
    if (wanted.tls_cert is None) != (wanted.tls_key is None):
        has, lacks = ("tls_cert", "tls_key") if wanted.tls_cert is not None else ("tls_key", "tls_cert")
        raise AccessError(
            f"{called(has)} is set and {called(lacks)} is not: a client certificate needs both; set both or none"
        )
    tls = Tls(
        ca=wanted.tls_ca,
        certificate=wanted.tls_cert,
        key=wanted.tls_key,
        verify=wanted.tls_verify is not False,
        first=bool(wanted.tls_first),
    )
    return Access(servers=servers, identity=_identity(wanted, user_info, called), tls=tls)


def _identity(wanted: Wanted, user_info: UserInfo | None, called: Called) -> Identity:
    kinds = [name for name in ("creds", "nkey", "user", "token") if getattr(wanted, name) is not None]
    if wanted.password is not None and wanted.user is None:
        raise AccessError(f"{called('password')} is set and {called('user')} is not; set both or none")
    names = [called(kind) for kind in kinds] + (["the user in " + called("url")] if user_info is not None else [])
    if len(names) > 1:
        raise AccessError(f"{' and '.join(names)} are set, and a program has one identity; leave one of them out")
    if wanted.creds is not None:
        return CredentialsIdentity(wanted.creds)
    if wanted.nkey is not None:
        return NkeyIdentity(wanted.nkey)
    if wanted.token is not None:
        return TokenIdentity(wanted.token)
    if wanted.user is not None:
        if wanted.password is None:
            raise AccessError(
                f"{called('user')} is set and {called('password')} is not; a token is set as {called('token')}"
            )
        return UserIdentity(wanted.user, wanted.password)
    return _of_address(user_info)


def _of_address(user_info: UserInfo | None) -> Identity:
    if user_info is None:
        return Nobody()
    if user_info.password is None:
        return TokenIdentity(user_info.user)
    return UserIdentity(user_info.user, user_info.password)
