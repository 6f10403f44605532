"""What holds for the house as a whole: who imports whom, how long things are, what stands twice."""
