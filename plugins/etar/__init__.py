"""What every part of etar shares. The folders and files by subject, and who knows whom: docs/architecture.md.

This package imports none of the other top-level packages; they import it (a test holds that arrow).
"""
