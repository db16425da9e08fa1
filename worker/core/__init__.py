"""The pure core: what the protocol means and what to do next, without doing any of it.

No clock, socket, randomness of its own, logging, environment, Celery or SQLAlchemy: time comes in
as an argument, decisions go out as values, and the adapters and steps obey them.
"""
