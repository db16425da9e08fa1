"""The outside world, a room a subject: what its libraries say and raise becomes ours at the door.

=====================  ============================================================================
``chatflow``           the service: HTTP, websocket, credentials, redirects, tapes of a talk
``files``              files of this machine and at URLs
``database``           the store; ``database.engine`` is what its repositories stand on
``webhook``            signed messages to whoever waits for a batch
``exports``, ``page``  results as JSON lines, CSV and Parquet; the report's page
``broker``             what the broker's clients are told, and kombu's transports, gaps closed
=====================  ============================================================================
"""
