"""Passwords, tokens and keys stay out of what is kept."""

from __future__ import annotations

import pytest

from tradingbot_exp.config.redaction import (
    is_secret_file,
    mask_secrets,
    redact,
    redact_command,
    redact_mapping,
    remember,
)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("http://me:pw@host:5000/x", "http://***@host:5000/x"),
        ("uri: postgresql+psycopg://me:p%40w@db/x?sslmode=on", "uri: postgresql+psycopg://***@db/x?sslmode=on"),
        ("https://ghp_token@github.com/a/b.git", "https://***@github.com/a/b.git"),
        ("https://host/x?api_key=abc&page=2", "https://host/x?api_key=***&page=2"),
        ("http://me:p@ss@host/x", "http://***@host/x"),
        ("http://me:p'w@host", "http://***@host"),
        ("tracking.uri=http\\://me\\:pw@host", "tracking.uri=http\\://***@host"),
        ("mail me@example.org about http://host/@home", "mail me@example.org about http://host/@home"),
        ("sqlite:////tmp/a@b/mlflow.db", "sqlite:////tmp/a@b/mlflow.db"),
    ],
)
def test_credentials_in_uris_are_masked_and_the_rest_stays(text: str, kept: str) -> None:
    assert redact(text) == kept


def test_a_password_that_no_pattern_can_tell_is_masked_once_its_address_is_known() -> None:
    remember("postgresql://me:pa/ss word@host/db")
    assert redact("could not connect with pa/ss word to host") == "could not connect with *** to host"


def test_secret_arguments_of_a_command_are_masked() -> None:
    assert redact_command("train experiment.tags.api_key=abc seed=1") == "train experiment.tags.api_key=*** seed=1"


def test_keys_called_after_a_secret_are_masked_and_tokenizers_are_not() -> None:
    given = {
        "db": {"password": "a", "port": 1},
        "api_key": "b",
        "tokenizer": "c",
        "max_tokens": 5,
        "x": ["http://u:p@h"],
    }
    assert mask_secrets(given) == {
        "db": {"password": "***", "port": 1},
        "api_key": "***",
        "tokenizer": "c",
        "max_tokens": 5,
        "x": ["http://***@h"],
    }


def test_values_with_secret_names_are_masked() -> None:
    given = {"AWS_SECRET_ACCESS_KEY": "abc", "TOKEN": "t", "PLAIN": "http://a:b@c", "OMP_NUM_THREADS": "2"}
    assert redact_mapping(given) == {
        "AWS_SECRET_ACCESS_KEY": "***",
        "TOKEN": "***",
        "PLAIN": "http://***@c",
        "OMP_NUM_THREADS": "2",
    }


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        ".envrc",
        "prod.env",
        ".npmrc",
        "gcp-service-account.json",
        "api_keys.txt",
        "a/.env.local",
        "id_rsa",
        "k/server.pem",
        "aws_credentials.json",
        "secrets/db",
    ],
)
def test_files_that_hold_secrets_are_recognised(name: str) -> None:
    assert is_secret_file(name)


@pytest.mark.parametrize("name", ["tests/test_secrets.py", "tokenizer.py", "docs/passwords.md", "data/keys_by_day.csv"])
def test_code_and_data_that_merely_sound_so_are_not(name: str) -> None:
    assert not is_secret_file(name)
