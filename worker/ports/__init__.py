"""What the steps need from the world: Protocols only, implemented at the edges.

=============  ====================================================================================
``service``    the remote service: dialogs, uploads, statuses
``sources``    files: looked at, opened, listed, taken away
``batches``    the store, for who hands batches in and looks at them
``queue``      the store, for who works: claims, verdicts, freezes, limits, who is alive
``store``      the store, whole, with its outbox, its schedules and the times files took
``broker``     wake-ups, notifications, webhooks
``telemetry``  log events and metrics
=============  ====================================================================================

The store is synchronous (steps call it from worker threads), talk with the service is
asynchronous. All waits and ages are seconds, and every moment is the database's, never a
worker's clock.
"""
