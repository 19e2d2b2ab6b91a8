"""Hyper-parameters proposed by a sampler, judged on validation tasks."""
