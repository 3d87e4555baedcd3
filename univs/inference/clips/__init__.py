"""The published way through a video: overlapping clips, and state that is carried from one to the next."""
