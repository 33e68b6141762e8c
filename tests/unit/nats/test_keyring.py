from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent_manager.adapters.nats import keyring
from agent_manager.adapters.nats.keyring import Keyring, KeyringError, load_keyring, load_or_create_keyring
from agent_manager.adapters.nats.private_files import write_private
from agent_manager.nats_access.nkey import KeyKind, Nkey

FILES = ("operator.nk", "system-account.nk", "account.nk", "account-signing.nk")


def seeds(keys: Keyring) -> list[str]:
    return [key.seed for key in (keys.operator, keys.system_account, keys.account, keys.account_signing)]


def test_the_first_start_makes_four_different_keys(tmp_path: Path) -> None:
    keys = load_or_create_keyring(tmp_path / "nats" / "keys")
    assert len(set(seeds(keys))) == 4
    assert [keys.operator.kind, keys.account.kind] == [KeyKind.OPERATOR, KeyKind.ACCOUNT]


def test_later_starts_read_the_same_keys(tmp_path: Path) -> None:
    made = load_or_create_keyring(tmp_path / "nats" / "keys")
    assert seeds(load_or_create_keyring(tmp_path / "nats" / "keys")) == seeds(made)
    assert seeds(load_keyring(tmp_path / "nats" / "keys")) == seeds(made)


def test_users_are_signed_by_the_signing_key_for_the_account(tmp_path: Path) -> None:
    keys = load_or_create_keyring(tmp_path / "keys")
    assert (keys.issuer.account, keys.issuer.signing) == (keys.account.public, keys.account_signing)


def test_keys_are_their_owners_alone(tmp_path: Path) -> None:
    load_or_create_keyring(tmp_path / "nats" / "keys")
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "nats", tmp_path / "nats" / "keys")] == [0o700] * 2
    assert {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "nats" / "keys").iterdir()} == dict.fromkeys(
        FILES, 0o600
    )


@pytest.mark.parametrize("written", range(4))
def test_a_first_start_that_is_cut_short_leaves_no_keys_and_the_next_one_makes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    remaining = [written]

    def write_until_cut_short(path: Path, text: str, *, durable: bool) -> None:
        if remaining[0] == 0:
            raise KeyboardInterrupt
        remaining[0] -= 1
        write_private(path, text, durable=durable)

    with monkeypatch.context() as patched:
        patched.setattr(keyring, "write_private", write_until_cut_short)
        with pytest.raises(KeyboardInterrupt):
            load_or_create_keyring(tmp_path / "nats" / "keys")
    assert not (tmp_path / "nats" / "keys").exists()

    load_or_create_keyring(tmp_path / "nats" / "keys")
    assert [path.name for path in (tmp_path / "nats").iterdir()] == ["keys"]


def test_first_starts_at_the_same_time_agree_on_the_keys(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(load_or_create_keyring, [tmp_path / "nats" / "keys"] * 8))
    assert len({tuple(seeds(keys)) for keys in made}) == 1


@pytest.mark.parametrize("name", FILES)
def test_a_missing_key_is_never_replaced_in_silence(tmp_path: Path, name: str) -> None:
    load_or_create_keyring(tmp_path / "keys")
    (tmp_path / "keys" / name).unlink()
    with pytest.raises(KeyringError, match=r"Restore it from a backup") as caught:
        load_or_create_keyring(tmp_path / "keys")
    assert str(tmp_path / "keys" / name) in caught.value.message
    assert not caught.value.retryable


@pytest.mark.parametrize("contents", [b"", b"garbage", b"\xff\xfe", b"SOAAAA"])
def test_a_corrupt_key_is_named(tmp_path: Path, contents: bytes) -> None:
    load_or_create_keyring(tmp_path / "keys")
    (tmp_path / "keys" / "account.nk").write_bytes(contents)
    with pytest.raises(KeyringError, match=r"account\.nk cannot be used"):
        load_keyring(tmp_path / "keys")


def test_a_key_of_the_wrong_kind_is_named(tmp_path: Path) -> None:
    load_or_create_keyring(tmp_path / "keys")
    (tmp_path / "keys" / "operator.nk").write_text(Nkey.generate(KeyKind.USER).seed)
    with pytest.raises(
        KeyringError, match=r"operator\.nk cannot be used: it holds the key of a user, not of an operator"
    ):
        load_keyring(tmp_path / "keys")
