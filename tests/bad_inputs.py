"""Bad input for the command that trains: words, and what the one message about them has to name.

`lay_out` makes the files that they speak of. ``-m`` stands for ``--multirun``.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

BARS = "date,open,high,low,close,volume\n" + "".join(
    f"2020-01-{day:02d},{day},{day + 1},{day - 0.5},{day + 0.5},{day}\n" for day in range(1, 29)
)
CONF = {
    "broken/data/mine.yaml": "name: x\nfeatures: [a\nsource: csv\n",
    "tab/data/mine.yaml": "name: x\n\tsource: csv\n",
    "twice/data/mine.yaml": "name: x\nname: y\n",
    "object/data/mine.yaml": "name: !!python/object/apply:os.getcwd []\n",
    "list/data/mine.yaml": "- name\n- source\n",
    "latin/data/mine.yaml": b"name: caf\xe9\n",
    "unknown/data/mine.yaml": "defaults: [base]\nnaem: x\n",
    "lost/data/mine.yaml": "defaults: [nowhere]\n",
    "none/model/mine.yaml": "hidden_layers: [[64, 32]]\n",
    "word/model/mine.yaml": "defaults: [mlp]\ndropout: much\n",
}


def lay_out(folder: Path) -> None:
    """Make the files that the inputs name."""
    (folder / "text.db").write_text("no database, but long enough to be looked at as one" * 20)
    with sqlite3.connect(folder / "other.db") as database:
        database.execute("CREATE TABLE runs (a)")
    database.close()
    with sqlite3.connect(folder / "stamped.db") as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
    database.close()
    (folder / "bars.csv").write_text(BARS)
    (folder / "notes.txt").write_text("no journal\n")
    (folder / "bars.xlsx").write_text("x")
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("date,open,high,low,close,volume\n")
    (folder / "no_close.csv").write_text("date,open,high,low,last\n2020-01-01,1,2,1,2\n")
    (folder / "words.csv").write_text(BARS.replace("5,6,", "5,six,"))
    (folder / "negative.csv").write_text(BARS.replace("\n2020-01-05,5,", "\n2020-01-05,-5,"))
    (folder / "twice.csv").write_text(BARS + BARS.splitlines()[-1] + "\n")
    (folder / "gap.csv").write_text(BARS.replace("2020-01-05,5,6,", "2020-01-05,,6,"))
    (folder / "not.csv.gz").write_bytes(b"not packed")
    (folder / "not.parquet").write_bytes(b"PAR1 not")
    (folder / "not.json").write_text("{")
    (folder / "binary.csv").write_bytes(bytes(range(256)) * 4)
    (folder / "ragged.csv").write_text(BARS + "2020-02-01,1,2\n")
    (folder / "a_folder").mkdir()
    (folder / "a_folder.csv").mkdir()
    os.mkfifo(folder / "pipe.csv")
    os.mkfifo(folder / "pipe.journal")
    (folder / "link.csv").symlink_to("nowhere.csv")
    for name, text in CONF.items():
        (folder / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "conf" / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "conf" / "pipe" / "data").mkdir(parents=True)
    os.mkfifo(folder / "conf" / "pipe" / "data" / "mine.yaml")
    (folder / "broken_plugin.py").write_text("raise ValueError('cannot be imported')\n")
    (folder / "syntax_plugin.py").write_text("def x(:\n")


REFUSED: dict[str, tuple[list[str], list[str]]] = {
    # Words
    "unknown key": (["model.learnin_rate=0.1"], ["model.learnin_rate", "Did you mean 'model.learning_rate'?"]),
    "unknown block": (["modle.dropout=0.1"], ["modle.dropout", "not a key"]),
    "unknown block alone": (["modle=mlp"], ["modle", "Did you mean 'model'?"]),
    "added key": (["+nothing=1"], ["nothing", "not a key"]),
    "added key of a block": (["+training.epoch=1"], ["training.epoch", "Did you mean 'training.epochs'?"]),
    "forced key": (["++evaluation.cost=1"], ["evaluation.cost", "not a key"]),
    "key below a value": (["model.dropout.rate=0.1"], ["model.dropout"]),
    "key below a list": (["+model.hidden_layers.first=64"], ["model.hidden_layers"]),
    "key below layers": (["model.hidden_layers.first=64"], ["model.hidden_layers has no keys below it"]),
    "key below plugins": (["plugins.mine=x"], ["plugins has no keys below it"]),
    "key below a number": (["training.epochs.most=9"], ["training.epochs has no keys below it"]),
    "added key that is there": (["+seed=1"], ["seed"]),
    "untagged tag": (["experiment.tags.desk=fx"], ["+experiment.tags.desk=VALUE"]),
    "unknown option of a model": (["model.options.size=3"], ["+model.options.size=VALUE"]),
    "unknown option of data": (["data.options.size=3"], ["+data.options.size=VALUE"]),
    "the guide's spelling": (["--model.learning_rate", "0.005"], ["model.learning_rate=0.005"]),
    "the guide's spelling with a sign": (["--training.epochs=5"], ["training.epochs=5"]),
    "no equals sign": (["epochs"], ["'epochs'", "KEY=VALUE"]),
    "nothing before the sign": (["=3"], ["=3"]),
    "space around the sign": (["seed", "=", "3"], ["KEY=VALUE"]),
    "open bracket": (["model.hidden_layers=[64,32"], ["model.hidden_layers=[64,32"]),
    "open quote": (["experiment.name='x"], ["experiment.name='x"]),
    "open brace": (["experiment.tags={a: 1"], ["experiment.tags={a: 1"]),
    "open reference": (["seed=${sead"], ["seed=${sead"]),
    "lost interpolation": (["seed=${sead}"], ["'sead'", "Did you mean 'seed'?"]),
    "lost interpolation of a block": (["model.dropout=${model.drop}"], ["model.drop", "model.dropout"]),
    "circular interpolation": (["seed=${seed}"], ["seed", "refers to itself"]),
    "circle of two": (
        ["model.dropout=${training.momentum}", "training.momentum=${model.dropout}"],
        ["refers to itself"],
    ),
    "unknown resolver": (["seed=${nope:1}"], ["nope"]),
    "variable that is not set": (["experiment.name=${oc.env:NOT_SET_ANYWHERE}"], ["NOT_SET_ANYWHERE"]),
    "a mapping of tags": (["experiment.tags={a: 1}"], ["+experiment.tags.a=VALUE"]),
    "a sweep without --multirun": (["seed=1,2"], ["seed", "--multirun"]),
    "a range without --multirun": (["seed=range(1,3)"], ["seed", "--multirun"]),
    "a group that is not there": (["models=mlp"], ["models", "Did you mean 'model'?"]),
    "an option twice removed": (["model=../model/mlp"], ["model"]),
    # Types
    "wrong type": (["model.learning_rate=fast"], ["model.learning_rate must be a number; got 'fast'"]),
    "wrong type in a list": (["model.hidden_layers=[64,x]"], ["model.hidden_layers[1]", "a whole number"]),
    "nested layers": (["model.hidden_layers=[[64,32]]"], ["model.hidden_layers[0]", "[64, 32]"]),
    "nested layers behind others": (["model.hidden_layers=[64,[32]]"], ["model.hidden_layers[1]", "[32]"]),
    "a mapping among layers": (["model.hidden_layers=[{size: 64}]"], ["model.hidden_layers[0]", "64"]),
    "null among layers": (["model.hidden_layers=[null]"], ["model.hidden_layers"]),
    "layers without brackets": (["model.hidden_layers=64"], ["model.hidden_layers must be a list"]),
    "layers as a mapping": (["model.hidden_layers={a: 64}"], ["model.hidden_layers"]),
    "nested features": (["data.features=[[ret_1]]"], ["data.features[0]", "ret_1"]),
    "nested plugins": (["plugins=[[my_desk]]"], ["plugins[0]", "my_desk"]),
    "features without brackets": (["data.features=ret_1"], ["data.features must be a list"]),
    "half an epoch": (["training.epochs=2.5"], ["training.epochs must be a whole number; got '2.5'"]),
    "half a seed": (["seed=1.5"], ["seed must be a whole number"]),
    "a word for true": (["hpo.resume=perhaps"], ["hpo.resume must be true or false; got 'perhaps'"]),
    "a list for a number": (["training.epochs=[1,2]"], ["training.epochs"]),
    "a mapping for a number": (["training.epochs={a: 1}"], ["training.epochs"]),
    "a list for a name": (["experiment.name=[a,b]"], ["experiment.name"]),
    "a list for a tag": (["+experiment.tags.desk=[a,b]"], ["experiment.tags.desk", "list"]),
    "a mapping for a tag": (["+experiment.tags.desk={a: 1}"], ["experiment.tags.desk", "dict"]),
    "a tag with a sign": (["+experiment.tags.a+b=1"], ["a+b"]),
    "null for a value": (["data.features=null"], ["data.features must have a value"]),
    "null for a number": (["training.epochs=null"], ["training.epochs must have a value"]),
    "a number for a block": (["model=5"], ["model=5"]),
    # Values
    "impossible value": (["training.epochs=0"], ["training.epochs must be 1 or more; got 0"]),
    "negative epochs": (["training.epochs=-1"], ["training.epochs must be 1 or more; got -1"]),
    "no rows in a batch": (["training.batch_size=0"], ["training.batch_size must be 1 or more rows; got 0"]),
    "all units dropped": (["model.dropout=1"], ["model.dropout must be from 0 to below 1; got 1"]),
    "negative dropout": (["model.dropout=-0.1"], ["model.dropout", "-0.1"]),
    "no learning": (["model.learning_rate=0"], ["model.learning_rate must be above 0"]),
    "infinite learning": (["model.learning_rate=inf"], ["model.learning_rate", "inf"]),
    "learning by nan": (["model.learning_rate=nan"], ["model.learning_rate", "nan"]),
    "much learning": (["model.learning_rate=11"], ["model.learning_rate", "at most 10", "11"]),
    "negative decay": (["training.weight_decay=-1"], ["training.weight_decay must be 0 or more; got -1"]),
    "clip at nothing": (["training.gradient_clip=0"], ["training.gradient_clip must be", "got 0"]),
    "clip at a word": (["training.gradient_clip=hard"], ["training.gradient_clip", "'hard'"]),
    "patience of half an epoch": (["training.early_stopping=0.5"], ["training.early_stopping", "0.5"]),
    "checkpoints of nothing": (["training.checkpoint_every=0"], ["training.checkpoint_every", "0"]),
    "empty layer": (["model.hidden_layers=[0]"], ["model.hidden_layers", "[0]"]),
    "negative layer": (["model.hidden_layers=[64,-1]"], ["model.hidden_layers", "-1"]),
    "two forecasts": (["model.output_dim=2"], ["model.output_dim must be 1"]),
    "negative seed": (["seed=-1"], ["seed must be a whole number from 0"]),
    "a seed of 33 bits": (["seed=4294967296"], ["seed", "4294967296"]),
    "one fold": (["evaluation.folds=1"], ["evaluation.folds must be 2 or more; got 1"]),
    "negative cost": (["evaluation.cost_bps=-5"], ["evaluation.cost_bps must be 0 or more"]),
    "unknown position": (["evaluation.position=sgn"], ["evaluation.position", "vol_target", "Did you mean 'sign'"]),
    "a threshold without a cost": (
        ["evaluation.position=threshold", "data.target=direction"],
        ["evaluation.threshold must be a number", "data.target=direction"],
    ),
    "symbols of one instrument": (
        ["evaluation.position=long_short"],
        ["evaluation.position=long_short", "one instrument, IBM", "such as sign"],
    ),
    "a negative threshold": (["evaluation.threshold=-1"], ["evaluation.threshold must be 0 or more"]),
    "no position": (["evaluation.max_position=0"], ["evaluation.max_position must be above 0"]),
    "no volatility": (["evaluation.vol_target=0"], ["evaluation.vol_target must be above 0"]),
    "a volatility of one bar": (["evaluation.vol_window=1"], ["evaluation.vol_window must be 2 or more bars"]),
    "more than all symbols": (["evaluation.quantile=0.6"], ["evaluation.quantile must be above 0 and at most 0.5"]),
    "one symbol": (["evaluation.min_symbols=1"], ["evaluation.min_symbols must be 2 or more"]),
    "negative borrowing": (["evaluation.borrow_bps=-1"], ["evaluation.borrow_bps must be 0 or more"]),
    "negative lag": (["evaluation.execution_lag=-1"], ["evaluation.execution_lag"]),
    "negative embargo": (["evaluation.embargo=-1"], ["evaluation.embargo", "-1"]),
    "a purge below the horizon": (["data.horizon=5", "evaluation.purge=1"], ["evaluation.purge", "data.horizon=5"]),
    "no bars a year": (["evaluation.periods_per_year=0"], ["evaluation.periods_per_year", "0"]),
    "bars a year in words": (["evaluation.periods_per_year=daily"], ["evaluation.periods_per_year", "'daily'"]),
    "no horizon": (["data.horizon=0"], ["data.horizon must be 1 or more bars"]),
    "no window": (["data.sequence_length=0"], ["data.sequence_length must be 1 or more bars"]),
    "no features": (["data.features=[]"], ["data.features"]),
    "few synthetic bars": (["data=synthetic", "data.synthetic.bars=10"], ["data.synthetic.bars", "100 to 68000"]),
    "all signal": (["data=synthetic", "data.synthetic.signal=1"], ["data.synthetic.signal", "1"]),
    "no trials": (["hpo.num_trials=0"], ["hpo.num_trials must be 1 or more; got 0"]),
    "no jobs": (["hpo.n_jobs=0"], ["hpo.n_jobs must be 1 or more; got 0"]),
    "more failures than trials": (["hpo.max_failure_rate=1.5"], ["hpo.max_failure_rate", "1.5"]),
    "negative patience": (["tracking.patience=-1"], ["tracking.patience", "-1"]),
    "no experiment": (["experiment.name=''"], ["experiment.name must be a name"]),
    "no store": (["tracking.uri=''"], ["tracking.uri must be an address"]),
    "a name that cannot be registered": (["tracking.register=a/b"], ["tracking.register", "'a/b'"]),
    "a study's name of two lines": (['hpo.study_name="a\nb"'], ["hpo.study_name", "one line"]),
    "a long name of a study": ([f"hpo.study_name={'x' * 201}"], ["hpo.study_name", "200"]),
    # Names
    "unknown option": (["model=mlpp"], ["model=mlpp", "linear, lstm, mlp", "Did you mean 'mlp'?"]),
    "unknown data": (["data=imb"], ["data=imb", "Did you mean 'ibm'?"]),
    "unknown training": (["training=fast"], ["training=fast", "default, smoke"]),
    "unknown template": (["experiment=mine"], ["experiment=mine", "basic_training_example"]),
    "unknown launcher": (["hydra/launcher=slurmy"], ["hydra/launcher=slurmy", "stacked"]),
    "unknown sweeper": (["-m", "hydra/sweeper=optuna2"], ["hydra/sweeper=optuna2", "study"]),
    "unknown name": (["training.optimizer=adamw"], ["training.optimizer must be", "Did you mean 'AdamW'?"]),
    "unknown activation": (["model.activation=rellu"], ["model.activation", "Did you mean 'relu'?"]),
    "unknown loss": (["training.loss=rmse"], ["training.loss", "mse"]),
    "unknown scheduler": (["training.scheduler=cosin"], ["training.scheduler", "Did you mean 'cosine'?"]),
    "unknown device": (["training.device=gpu"], ["training.device", "cuda", "'gpu'"]),
    "unknown precision": (["training.precision=float16"], ["training.precision", "'float16'"]),
    "unknown progress": (["training.progress=loud"], ["training.progress", "'loud'"]),
    "unknown scheme": (["evaluation.scheme=kfold"], ["evaluation.scheme", "purged_kfold"]),
    "unknown window": (["evaluation.window=growing"], ["evaluation.window", "expanding"]),
    "unknown source": (["data.source=sql"], ["data.source", "'sql'"]),
    "unknown model": (["model.name=mlpp"], ["model.name", "Did you mean 'mlp'?"]),
    "unknown bars": (["data.name=aapl"], ["data.name", "ibm"]),
    "unknown target": (["data.target=returns"], ["data.target", "Did you mean 'return'?"]),
    "unknown objective": (["hpo.metric=val_sharp"], ["hpo.metric must be", "Did you mean 'val_sharpe'?"]),
    "unknown direction": (["hpo.direction=up"], ["hpo.direction", "minimize, maximize"]),
    "unknown sampler": (["hpo.sampler=bayes"], ["hpo.sampler", "tpe"]),
    "unknown pruner": (["hpo.pruner=asha2"], ["hpo.pruner", "hyperband"]),
    "unknown aggregate": (["hpo.aggregate=median"], ["hpo.aggregate", "worst"]),
    "unknown keep": (["hpo.keep=some"], ["hpo.keep", "best"]),
    "unknown champion": (["tracking.champion=best"], ["tracking.champion", "real"]),
    "unknown on_error": (["tracking.on_error=ignore"], ["tracking.on_error", "offline"]),
    "absent device": (["training.device=mps"], ["training.device", "mps", "cpu"]),
    # Keys at odds
    "no objective": (["hpo.metric=[]", "hpo.direction=[]"], ["hpo.metric is empty"]),
    "two objectives, one direction": (["hpo.metric=[val_loss,val_ic]"], ["hpo.metric", "hpo.direction", "2", "1"]),
    "two learning rates": (
        ["model.learning_rate=0.1", "training.learning_rate=0.2"],
        ["model.learning_rate=0.1", "training.learning_rate=0.2", "one value"],
    ),
    "input_dim at odds": (["model.input_dim=7"], ["model.input_dim=7", "10 features", "set it to 10"]),
    "loss at odds with target": (["training.loss=bce"], ["training.loss=bce", "data.target=direction"]),
    "a quantile of mse": (["training.quantile=0.9"], ["training.quantile=0.9", "training.loss=pinball", "mse"]),
    "a quantile of 1": (
        ["training.loss=pinball", "training.quantile=1"],
        ["training.quantile must be between 0 and 1"],
    ),
    "a weight of mse": (["training.pos_weight=balanced"], ["training.pos_weight=balanced", "training.loss=bce", "mse"]),
    "a weight of nothing": (
        ["training.loss=bce", "data.target=direction", "training.pos_weight=0"],
        ["training.pos_weight must be a number above 0, balanced, or null for 1; got 0"],
    ),
    "sharpe of directions": (
        ["training.loss=sharpe", "data.target=direction"],
        ["training.loss=sharpe", "data.target=direction", "training.loss=bce"],
    ),
    "sharpe without returns": (
        ["training.loss=sharpe", "data=table", "data.path=x.csv", "data.features=[a]", "data.target=y"],
        ["training.loss=sharpe needs one-bar returns", "data.returns"],
    ),
    "layers of a linear model": (["model=linear", "model.hidden_layers=[4]"], ["model.hidden_layers", "model=mlp"]),
    "an lstm without layers": (["model=lstm", "model.hidden_layers=[]"], ["model.hidden_layers", "model=lstm"]),
    "momentum of Adam": (["training.momentum=0.9"], ["training.momentum=0.9", "SGD", "Adam"]),
    "options of a model of ours": (["+model.options.size=3"], ["model.options", "mlp"]),
    "options of data of ours": (["+data.options.size=3"], ["data.options", "data=bundled"]),
    "a file for bundled bars": (["data.path=bars.csv"], ["data.path=bars.csv", "data=csv"]),
    "returns of bars": (["data.returns=r"], ["data.returns=r", "data=table"]),
    "columns of bundled bars": (["data.columns={close: Last}"], ["data.columns", "data=ibm"]),
    "symbol of bundled bars": (["data.symbol=MSFT"], ["data.symbol=MSFT", "IBM"]),
    "half a split by dates": (["data.split.train_end=2010-01-01"], ["data.split.val_end"]),
    "an end of test alone": (["data.split.test_end=2010-01-01"], ["data.split.test_end", "data.split.train_end"]),
    "split over 1": (["data.split.train=0.9"], ["data.split", "1.2"]),
    "a part without rows": (["data.split.val=0"], ["data.split.val", "0"]),
    "a negative part": (["data.split.test=-0.1"], ["data.split.test", "-0.1"]),
    "split date outside": (
        ["data.split.train_end=1999-01-01", "data.split.val_end=2010-01-01"],
        ["data.split.train_end", "1999-01-01", "2000-03-01"],
    ),
    "split dates in reverse": (
        ["data.split.train_end=2010-01-01", "data.split.val_end=2008-01-01"],
        ["data.split.val_end", "data.split.train_end", "2008-01-01"],
    ),
    "a split date in words": (
        ["data.split.train_end=yesterday", "data.split.val_end=2010-01-01"],
        ["data.split.train_end", "yesterday"],
    ),
    "a horizon beyond the data": (["data.horizon=100000"], ["data.horizon", "100000"]),
    "a window beyond the data": (["data.sequence_length=100000"], ["data.sequence_length", "100000"]),
    "more folds than bars": (
        ["evaluation.scheme=walk_forward", "evaluation.folds=100000"],
        ["evaluation.folds", "100000"],
    ),
    "unknown feature": (["data.features=[ret_2]"], ["data.features", "ret_2", "Did you mean"]),
    "a feature twice": (["data.features=[ret_1,ret_1]"], ["data.features", "ret_1"]),
    # Blocks and keys taken out
    "no model": (["~model"], ["~model", "model=NAME"]),
    "no data": (["~data"], ["~data", "data=NAME"]),
    "no training": (["~training"], ["~training", "training=NAME"]),
    "no tracking": (["~tracking"], ["~tracking", "tracking=NAME"]),
    "no search": (["-m", "~hpo"], ["~hpo", "hpo=NAME"]),
    "no dropout": (["~model.dropout"], ["model.dropout cannot be taken out", "model.dropout=VALUE"]),
    "no seed": (["~seed"], ["~seed", "seed=VALUE"]),
    "an option taken out that is not chosen": (["~model=lstm"], ["model"]),
    # Sizes
    "a layer beyond memory": (["model.hidden_layers=[100000000000]"], ["model.hidden_layers=[100000000000]", "GB"]),
    "layers beyond memory": (["model.hidden_layers=[9000000,9000000]"], ["9000000", "GB", "are free"]),
    "an lstm beyond memory": (["model=lstm", "model.hidden_layers=[9000000]"], ["9000000", "GB", "are free"]),
    "layers beyond memory in a search": (
        ["-m", "model.hidden_layers=[64],[9000000,9000000]"],
        ["9000000", "GB", "are free"],
    ),
    # Files
    "no file named": (["data=csv"], ["data.path=FILE"]),
    "missing file": (["data=csv", "data.path=nope.csv"], ["nope.csv", "no file"]),
    "a name nearly right": (["data=csv", "data.path=bar.csv"], ["bar.csv", "Did you mean 'bars.csv'?"]),
    "a folder": (
        ["data=csv", "data.path=a_folder"],
        ["a_folder", "no file of bars", "one for each symbol"],
    ),
    "a folder called as a file": (
        ["data=csv", "data.path=a_folder.csv"],
        ["a_folder.csv", "no file of bars"],
    ),
    "a pipe": (["data=csv", "data.path=pipe.csv"], ["pipe.csv", "not a regular file"]),
    "a device": (["data=csv", "data.path=/dev/zero"], ["/dev/zero", "not a regular file"]),
    "a link to nothing": (["data=csv", "data.path=link.csv"], ["link.csv", "no file"]),
    "a file below a file": (["data=csv", "data.path=bars.csv/x.csv"], ["bars.csv/x.csv", "no file"]),
    "an address": (["data=csv", "data.path=https://host/bars.csv"], ["https://host/bars.csv"]),
    "a spreadsheet": (["data=csv", "data.path=bars.xlsx"], ["bars.xlsx"]),
    "an empty file": (["data=csv", "data.path=empty.csv"], ["empty.csv", "is empty"]),
    "a header alone": (["data=csv", "data.path=header.csv"], ["header.csv", "no rows"]),
    "no close": (["data=csv", "data.path=no_close.csv"], ["no_close.csv", "close"]),
    "a word for a price": (["data=csv", "data.path=words.csv"], ["words.csv", "line 6", "six"]),
    "a negative price": (["data=csv", "data.path=negative.csv"], ["negative.csv", "line 6", "open"]),
    "a bar twice": (["data=csv", "data.path=twice.csv"], ["twice.csv", "2020-01-28"]),
    "a price that is missing": (["data=csv", "data.path=gap.csv"], ["gap.csv", "line 6", "open"]),
    "not packed": (["data=csv", "data.path=not.csv.gz"], ["not.csv.gz", "gzip"]),
    "no Parquet": (["data=csv", "data.path=not.parquet"], ["not.parquet", "Parquet"]),
    "no JSON": (["data=csv", "data.path=not.json"], ["not.json"]),
    "no text": (["data=csv", "data.path=binary.csv"], ["binary.csv"]),
    "a short line": (["data=csv", "data.path=ragged.csv"], ["ragged.csv", "line 30"]),
    "few bars": (["data=csv", "data.path=bars.csv"], ["bars.csv"]),
    "a role of no column": (
        ["data=csv", "data.path=bars.csv", "data.columns={clos: Last}"],
        ["data.columns.clos", "Did you mean 'data.columns.close'?"],
    ),
    "a column that is not there": (
        ["data=csv", "data.path=bars.csv", "data.columns={close: Last}"],
        ["data.columns.close", "Last"],
    ),
    "a table's target that is not there": (
        ["data=table", "data.path=bars.csv", "data.features=[open]", "data.target=y"],
        ["data.target", "'y'", "close"],
    ),
    "a table's feature that is not there": (
        ["data=table", "data.path=bars.csv", "data.features=[opn]", "data.target=close"],
        ["data.features", "'opn'", "Did you mean 'open'?"],
    ),
    "a table's target among its features": (
        ["data=table", "data.path=bars.csv", "data.features=[close]", "data.target=close"],
        ["data.features", "close"],
    ),
    # Stores
    "a store in memory": (["tracking.uri=sqlite://"], ["in memory"]),
    "a directory as store": (["tracking.uri=mlruns"], ["tracking.uri=mlruns", "sqlite:///mlflow.db"]),
    "a store of an unknown kind": (["tracking.uri=postgre://host/x"], ["'postgre'", "Did you mean 'postgresql'?"]),
    "a database that is down": (
        ["tracking.uri=postgresql://me:pw@127.0.0.1:9/x"],
        ["postgresql://***@127.0.0.1:9/x", "nothing listens there"],
    ),
    "unwritable store": (["tracking.uri=sqlite:////proc/x.db"], ["tracking.uri=sqlite:////proc/x.db"]),
    "store in no directory": (["tracking.uri=sqlite:////nowhere/x.db"], ["/nowhere", "does not exist"]),
    "store is no database": (["tracking.uri=sqlite:///text.db"], ["text.db", "not a database"]),
    "store is a folder": (["tracking.uri=sqlite:///a_folder"], ["a_folder", "is a directory"]),
    "store of another program": (["tracking.uri=sqlite:///other.db"], ["other.db", "another program", "table runs"]),
    "a run to resume that is not there": (["training.resume=abcdef"], ["no tracking store"]),
    # Studies
    "a study of an unknown storage": (
        ["-m", "hpo.storage=postgres://me:pw@host/x"],
        ["hpo.storage=postgres://***@host"],
    ),
    "a study of a storage that is not taken": (["-m", "hpo.storage=mysql://127.0.0.1:9/x"], ["hpo.storage=mysql://"]),
    "a study in a folder": (["-m", "hpo.storage=a_folder"], ["hpo.storage=a_folder", "folder"]),
    "a study in a text": (["-m", "hpo.storage=notes.txt"], ["hpo.storage=notes.txt", "not a journal"]),
    "a study in a pipe": (["-m", "hpo.storage=pipe.journal"], ["hpo.storage=pipe.journal", "not a regular file"]),
    "a study below a file": (["-m", "hpo.storage=bars.csv/x.journal"], ["hpo.storage=bars.csv/x.journal", "bars.csv"]),
    "a study in no database": (["-m", "hpo.storage=sqlite:///text.db"], ["hpo.storage=sqlite:///text.db"]),
    "a study where nobody may write": (["-m", "hpo.storage=/proc/x.journal"], ["hpo.storage=/proc/x.journal"]),
    "a study in MLflow's database": (
        ["-m", "hpo.storage=sqlite:///mlflow.db"],
        ["hpo.storage", "tracking.uri", "a database each"],
    ),
    "a study in another's database": (["-m", "hpo.storage=sqlite:///stamped.db"], ["stamped.db", "another program"]),
    "a study on a server that is down": (
        ["-m", "hpo.storage=postgresql://me:pw@127.0.0.1:9/x"],
        ["hpo.storage=postgresql://***@127.0.0.1:9/x"],
    ),
    "a list for a range": (
        ["hpo.param_space.learning_rate=[0.1,0.2]"],
        ["hpo.param_space.learning_rate=choice(1,2,3)"],
    ),
    "a step for a range without one": (
        ["hpo.param_space.learning_rate={low: 0.1, high: 0.9, step: 0.1}"],
        ["hpo.param_space.learning_rate.step is not a key", "+hpo.param_space.learning_rate.step=VALUE"],
    ),
    "a range in reverse": (["-m", "hpo.param_space.learning_rate.low=1"], ["hpo.param_space.learning_rate", "low=1"]),
    "an interval in reverse": (["-m", "model.dropout=interval(0.5,0.1)"], ["model.dropout", "0.5", "0.1"]),
    "an interval beyond what may be": (["-m", "model.dropout=interval(0,2)"], ["model.dropout", "2"]),
    "an empty range": (
        ["-m", "training.batch_size=range(5,5)"],
        ["training.batch_size=range(5,5)", "the end left out"],
    ),
    "a range without a step": (
        ["-m", "training.batch_size=range(1,9,0)"],
        ["training.batch_size=range(1,9,0)", "must not be zero"],
    ),
    "a choice that may not be": (["-m", "training.optimizer=Adam,Adamm"], ["training.optimizer", "Adamm"]),
    "a search for the seed": (["-m", "seed=1,2"], ["seed", "hpo.repeats"]),
    "a space of seeds": (["-m", "+hpo.param_space.seed=[1,2]"], ["seed", "hpo.repeats"]),
    "a search for nothing": (["-m", "hpo=guide"], ["hpo.param_space is empty"]),
    "a search for names by a pattern": (
        ["-m", "training.optimizer=glob(*)"],
        ["training.optimizer=glob(*) names no value", "KEY=A,B"],
    ),
    "a search for the data": (["-m", "data.horizon=1,5"], ["data.horizon", "study"]),
    "a search for a name": (["-m", "experiment.name=a,b"], ["experiment.name"]),
    "a search of a key that is not there": (["-m", "model.droput=0.1,0.2"], ["model.droput", "model.dropout"]),
    "a search of an unknown space": (
        ["-m", "+hpo.param_space.droput=[0.1]"],
        ["hpo.param_space.droput", "Did you mean"],
    ),
    "a search that the grid cannot take": (
        ["-m", "hpo.sampler=grid", "model.dropout=interval(0.1,0.9)"],
        ["hpo.param_space.learning_rate", "grid", "step"],
    ),
    "pruning of two objectives": (
        ["-m", "hpo.metric=[val_loss,val_ic]", "hpo.direction=[minimize,maximize]", "hpo.pruner=median"],
        ["hpo.pruner=median", "one objective"],
    ),
    "two objectives of cmaes": (
        ["-m", "hpo.metric=[val_loss,val_ic]", "hpo.direction=[minimize,maximize]", "hpo.sampler=cmaes"],
        ["hpo.sampler=cmaes", "one objective"],
    ),
    "losses compared by their losses": (["-m", "training.loss=mse,huber"], ["training.loss", "hpo.metric=val_loss"]),
    "quantiles compared by their losses": (
        ["-m", "training.loss=pinball", "training.quantile=0.1,0.9"],
        ["training.quantile cannot be searched", "hpo.metric=val_loss"],
    ),
    "the worst of one fold": (["hpo.aggregate=worst"], ["hpo.aggregate=worst", "evaluation.scheme"]),
    "keys of the official sweeper": (["-m", "hydra.sweeper.n_trials=5"], ["hydra.sweeper.n_trials", "hpo.num_trials"]),
    "registering what is not kept": (
        ["-m", "tracking.register=x", "hpo.keep=none"],
        ["tracking.register=x", "hpo.keep"],
    ),
    "registering the winner of a sweep, which has none": (
        ["-m", "hydra/sweeper=basic", "seed=1,2", "tracking.register=name"],
        ["tracking.register=name", "a plain sweep has no winner"],
    ),
    "a resumed study by a run": (["-m", "training.resume=latest"], ["training.resume"]),
    # Configuration of the user's own
    "broken YAML": (["--config-dir", "conf/broken", "data=mine"], ["conf/broken/data/mine.yaml, line 3"]),
    "a tab in YAML": (["--config-dir=conf/tab", "data=mine"], ["conf/tab/data/mine.yaml, line 2", "tab"]),
    "a key twice in YAML": (["--config-dir", "conf/twice", "data=mine"], ["conf/twice/data/mine.yaml, line 2", "name"]),
    "an object in YAML": (["--config-dir", "conf/object", "data=mine"], ["conf/object/data/mine.yaml, line 1"]),
    "a list for YAML": (["--config-dir", "conf/list", "data=mine"], ["mine"]),
    "YAML that is not UTF-8": (
        ["--config-dir", "conf/latin", "data=mine"],
        ["conf/latin/data/mine.yaml, line 1", "UTF-8"],
    ),
    "an unknown key in YAML": (["--config-dir", "conf/unknown", "data=mine"], ["naem", "name"]),
    "YAML that builds on nothing": (["--config-dir", "conf/lost", "data=mine"], ["nowhere"]),
    "nested layers in YAML": (["--config-dir", "conf/none", "model=mine"], ["model.hidden_layers[0]"]),
    "a word in YAML": (["--config-dir", "conf/word", "model=mine"], ["dropout", "'much'"]),
    "a pipe for YAML": (["--config-dir", "conf/pipe", "data=mine"], ["conf/pipe/data/mine.yaml", "not a regular file"]),
    "no directory of configuration": (["--config-dir", "conf/nowhere", "data=mine"], ["conf/nowhere"]),
    "a file for a directory of configuration": (["--config-dir", "bars.csv", "data=mine"], ["bars.csv"]),
    # Plugins
    "no such plugin": (["plugins=[no_such_module]"], ["no_such_module"]),
    "a plugin that fails": (["plugins=[broken_plugin]"], ["broken_plugin", "cannot be imported"]),
    "a plugin that is not Python": (["plugins=[syntax_plugin]"], ["syntax_plugin", "line 1"]),
    "a file for a plugin": (["plugins=[my_desk/models.py]"], ["my_desk/models.py"]),
    "forbidden target": (["+hydra.callbacks.x._target_=subprocess.run"], ["subprocess.run"]),
    "callback of a package that plugins does not name": (
        ["+hydra.callbacks.x._target_=my_desk.callbacks.Logbook"],
        ["my_desk.callbacks.Logbook", "plugins=[my_desk.callbacks]"],
    ),
}
