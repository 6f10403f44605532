"""Work on the topology as a whole: backups, and bringing it to the state that files describe."""
