"""The matrix is run at the same shell as the other end-to-end tests."""

from tests.e2e.conftest import empty_database, new_shell

__all__ = ["empty_database", "new_shell"]
