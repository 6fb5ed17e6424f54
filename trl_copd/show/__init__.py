"""What a run logs and shows while it trains."""
