"""Ed25519 keys in the text form of NATS, as described in https://docs.nats.io (nkeys).

A seed is secret; the public key made from it is a name.
"""

from __future__ import annotations

import os
from enum import Enum

import nkeys


class KeyKind(Enum):
    """What a key stands for; the value is the prefix byte of its text form."""

    OPERATOR = nkeys.PREFIX_BYTE_OPERATOR
    ACCOUNT = nkeys.PREFIX_BYTE_ACCOUNT
    USER = nkeys.PREFIX_BYTE_USER


class Nkey:
    """A key pair. Its representation shows the public key only."""

    def __init__(self, seed: str) -> None:
        """Read a seed. Raises ValueError, which never shows the seed, when its form or its checksum is wrong."""
        try:
            prefix, raw = nkeys.decode_seed(seed.encode("ascii"))
            whole = nkeys.encode_seed(bytes(raw), prefix).decode("ascii") == seed
            kind = KeyKind(prefix)
        except (nkeys.NkeysError, ValueError):
            whole = False
        if not whole:
            # Raised here, so that no chained exception carries the text that was read.
            raise ValueError("this is not an nkey seed: its form or its checksum is wrong")
        self._hold(kind, seed)

    def _hold(self, kind: KeyKind, seed: str) -> None:
        self.kind = kind
        self.seed = seed
        self._pair = nkeys.from_seed(seed.encode("ascii"))
        self.public: str = self._pair.public_key.decode("ascii")

    @classmethod
    def generate(cls, kind: KeyKind) -> Nkey:
        """A new key from the operating system's randomness."""
        key = cls.__new__(cls)
        key._hold(kind, nkeys.encode_seed(os.urandom(32), kind.value).decode("ascii"))
        return key

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature of `data`, 64 bytes."""
        signature: bytes = self._pair.sign(data)
        return signature

    def __repr__(self) -> str:
        return f"Nkey({self.public})"
