-- Error patterns of the log lines that came since the last time. How many lines it took.
SELECT learn_patterns()
