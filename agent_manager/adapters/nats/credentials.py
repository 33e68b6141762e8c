"""Credentials files: a user's token and seed in the text form that every NATS client and the `nats` tool read."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agent_manager.adapters.nats.jwt import user_jwt
from agent_manager.adapters.nats.keyring import Issuer
from agent_manager.adapters.nats.private_files import (
    create_private,
    make_directory_of_others,
    make_private_directory,
    write_private,
)
from agent_manager.adapters.users import find_user
from agent_manager.domain.identifiers import check_agent_id, split_instance_id
from agent_manager.nats_access.credentials_file import read_credentials
from agent_manager.nats_access.errors import CredentialsError
from agent_manager.nats_access.nkey import KeyKind, Nkey
from agent_manager.ports.clock import Clock
from agent_manager.ports.identities import LaunchName
from agent_manager.protocol.permissions import Permissions, of_launch
from agent_manager.protocol.subjects import token

_SUFFIX = ".creds"


def credentials_text(jwt: str, seed: str) -> str:
    """The contents of a credentials file, decorated as `nsc generate creds` does it."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\n"
        "NKEY Seed printed below can be used to sign and prove identity.\n"
        "NKEYs are sensitive and should be treated as secrets.\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )


def issue_user(
    issuer: Issuer, *, name: str, permissions: Permissions, issued_at: float, lifetime_s: float | None
) -> str:
    """A new user with a key of its own, as the text of its credentials file.

    `issued_at` is Unix seconds; without a lifetime the user does not expire.
    """
    user = Nkey.generate(KeyKind.USER)
    jwt = user_jwt(
        name=name,
        user=user.public,
        account=issuer.account,
        issuer=issuer.signing,
        permissions=permissions,
        issued_at=issued_at,
        expires_at=None if lifetime_s is None else issued_at + lifetime_s,
    )
    return credentials_text(jwt, user.seed)


@dataclass(frozen=True, slots=True)
class Program:
    """A program with a user of its own, and the file that holds its credentials."""

    name: str
    path: Path
    permissions: Permissions


def write_program_user(program: Program, issuer: Issuer, now: float, lifetime_s: float | None) -> None:
    """Give a program a new user. `now` is Unix seconds. Raises OSError."""
    text = issue_user(issuer, name=program.name, permissions=program.permissions, issued_at=now, lifetime_s=lifetime_s)
    write_private(program.path, text)


class SharedIdentities:
    """The port `Identities` where launches connect as the manager does: there is nothing to make or to renew."""

    def issue(self, launch: LaunchName) -> str:
        """See the port."""
        return ""

    def renew(self, launches: Iterable[LaunchName]) -> None:
        """See the port."""

    def destroy(self, launch_id: str) -> None:
        """See the port."""

    def keep_only(self, launch_ids: frozenset[str]) -> None:
        """See the port."""


class LaunchIdentities:
    """The port `Identities`: a user for every launch, its credentials in `<directory>/<launch_id>.creds` (0600).

    Destroying unlinks: overwriting first would promise what journals, copy-on-write and flash do not keep. Unlinking is
    enough against what it is for, a later process reading what an ended one was given.
    """

    def __init__(
        self,
        *,
        directory: Path,
        directory_of_others: Path,
        issuer: Issuer,
        node_id: str,
        clock: Clock,
        lifetime_s: float | None,
        programs: Iterable[Program] = (),
    ) -> None:
        """`directory` belongs to these files alone. `lifetime_s` None: users do not expire.

        `directory_of_others` is for launches that run as other users, who reach nothing in `directory`. `programs` are
        renewed along with the launches.
        """
        self._directory, self._directory_of_others = directory, directory_of_others
        self._programs = tuple(programs)
        self._renewal_at: dict[Path, float] = {}
        self._issuer = issuer
        self._node_id = node_id
        self._clock = clock
        self._lifetime_s = lifetime_s

    def issue(self, launch: LaunchName) -> str:
        """Make the launch's user; returns the path of its credentials file. Issuing again replaces the file.

        Raises InvalidRequestError for an agent or instance id that is none, ValueError when they do not belong
        together, another id is no subject token or the machine has no such user, OSError when the file cannot be
        written.
        """
        check_agent_id(launch.agent_id)
        if split_instance_id(launch.instance_id)[0] != launch.agent_id:
            raise ValueError(f"{launch.instance_id!r} is not an instance of the agent {launch.agent_id!r}")
        permissions = of_launch(
            agent_id=launch.agent_id,
            node_id=self._node_id,
            instance_id=launch.instance_id,
            launch_id=launch.launch_id,
        )
        issued_at = self._clock.now().wall
        text = issue_user(
            self._issuer,
            name=f"{launch.instance_id}.{launch.launch_id}",
            permissions=permissions,
            issued_at=issued_at,
            lifetime_s=self._lifetime_s,
        )
        path = self._path(launch)
        if launch.run_as is None:
            try:
                self._write(path, text)
            except FileNotFoundError:
                make_private_directory(path.parent)
                self._write(path, text)
        else:
            # Each time: somebody else may have made it meanwhile.
            make_directory_of_others(path.parent)
            self._write(path, text, owner=find_user(launch.run_as).uid)
        self._written(path, issued_at)
        return str(path)

    def _write(self, path: Path, text: str, owner: int | None = None) -> None:
        try:
            create_private(path, text, owner=owner)
        except FileExistsError:
            write_private(path, text, owner=owner)

    def renew(self, launches: Iterable[LaunchName]) -> None:
        """See the port. A file of an earlier manager that is missing or unreadable is due as well."""
        failure: OSError | ValueError | None = None
        for launch in launches:
            try:
                if self._due(self._path(launch)):
                    self.issue(launch)
            except (OSError, ValueError) as error:
                failure = error
        for program in self._programs:
            try:
                if self._due(program.path):
                    issued_at = self._clock.now().wall
                    write_program_user(program, self._issuer, issued_at, self._lifetime_s)
                    self._written(program.path, issued_at)
            except OSError as error:
                failure = error
        if failure is not None:
            raise failure

    def destroy(self, launch_id: str) -> None:
        """Remove the launch's credentials; nothing happens when there are none. Raises OSError."""
        for directory in (self._directory, self._directory_of_others):
            path = directory / _file_of(launch_id)
            self._renewal_at.pop(path, None)
            path.unlink(missing_ok=True)
        # It lies outside the data directory, and goes with the last file in it.
        with contextlib.suppress(OSError):
            self._directory_of_others.rmdir()

    def keep_only(self, launch_ids: frozenset[str]) -> None:
        """Remove the credentials of every other launch, and what a killed writer left. Raises OSError."""
        # Once, and not for every launch: somebody may have given others rights to it.
        make_private_directory(self._directory)
        kept = {_file_of(launch_id) for launch_id in launch_ids}
        for directory in (self._directory, self._directory_of_others):
            for path in directory.glob("*"):
                if path.name not in kept:
                    path.unlink(missing_ok=True)

    def _written(self, path: Path, issued_at: float) -> None:
        expires_at = None if self._lifetime_s is None else issued_at + self._lifetime_s
        self._renewal_at[path] = _renewal_at(issued_at, expires_at)

    def _due(self, path: Path) -> bool:
        """Whether half of its life is over. Files that an earlier manager has written are read, once."""
        if path not in self._renewal_at:
            try:
                found = read_credentials(path)
                self._renewal_at[path] = _renewal_at(found.issued_at, found.expires_at)
            except (CredentialsError, FileNotFoundError):
                return True
        return self._clock.now().wall >= self._renewal_at[path]

    def _path(self, launch: LaunchName) -> Path:
        directory = self._directory if launch.run_as is None else self._directory_of_others
        return directory / _file_of(launch.launch_id)


def _renewal_at(issued_at: float, expires_at: float | None) -> float:
    """Half of the lifetime, in Unix seconds."""
    return math.inf if expires_at is None else (issued_at + expires_at) / 2


def _file_of(launch_id: str) -> str:
    return f"{token(launch_id)}{_SUFFIX}"
