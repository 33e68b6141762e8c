from __future__ import annotations

import nkeys
import pytest

from agent_manager.nats_access.nkey import KeyKind, Nkey


@pytest.mark.parametrize(("kind", "letter"), [(KeyKind.OPERATOR, "O"), (KeyKind.ACCOUNT, "A"), (KeyKind.USER, "U")])
def test_a_new_key_says_what_it_is_for(kind: KeyKind, letter: str) -> None:
    key = Nkey.generate(kind)
    assert (key.kind, key.public[0], key.seed[:2]) == (kind, letter, f"S{letter}")


def test_a_key_is_read_back_from_its_seed() -> None:
    key = Nkey.generate(KeyKind.USER)
    assert Nkey(key.seed).public == key.public


def test_two_keys_differ() -> None:
    assert Nkey.generate(KeyKind.USER).seed != Nkey.generate(KeyKind.USER).seed


def test_what_is_signed_is_verified_by_the_nats_library() -> None:
    key = Nkey.generate(KeyKind.USER)
    assert nkeys.from_seed(key.seed.encode()).verify(b"nonce", key.sign(b"nonce"))


def test_a_key_is_shown_by_its_public_half() -> None:
    key = Nkey.generate(KeyKind.ACCOUNT)
    assert key.public in repr(key)
    assert key.seed not in repr(key)


@pytest.mark.parametrize(
    "spoil", [lambda seed: seed[:-1], lambda seed: f"{seed[:20]}{'A' if seed[20] != 'A' else 'B'}{seed[21:]}"]
)
def test_a_spoilt_seed_is_refused_without_being_shown(spoil: object) -> None:
    assert callable(spoil)
    spoilt = spoil(Nkey.generate(KeyKind.USER).seed)
    with pytest.raises(ValueError, match="not an nkey seed") as caught:
        Nkey(spoilt)
    assert spoilt not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "text", ["", "S", "not a seed", "é", "SU" + "A" * 56, "UBC32VBEDNSAH5SEAALOWKPRGMR57V2QMDRXZXDPJ6WDXYKS5XPPTP5L"]
)
def test_what_is_no_seed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an nkey seed"):
        Nkey(text)
