"""What a run leaves on disk and on the Hub, and what it goes on from."""
