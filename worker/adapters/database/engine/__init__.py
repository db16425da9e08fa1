"""What every repository stands on: engines, transactions, errors in our words, revisions."""
