"""The name of the file with the profile of a run. Without torch."""

PROFILE_FILE = "profile.txt"
