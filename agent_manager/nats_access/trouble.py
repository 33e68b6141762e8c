"""What went wrong with a connection: from exceptions of many families to one value with a stable code and a remedy."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from enum import StrEnum

import nats.errors

from agent_manager.nats_access.access import Access
from agent_manager.nats_access.errors import CredentialsError, NotNatsError, TlsError


class TroubleCode(StrEnum):
    """Kinds of trouble; `bus_<code>` is the event in the log."""

    UNREACHABLE = "unreachable"
    NO_ANSWER = "no_answer"
    NOT_NATS = "not_nats"
    CREDENTIALS_REFUSED = "credentials_refused"
    CREDENTIALS_EXPIRED = "credentials_expired"
    CREDENTIALS_UNREADABLE = "credentials_unreadable"
    PERMISSION_MISSING = "permission_missing"
    LIMIT_REACHED = "limit_reached"
    TLS_NOT_OFFERED = "tls_not_offered"
    TLS_UNKNOWN_CA = "tls_unknown_ca"
    TLS_NAME_MISMATCH = "tls_name_mismatch"
    TLS_EXPIRED = "tls_expired"
    TLS_CLIENT_CERTIFICATE = "tls_client_certificate"
    TLS_FILES = "tls_files"
    TLS_FAILED = "tls_failed"
    SLOW_CONSUMER = "slow_consumer"
    LOST = "lost"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Trouble:
    """`text` says what and how to mend it, without secrets; `server` is the one it happened with, if that matters."""

    code: TroubleCode
    text: str
    server: str | None = None

    @property
    def event(self) -> str:
        """Its name in the log."""
        return f"bus_{self.code}"

    def __str__(self) -> str:
        return self.text if self.server is None else f"{self.server}: {self.text}"


_CERTIFICATE = {
    # X509_V_ERR_… of OpenSSL.
    10: (TroubleCode.TLS_EXPIRED, "the server's certificate has expired: renew it, or look at this host's clock"),
    9: (TroubleCode.TLS_EXPIRED, "the server's certificate is not valid yet: look at the clocks of both hosts"),
    62: (TroubleCode.TLS_NAME_MISMATCH, "the server's certificate is for another name"),
    64: (TroubleCode.TLS_NAME_MISMATCH, "the server's certificate is for another address"),
}
_SAID = (
    (
        "user authentication expired",
        TroubleCode.CREDENTIALS_EXPIRED,
        "the credentials have expired; whoever issued them must renew them",
    ),
    ("account authentication expired", TroubleCode.CREDENTIALS_EXPIRED, "the account's own token has expired"),
    ("authentication revoked", TroubleCode.CREDENTIALS_REFUSED, "the credentials have been revoked"),
    ("authentication timeout", TroubleCode.NO_ANSWER, "the server did not wait for the credentials; it is overloaded"),
    ("authorization violation", TroubleCode.CREDENTIALS_REFUSED, ""),
    ("connections exceeded", TroubleCode.LIMIT_REACHED, "the server or the account takes no more connections"),
    ("subscriptions exceeded", TroubleCode.LIMIT_REACHED, "the server or the account takes no more subscriptions"),
    ("maximum payload", TroubleCode.LIMIT_REACHED, "a message was larger than max_payload of the server"),
    (
        "secure connection - tls required",
        TroubleCode.TLS_FAILED,
        "the server wants the handshake first: set tls_first (NATS_TLS_FIRST=true)",
    ),
)
_PERMISSION = re.compile(r"permissions violation for (\w+)(?: to)? \\?\"?([^\s\"\\]+)", re.IGNORECASE)


def diagnose(error: BaseException, access: Access, server: str | None = None) -> Trouble:
    """What `error`, raised by nats-py while connecting or told by the server later, means and how to mend it."""
    if server is not None and access.tls_wanted and isinstance(error, BrokenPipeError | ConnectionResetError):
        # Its reason, sent after the handshake, may be lost on the way.
        return Trouble(TroubleCode.TLS_CLIENT_CERTIFICATE, _client_certificate(access, "it hung up"), server)
    code, text = _meaning(error, access)
    return Trouble(code, text, server)


def _meaning(error: BaseException, access: Access) -> tuple[TroubleCode, str]:
    if isinstance(error, CredentialsError):
        return TroubleCode.CREDENTIALS_UNREADABLE, str(error)
    if isinstance(error, TlsError):
        return TroubleCode.TLS_FILES, str(error)
    if isinstance(error, ssl.SSLError):
        return _handshake(error, access)
    if isinstance(error, nats.errors.SecureConnWantedError):
        return (
            TroubleCode.TLS_NOT_OFFERED,
            "the server offers no TLS, and an unprotected connection is not wanted; use nats:// without TLS settings "
            "only if the way to it is protected otherwise",
        )
    if isinstance(error, nats.errors.SlowConsumerError):
        return TroubleCode.SLOW_CONSUMER, f"messages on {error.subject} were dropped: they came faster than handled"
    if isinstance(error, TimeoutError):
        doubt = "has it handshake_first, as tls_first supposes" if access.tls.first else "is it NATS, without tls_first"
        return TroubleCode.NO_ANSWER, f"something accepts connections there and does not answer in time; {doubt}?"
    if isinstance(error, OSError):
        return _network(error)
    return _told(error, access)


def _handshake(error: ssl.SSLError, access: Access) -> tuple[TroubleCode, str]:
    if isinstance(error, ssl.SSLCertVerificationError):
        known = _CERTIFICATE.get(error.verify_code)
        if known is not None:
            return known[0], f"{known[1]} ({error.verify_message})"
        trusted = f"the CA file {access.tls.ca}" if access.tls.ca else "the CAs of this system"
        return (
            TroubleCode.TLS_UNKNOWN_CA,
            f"the server's certificate is not signed by {trusted} ({error.verify_message}); name its CA with tls_ca",
        )
    reason = (error.reason or str(error)).lower().replace("_", " ")
    if "certificate required" in reason or "bad certificate" in reason or "unknown ca" in reason:
        return TroubleCode.TLS_CLIENT_CERTIFICATE, _client_certificate(access, reason)
    return (
        TroubleCode.TLS_FAILED,
        f"the TLS handshake failed ({reason}); a server with handshake_first wants tls_first, and only such a one",
    )


def _client_certificate(access: Access, reason: str) -> str:
    if access.tls.certificate is None:
        return f"the server wants a client certificate ({reason}); set tls_cert and tls_key"
    return f"the server refuses the client certificate {access.tls.certificate} ({reason})"


def _network(error: OSError) -> tuple[TroubleCode, str]:
    if isinstance(error, socket.gaierror):
        return TroubleCode.UNREACHABLE, f"the name of the host cannot be resolved ({error.strerror or error})"
    if isinstance(error, ConnectionRefusedError):
        return TroubleCode.UNREACHABLE, "nobody listens there: is the server running, is the port right?"
    if isinstance(error, BrokenPipeError | ConnectionResetError):
        return TroubleCode.NO_ANSWER, "it hung up before it answered; the server's log says why"
    if error.filename is not None:
        return TroubleCode.CREDENTIALS_UNREADABLE, f"{error.filename}: {error.strerror}"
    return TroubleCode.UNREACHABLE, str(error) or type(error).__name__


def _told(error: BaseException, access: Access) -> tuple[TroubleCode, str]:
    words = str(error).removeprefix("nats: ") or type(error).__name__
    lower = words.lower()
    permission = _PERMISSION.search(words)
    if permission:
        verb = "subscribe to" if permission[1].lower().startswith("subscri") else "publish on"
        return (
            TroubleCode.PERMISSION_MISSING,
            f"{access.identity.description} may not {verb} {permission[2]}; see docs/nats.md for what is needed",
        )
    if "authorization failed" in lower or "authorization violation" in lower:
        return (
            TroubleCode.CREDENTIALS_REFUSED,
            f"the server refuses {access.identity.description} ({words.strip(chr(39))}); look at the server's log "
            "for why",
        )
    for said, code, text in _SAID:
        if said in lower:
            return code, f"{text} ({words.strip(chr(39))})"
    if "info message" in lower or isinstance(error, NotNatsError | ValueError):
        return TroubleCode.NOT_NATS, "what answers there is not a NATS server, or it wants TLS first (tls_first)"
    if isinstance(error, nats.errors.StaleConnectionError):
        return TroubleCode.LOST, f"the connection is gone ({words})"
    return TroubleCode.ERROR, words
