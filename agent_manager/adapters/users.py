"""Users of this machine, as `run_as` names them."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from functools import lru_cache

_LAST_ID = (1 << 32) - 2
"""The one above it is no id: the kernel takes it for "as it is"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemUser:
    """Whom a process is to run as, and what that user finds in its environment."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str
    shell: str

    @property
    def variables(self) -> dict[str, str]:
        """As `login(1)` sets them."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name, "SHELL": self.shell}


@lru_cache(maxsize=128)
def find_user(run_as: str) -> SystemUser:
    """The user of `user` or `user:group`, by name or number, as it was when first asked for.

    A number that the machine has no user of needs a group, as in a container. Raises ValueError where there is none.
    """
    user, _, group = run_as.partition(":")
    gid = _gid(group, run_as) if group else None
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        if gid is None or not user.isdigit() or int(user) > _LAST_ID:
            mend = "; a number needs a group then, as in 1000:1000" if user.isdigit() and gid is None else ""
            raise ValueError(f"run_as {run_as!r}: this machine has no user {user}{mend}") from None
        return SystemUser(uid=int(user), gid=gid, groups=(gid,), name=user, home="/", shell="/bin/sh")
    gid = entry.pw_gid if gid is None else gid
    return SystemUser(
        uid=entry.pw_uid,
        gid=gid,
        groups=tuple(os.getgrouplist(entry.pw_name, gid)),
        name=entry.pw_name,
        home=entry.pw_dir,
        shell=entry.pw_shell,
    )


def _gid(group: str, run_as: str) -> int:
    try:
        gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        if gid <= _LAST_ID:
            return gid
    except KeyError:
        pass
    raise ValueError(f"run_as {run_as!r}: this machine has no group {group}")
