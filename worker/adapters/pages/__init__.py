"""Pages of HTML: a report to keep, and what Flower shows of batches. One engine draws both."""
