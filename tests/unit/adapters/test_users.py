"""Whom `run_as` names, on this machine."""

from __future__ import annotations

import os
import pwd

import pytest

from agent_manager.adapters.users import SystemUser, find_user

TAKEN = {entry.pw_uid for entry in pwd.getpwall()}
NOBODYS = next(number for number in range(54_321, 60_000) if number not in TAKEN)


@pytest.mark.parametrize("run_as", ["nobody", str(pwd.getpwnam("nobody").pw_uid)])
def test_a_user_is_found_by_name_and_by_number(run_as: str) -> None:
    entry = pwd.getpwnam("nobody")
    found = find_user(run_as)
    assert (found.uid, found.gid, found.name, found.home) == (entry.pw_uid, entry.pw_gid, "nobody", entry.pw_dir)
    assert found.groups == tuple(os.getgrouplist("nobody", entry.pw_gid))


def test_another_group_is_its_first_one() -> None:
    found = find_user("nobody:12345")
    assert (found.gid, found.groups[0]) == (12345, 12345)


def test_a_number_of_nobody_is_enough_with_a_group() -> None:
    assert find_user(f"{NOBODYS}:4321") == SystemUser(
        uid=NOBODYS, gid=4321, groups=(4321,), name=str(NOBODYS), home="/", shell="/bin/sh"
    )


@pytest.mark.parametrize(
    ("run_as", "wrong"),
    [
        ("no-such-user", "has no user no-such-user"),
        ("no-such-user:1", "has no user no-such-user"),
        (str(NOBODYS), f"has no user {NOBODYS}; a number needs a group then, as in 1000:1000"),
        ("nobody:no-such-group", "has no group no-such-group"),
        ("nobody:4294967295", "has no group 4294967295"),
        ("4294967295:1", "has no user 4294967295"),
        ("99999999999999999999:1", "has no user 99999999999999999999"),
    ],
)
def test_what_is_not_there_is_said(run_as: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=f"{wrong}$"):
        find_user(run_as)
