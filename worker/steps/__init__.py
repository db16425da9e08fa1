"""The use cases, each in three beats: claim, talk, record.

``register`` hands files in, ``submit`` uploads them, ``poll`` asks for their status, ``sweep``
finishes batches and wakes what is due, ``notify`` delivers the outbox, ``schedule`` fires what is
due by the clock. A step holds no transaction while it talks, and whatever it had in hand when it
died is taken up by another as soon as its lease is over.
"""
