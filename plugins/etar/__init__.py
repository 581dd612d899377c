"""What every part of etar shares: the minute, the settings, the report, the streams and the accounting.

This package imports none of the other top-level packages; they import it (a test holds that arrow).
"""
