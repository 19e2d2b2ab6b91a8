"""The classes that a configuration names: found in source, their arguments checked, made."""
