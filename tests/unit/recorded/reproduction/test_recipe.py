"""The command that `reproduce` prints is the one that made the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import train as train_command

from tradingbot_exp import load_run
from tradingbot_exp.cli.main import run as command

WORDS = ("data=synthetic", "data.synthetic.bars=300", "model.hidden_layers=[4]", "training.epochs=1")
STUDY = ("hpo=grid", "hpo.num_trials=2", "hpo.ensemble=2", "hpo.reseeds=0", "tracking.report=false")


def test_an_ensemble_is_made_by_the_command_of_its_study(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workdir)
    done = train_command(workdir, "--multirun", *WORDS, *STUDY)
    assert done.status == 0, done.err
    study = load_run("latest")
    told = []
    for run_id in (study.run_id, study.tags["delivered.run_id"]):
        assert command(["reproduce", run_id, "--json"]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[1]["command"] == told[0]["command"] and "--multirun" in told[0]["command"]
    assert told[1]["verify"] is None and told[0]["verify"].endswith(f"reproduce {study.run_id} --verify")
