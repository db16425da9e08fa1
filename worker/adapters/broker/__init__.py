"""The broker's clients: what each is told, and kombu's transports with their gaps closed."""
