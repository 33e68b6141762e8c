"""The keys of an installation: whoever holds them can make any user of its bus.

They are made once, at the first start, all together: the directory appears under its name when it is complete. A key
that is missing later is therefore an error and never replaced in silence, since JetStream keeps its data by account.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent_manager.adapters.nats.private_files import make_private_directory, sync_directory, write_private
from agent_manager.domain.errors import UnavailableError
from agent_manager.nats_access.nkey import KeyKind, Nkey

_FILES = {
    "operator": KeyKind.OPERATOR,
    "system-account": KeyKind.ACCOUNT,
    "account": KeyKind.ACCOUNT,
    "account-signing": KeyKind.ACCOUNT,
}


class KeyringError(UnavailableError):
    """The keys cannot be read; the message names the file and how to mend it."""

    retryable = False


@dataclass(frozen=True, slots=True)
class Issuer:
    """What it takes to make users: an account (public key) and a key that may sign for it."""

    account: str
    signing: Nkey


@dataclass(frozen=True, kw_only=True, slots=True)
class Keyring:
    """All keys of an embedded server. The operator's signs accounts; the account's own serves as its name only."""

    operator: Nkey
    system_account: Nkey
    account: Nkey
    account_signing: Nkey

    @property
    def issuer(self) -> Issuer:
        """What makes users of the account everything runs in."""
        return Issuer(self.account.public, self.account_signing)


def load_keyring(directory: Path) -> Keyring:
    """Read the keys. Raises KeyringError naming the file that is missing or wrong."""
    return Keyring(
        operator=_read(directory, "operator"),
        system_account=_read(directory, "system-account"),
        account=_read(directory, "account"),
        account_signing=_read(directory, "account-signing"),
    )


def load_or_create_keyring(directory: Path) -> Keyring:
    """Read the keys, made first when `directory` does not exist.

    Raises KeyringError as `load_keyring` does, OSError when they cannot be written.
    """
    make_private_directory(directory.parent)
    with _locked(directory.parent):
        if not directory.exists():
            _create(directory)
    return load_keyring(directory)


def load_issuer(path: Path, account: str | None) -> Issuer:
    """What makes users from one seed file: an account's own key, or with `account` one that signs for it.

    Raises KeyringError naming the file when it holds no account's key.
    """
    try:
        key = Nkey(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise _not_a_signing_key(path, str(error)) from error
    if key.kind is not KeyKind.ACCOUNT:
        raise _not_a_signing_key(path, f"it holds the key of a {key.kind.name.lower()}, not of an account")
    return Issuer(account or key.public, key)


def seed_file(directory: Path, name: str) -> Path:
    """Where a keyring in `directory` keeps the seed called `name`."""
    return directory / f"{name}.nk"


def _create(directory: Path) -> None:
    incomplete = directory.with_name(f"{directory.name}.incomplete")
    # Left by a first start that was killed: nobody has used these keys.
    shutil.rmtree(incomplete, ignore_errors=True)
    make_private_directory(incomplete)
    for name, kind in _FILES.items():
        write_private(seed_file(incomplete, name), f"{Nkey.generate(kind).seed}\n", durable=True)
    os.rename(incomplete, directory)
    sync_directory(directory.parent)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Two first starts at once must not remove each other's work."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(directory: Path, name: str) -> Nkey:
    path = seed_file(directory, name)
    try:
        key = Nkey(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise _unusable(path, str(error)) from error
    if key.kind is not _FILES[name]:
        raise _unusable(path, f"it holds the key of a {key.kind.name.lower()}, not of an {_FILES[name].name.lower()}")
    return key


def _not_a_signing_key(path: Path, reason: str) -> KeyringError:
    return KeyringError(f"nats.signing_key: {path} cannot be used: {reason}; it must hold the seed (SA…) of an account")


def _unusable(path: Path, reason: str) -> KeyringError:
    return KeyringError(
        f"the key file {path} cannot be used: {reason}. Restore it from a backup; or remove {path.parent} to begin "
        "with new keys, which makes credentials issued so far worthless and puts what JetStream has stored out of reach"
    )
