"""Files, of this machine or at URLs: found, looked at, opened, and taken away when done."""
