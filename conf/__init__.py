"""The YAML files, shipped as the package ``metaexp.conf``."""
