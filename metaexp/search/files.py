"""Names of the files that a search writes into its folder."""

REPORT_FILE = "search.json"
STUDY_JOURNAL = "study.journal"
STUDY_DATABASE = "study.db"
