"""What a checkout full of secrets is run with does not get into the store, nor into any file beside it."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from support import REPOSITORY, git, python, train

APP = str(REPOSITORY / "tests" / "apps" / "plain_app.py")


def secret() -> str:
    return f"S{uuid.uuid4().hex[:10]}"


def holders(folder: Path, secrets: list[str], own: set[Path]) -> list[tuple[str, str]]:
    """Name the files below a folder, but for the user's own, that hold a secret, and which."""
    files = [file for file in folder.rglob("*") if file.is_file() and file not in own and ".git" not in file.parts]
    return [(file.name, word) for file in files for word in secrets if word.encode() in file.read_bytes()]


def test_nothing_that_a_run_leaves_behind_holds_a_secret(workdir: Path) -> None:
    secrets = [secret() for _ in range(7)]
    tag, variable, config, source, described, option, key = secrets
    git(workdir, "init", "-q")
    git(workdir, "commit", "-q", "--allow-empty", "-m", "first")
    own = {workdir / name for name in (".my.cnf", "credentials.py", "notes.txt")}
    for file, text in zip(sorted(own), (f"password={config}\n", f'API_KEY="{source}"\n', f"{source}\n"), strict=True):
        file.write_text(text)
    done = train(
        workdir,
        *("training=smoke", "data=synthetic", "tracking.report=false"),
        f"+experiment.tags.api_token={tag}",
        "+experiment.tags.where=${oc.env:PLACE_OF_MINE}",
        f"+experiment.tags.login='user=me password={option}'",
        f"experiment.description='mail https://me:{described}@host/'",
        "experiment.run_name='as ${oc.env:MY_ACCESS_TOKEN}'",
        "experiment.name='of ${oc.env:MY_ACCESS_TOKEN}'",
        env={"PLACE_OF_MINE": variable, "MY_ACCESS_TOKEN": key},
    )
    assert done.status == 0, done.err
    assert done.run.data.tags["where"] == done.run.data.params["experiment.tags.where"] == "${oc.env:PLACE_OF_MINE}"
    assert [done.run.data.tags["api_token"], done.run.info.run_name] == ["***", "as ***"]
    assert "+experiment.tags.api_token=***" in (done.artifacts() / "config" / "overrides.yaml").read_text()
    assert holders(workdir, secrets, own) == []
    assert not (workdir / "reports").exists() and not (done.artifacts() / "report").exists()
    assert not [word for word in secrets if word in done.out + done.err]


@pytest.mark.parametrize("words", [[], ["--multirun"]], ids=["job", "sweep"])
def test_nor_does_what_another_app_leaves_behind(workdir: Path, words: list[str]) -> None:
    secrets = [secret() for _ in range(3)]
    password, variable, key = secrets
    given = [f"+db.password={password}", "+place=${oc.env:PLACE_OF_MINE}", f"+auth={{key: {key}, port: 1}}"]
    done = python(workdir, APP, *words, *given, "hydra.job.chdir=false", env={"PLACE_OF_MINE": variable})
    assert done.status == 0, done.err
    params = done.runs()[-1].data.params
    assert (params["db.password"], params["place"]) == ("***", "${oc.env:PLACE_OF_MINE}")
    assert (params["auth.key"], params["auth.port"]) == ("***", "***")
    assert holders(workdir, secrets, set()) == []
