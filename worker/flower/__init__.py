"""What this project adds to Flower: pages about batches, and a password. Read-only."""
