"""Report on runs that are there: python examples/reports.py TRAINING_RUN STUDY_RUN OTHER_RUN...

The ids are those that the other examples' runs have in MLflow.
"""

import sys

from tradingbot_exp import ExperimentReporter

training_run_id, study_run_id, *other_run_ids = sys.argv[1:]

reporter = ExperimentReporter(mlflow_tracking_uri="mlruns")

reporter.generate_training_report(run_id=training_run_id, output_path="reports/training_report.html")
reporter.generate_hpo_report(parent_run_id=study_run_id, output_path="reports/hpo_report.html")
reporter.generate_model_comparison_report(
    run_ids=[training_run_id, *other_run_ids], output_path="reports/comparison_report.html"
)
