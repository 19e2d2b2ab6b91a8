"""Where scalars go. Only ``wandb.py`` knows Weights & Biases, only ``mlflow.py`` MLflow."""
