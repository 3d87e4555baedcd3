"""What is made of the followed objects: segments, tracks, and the files that evaluators read."""
