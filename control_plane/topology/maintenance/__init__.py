"""What is done to the topology as a whole: backups, and bringing it to what files say."""
