"""Tiny tasks for these tests."""

from tiny_tasks import make_task as make_task
