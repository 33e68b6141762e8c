"""Addresses as they are shown: never with a password, wherever it stands and however badly it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_manager.configuration.addresses import shown_database, shown_servers


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:hunter2@h/d", "postgresql://me:********@h/d"),
        ("postgresql://me:top hunter2@h/d", "postgresql://me:********@h/d"),
        ("postgresql://me:hun:ter/2@h/d", "postgresql://me:********@h/d"),
        ("postgresql://me:hun@ter2@h:5432/d", "postgresql://me:********@h:5432/d"),
        ("postgresql://me:#hunter2@[::1]:1,b/d", "postgresql://me:********@[::1]:1,b/d"),
        ("postgresql://me@h/d?sslmode=require", "postgresql://me@h/d?sslmode=require"),
        ("postgresql://me@h/d?password=hunter2", "postgresql://me@h/d?password=********"),
        ("postgresql://h/d?p%61ssword=hunter2", "postgresql://h/d?p%61ssword=********"),
        (
            "postgresql:///d?host=/run&sslpassword=hunter2&passfile=/f&hunter2",
            "postgresql:///d?host=/run&sslpassword=********&passfile=/f&********",
        ),
        ("postgresql://h/d?password=hun@ter2", "postgresql://********"),
        ("postgresql://h/d?password=a&hunter2=b", "postgresql://h/d?password=********&********=********"),
        ("postgresql://me:12#hunter2@h/d", "postgresql://me:********@h/d"),
        ("postgresql://h/d#hunter2", "postgresql://h/d#********"),
        ("postgresql://me:hunter2", "postgresql://********"),
        ("postgresql://me:hun?ter2@h/d", "postgresql://********"),
        ("postgresql://h/d hunter2@x", "postgresql://********"),
        ("mysql://me:hunter2@h/d", "mysql://me:********@h/d"),
        ("sqlite:////a/b@c.db", "sqlite:////a/b@c.db"),
        ("sqlite:///c.db?mode=ro&key=hunter2", "sqlite:///c.db?mode=ro&********=********"),
        ("hunter2", "********"),
        ("me:hunter2@h/d", "********"),
        ("hun ter2://h", "********"),
    ],
)
def test_a_database_is_shown_without_its_password(url: str, shown: str) -> None:
    assert shown_database(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nats://a:1,tls://b", "nats://a:1,tls://b"),
        ("a:1", "a:1"),
        ("nats://me:hunter2@a:1,hunter2@b", "********"),
        ("nats://me:top@hunter2,ter2@a:1", "********"),
        ("nats://a:1,nats://hunter2@b", "nats://a:1,nats://********@b"),
        ("me:hunter2@a:1", "me:********@a:1"),
        ("me:hun/ter2@a:1", "me:********@a:1"),
        ("nats://hun/ter2@a", "nats://********"),
        ("nats://me:hun,ter2@a", "********"),
        ("nats://me:2024,hunter2@a:1", "********"),
        ("nats://me:hun,ter2:1@a", "********"),
        ("nats://me:12@a,me:hun,ter2@b", "********"),
        ("nats://a:1,nats://me:hunter2@b:1", "nats://a:1,nats://me:********@b:1"),
        ("nats://h:99999", "nats://h:99999"),
        ("hun ter2://a", "********"),
    ],
)
def test_servers_are_shown_without_passwords_and_tokens(text: str, shown: str) -> None:
    assert shown_servers(text) == shown


SECRETS = st.text(st.characters(codec="utf-8"), max_size=6).map(lambda text: f"QZ{text}ZQ")


@given(SECRETS)
def test_no_character_of_a_password_makes_it_seen(password: str) -> None:
    for url in (f"postgresql://me:{password}@h/d", f"postgresql://h/d?password={password.replace('&', '')}"):
        assert not [part for part in ("QZ", "ZQ") if part in shown_database(url)]
    for text in (f"nats://me:{password}@h", f"me:{password}@h:1", f"{password.replace(':', '')}@h"):
        assert not [part for part in ("QZ", "ZQ") if part in shown_servers(text)]
