"""The table of owners in files of one machine, which the classifier's processes read."""
