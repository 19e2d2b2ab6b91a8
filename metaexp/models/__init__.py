"""Plain ``nn.Module`` networks, written so that they map over tasks."""
