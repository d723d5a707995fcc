"""Search hyperparameters on one's own tensors: python examples/hpo.py."""

import torch

from tradingbot_exp import ConfigurationManager, EnhancedMLflowLogger, ExperimentOrganizer, run_hpo_study

config = ConfigurationManager("examples/hpo_example.yaml").get_config()
organizer = ExperimentOrganizer(config)
logger = EnhancedMLflowLogger()

X_train = torch.randn(100, config.model.input_dim)
y_train = torch.randn(100, config.model.output_dim)
X_val = torch.randn(20, config.model.input_dim)
y_val = torch.randn(20, config.model.output_dim)

run_hpo_study(config, X_train, y_train, X_val, y_val, organizer, logger)
