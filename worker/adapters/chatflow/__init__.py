"""The service, over HTTP and its websocket: the only room that knows their libraries."""
