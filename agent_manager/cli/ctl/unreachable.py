"""Why the API could not be asked, in words that say what to do."""

from __future__ import annotations

import ssl

import httpcore

from agent_manager.cli.ctl.failures import AgentctlError, ExitCode
from agent_manager.cli.ctl.http import CONNECT_TIMEOUT_S, AnswerTooLargeError

FAILURES = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, AnswerTooLargeError)
"""Everything that may go wrong between this program and an address."""

_ELSEWHERE = "if the API is elsewhere, name it with --api-url"


def explained(error: Exception, url: str, *, timeout_s: float) -> AgentctlError:
    """One of FAILURES, which happened while `url` was asked and given `timeout_s` for its answer."""
    return AgentctlError(_words(error, url, timeout_s), ExitCode.UNREACHABLE)


def _words(error: Exception, url: str, timeout_s: float) -> str:
    if (fault := _tls_fault(error)) is not None:
        return _about_tls(fault, url)
    match error:
        case httpcore.ConnectTimeout():
            return (
                f"the API at {url} cannot be reached (no connection within {CONNECT_TIMEOUT_S:g} s); "
                f"is the address right, and does a firewall let it through? Otherwise {_ELSEWHERE}"
            )
        case httpcore.TimeoutException():
            return (
                f"the API at {url} did not answer within {timeout_s:g} s; what was asked for may have been done: look "
                "before asking again. Its log is logs/services/ in the data directory"
            )
        case httpcore.RemoteProtocolError():
            return (
                f"what listens at {url} gave no HTTP answer ({error}); if the API is being restarted, try again, else "
                "this is something else: name the API with --api-url, with https:// where it uses TLS"
            )
        case AnswerTooLargeError():
            return f"what listens at {url} does not stop answering, so it is not the management API; {_ELSEWHERE}"
        case _:
            why = str(error) or type(error).__name__
            return f"the API at {url} cannot be reached ({why}); is `agent-manager up` running? I{_ELSEWHERE[1:]}"


def _tls_fault(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


def _about_tls(fault: ssl.SSLError, url: str) -> str:
    if isinstance(fault, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {url} is not trusted ({fault.verify_message}); name its authority's file in the "
            "variable SSL_CERT_FILE, and use the host name that stands in the certificate"
        )
    return (
        f"what listens at {url} does not speak TLS as this program does ({fault.reason or fault}); "
        "if it speaks plain HTTP, write http:// in --api-url"
    )
