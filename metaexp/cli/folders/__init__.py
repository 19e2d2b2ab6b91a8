"""The verbs about folders of finished and running work: ``ls``, ``show``, ``rm`` and ``watch``."""
