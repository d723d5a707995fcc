"""Passwords, tokens and keys stay out of what is kept."""

from __future__ import annotations

import pytest

from tradingbot_exp.config import redaction
from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.redaction import (
    holds_secret,
    is_secret_file,
    mask_secrets,
    read_environment,
    redact,
    remember,
    remember_values,
)
from tradingbot_exp.tracking.writing.configuration import as_recorded


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests of this process let be remembered is not known here."""
    for known in ("_known", "_of_environment", "_references"):
        monkeypatch.setattr(redaction, known, {})


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


def test_a_password_that_is_also_a_scheme_is_masked_as_a_word_alone() -> None:
    remember("postgresql://postgres:postgres@host/db")
    assert redact("postgresql://postgres:postgres@host: no user postgres") == "postgresql://***@host: no user ***"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("train experiment.tags.api_key=abc seed=1", "train experiment.tags.api_key=*** seed=1"),
        ("connect(user='me', password='it is mine', port=1)", "connect(user='me', password='***', port=1)"),
        ("PGPASSWORD=a1 psql; DB_PASS=b2", "PGPASSWORD=*** psql; DB_PASS=***"),
        ("run --api-token abc --epochs 3", "run --api-token *** --epochs 3"),
        ("db:\n  password: correct horse\n  port: 1\n", "db:\n  password: ***\n  port: 1\n"),
        ('{"clientSecret": "x", "n": 1}', '{"clientSecret": "***", "n": 1}'),
        ('{"pin_secret": 12, "n": 1}', '{"pin_secret": "***", "n": 1}'),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("os.environ['AWS_SECRET_ACCESS_KEY'] = 'x y'", "os.environ['AWS_SECRET_ACCESS_KEY'] = '***'"),
        ("got AKIAIOSFODNN7EXAMPLE here", "got *** here"),
        (f"remote: ghp_{'a1' * 18}", "remote: ***"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nx", "***\nx"),
    ],
)
def test_what_is_called_after_a_secret_or_looks_like_one_is_masked(text: str, kept: str) -> None:
    assert redact(text) == kept


FORMS = "gho_ ghp_ ghr_ ghs_ ghu_ github_pat_ glpat- xoxb- sk- sk-proj- sk_live_ pk-ant- pk_test_ npm_ hf_ AIza"


@pytest.mark.parametrize("form", FORMS.split())
def test_a_key_is_told_by_its_form_where_nothing_else_is(form: str) -> None:
    assert redact(f"got {form}{'a1' * 20}") == "got ***"


@pytest.mark.parametrize(
    "text",
    [
        "tokenizers==0.21\ngoogle-auth==2.40\nsecrets==1",
        "tokenizer=bert max_tokens: 5 author: me compass=north",
        "password: null\ntoken: ${oc.env:TOKEN}\nsecret: true",
        "Unexpected token: end of line",
        "if token == secret: return",
        "expected postgresql://USER@HOST/NAME",
        "http://host:5000/a?mail=a@b",
    ],
)
def test_what_merely_sounds_so_stays(text: str) -> None:
    assert redact(text) == text


def test_keys_called_after_a_secret_are_masked_and_tokenizers_are_not() -> None:
    given = {
        "db": {"password": "a", "port": 1, "hunter": None},
        "api_key": "b",
        "tokenizer": "c",
        "max_tokens": 5,
        "eos_token": 5,
        "x": ["http://u:p@h", "+experiment.tags.api_token=two words", "--token", "d", "seed=1"],
        "credentials": {"user": "e", "parts": ["f", 1]},
        "auth_token": "${oc.env:TOKEN}",
        "auth_key": "${oc.env:TOKEN,default}",
        "OMP_NUM_THREADS": "2",
        "AWS_SECRET_ACCESS_KEY": "g",
    }
    assert mask_secrets(given) == {
        "db": {"password": "***", "port": 1, "hunter": None},
        "api_key": "***",
        "tokenizer": "c",
        "max_tokens": 5,
        "eos_token": 5,
        "x": ["http://***@h", "+experiment.tags.api_token=***", "--token", "***", "seed=1"],
        "credentials": {"user": "***", "parts": ["***", "***"]},
        "auth_token": "${oc.env:TOKEN}",
        "auth_key": "***",
        "OMP_NUM_THREADS": "2",
        "AWS_SECRET_ACCESS_KEY": "***",
    }


def test_secrets_of_the_environment_are_masked_wherever_they_turn_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_API_KEY", "k3y-0f-mine")
    monkeypatch.setenv("DB_PASSWORD", "plain")
    monkeypatch.setenv("PIN_PASSWORD", "123456")
    monkeypatch.setenv("PWD", "/home/me/it's 1")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false-1")
    read_environment()
    try:
        assert (
            redact("401 for k3y-0f-mine, plain, false-1, /home/me/it's 1; 123456, 0.123456")
            == "401 for ***, plain, false-1, /home/me/it's 1; 123456, 0.123456"
        )
    finally:
        monkeypatch.undo()
        read_environment()


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ('+API_KEY="S4"', True),
        ("+password: str = 'hunter2'", True),
        ('+os.environ.setdefault("DB_PASSWORD", "x")', True),
        ('+settings = {"token": "x"}', True),
        ("+connect('postgresql://me:pw@host/db')", True),
        ('+key = "AKIAIOSFODNN7EXAMPLE"', True),
        ("+-----BEGIN OPENSSH PRIVATE KEY-----\n+b3Bl", True),
        ("+password=S1", False),
        ("+  token: S2", False),
        ('+{"secret": "x"}', False),
    ],
)
def test_text_with_a_secret_in_it_is_told(text: str, source: bool) -> None:
    assert holds_secret(text, source=source)


@pytest.mark.parametrize(
    "text",
    [
        "+password = getpass()",
        "+token=token, secret=secret",
        '+api_key = os.environ["API_KEY"]',
        '+password = ""',
        '+uri = f"http://{user}:{password}@host"',
        "+tokenizer = 'bert'",
        "+secret: bool = True",
    ],
)
def test_source_that_handles_secrets_holds_none(text: str) -> None:
    assert not holds_secret(text, source=True)


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


def test_what_comes_from_the_environment_is_kept_as_its_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "relu")
    monkeypatch.setenv("FOUR", "4")
    words = ["experiment.description=${oc.env:MINE}", "model.activation=${oc.env:MINE}", "seed=${oc.env:FOUR}"]
    config = compose_config([*words, "data.symbol='${oc.env:MINE}-x'"])
    assert (config.experiment.description, config.model.activation, config.seed) == ("relu", "relu", 4)
    kept = as_recorded(config)
    assert kept["experiment"]["description"] == "${oc.env:MINE}" and kept["data"]["symbol"] == "${oc.env:MINE}-x"
    assert (kept["model"]["activation"], kept["seed"]) == ("relu", 4)  # a name of an option, and a number
    other = compose_config(["experiment.description=mine"])
    assert as_recorded(other)["experiment"]["description"] == "mine"
    words[-1:] = ["data.symbol=relu"]  # the same, but not from there
    again = as_recorded(compose_config([word for word in words if "oc.env" not in word]))
    assert (again["data"]["symbol"], again["experiment"]["description"]) == ("relu", None)
    uri = as_recorded(compose_config(["tracking.uri=sqlite:///${oc.env:MINE}.db"]))["tracking"]["uri"]
    assert uri.endswith("relu.db")  # a moved store is known by it


def test_numbers_stay_numbers_wherever_they_stand() -> None:
    remember("postgresql://me:2020@host/db")
    remember_values({"db.password": 654321}, {"db.password": 654321})
    text = '{"seed": 654321, "day": "2020-01-31"}'
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    ["eos_token: 50256", '{"eos_token": 50256, "a": 1}', "model.options.eos_token=100257", "  pad_token: -1"],
)
def test_the_number_of_a_token_stays_and_its_text_is_masked(text: str) -> None:
    remember_values({"model.options.eos_token": 100257}, {"model.options.eos_token": 100257})
    assert redact(text) == text and mask_secrets([text]) == [text]
    worded = text.replace("50256", "50256abc").replace("100257", "100257abc").replace("-1", "abc1")
    assert "abc" not in redact(worded)


def test_a_reference_with_an_option_as_its_default_stays_one() -> None:
    assert redact("cmd: '${oc.env:CMD,--token abc}'") == "cmd: '${oc.env:CMD,--token ***}'"
