"""What an adapter can do, and how far teacher and learner are apart."""
