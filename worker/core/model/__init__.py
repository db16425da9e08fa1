"""Frozen records that the core, the steps and the adapters hand to each other, by subject."""
