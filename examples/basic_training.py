"""Train a network of one's own on one's own tensors, and record all of it: python examples/basic_training.py."""

import torch
from torch import nn, optim

from tradingbot_exp import ConfigurationManager, EnhancedMLflowLogger, ExperimentOrganizer, train_model

config = ConfigurationManager("examples/basic_training_example.yaml").get_config()
organizer = ExperimentOrganizer(config)
logger = EnhancedMLflowLogger()

with organizer.start_run(run_name="Basic_NN_Training") as run:
    logger.log_config(config)
    logger.log_environment_details()

    X_train = torch.randn(100, config.model.input_dim)
    y_train = torch.randn(100, config.model.output_dim)
    X_val = torch.randn(20, config.model.input_dim)
    y_val = torch.randn(20, config.model.output_dim)

    model = nn.Sequential(
        nn.Linear(config.model.input_dim, config.model.hidden_layers[0]),
        nn.ReLU(),
        nn.Linear(config.model.hidden_layers[0], config.model.hidden_layers[1]),
        nn.ReLU(),
        nn.Linear(config.model.hidden_layers[1], config.model.output_dim),
    )
    optimizer = optim.Adam(model.parameters(), lr=config.training.learning_rate)
    criterion = nn.MSELoss()

    history = train_model(model, X_train, y_train, X_val, y_val, optimizer, criterion, config.training.epochs, logger)

    logger.log_model_summary(model, "model_architecture.txt")
    logger.log_training_history(history)
    logger.log_metrics({"final_loss": history["val_loss"][-1]})
