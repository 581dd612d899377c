"""Errors as ClickHouse reports them over HTTP: a code, a name, a status and one line of text."""

from __future__ import annotations

import re

# Codes of errors that the front raises itself. Source: ClickHouse, src/Common/ErrorCodes.cpp.
CANNOT_READ_ALL_DATA = 33
BAD_ARGUMENTS = 36
CHECKSUM_DOESNT_MATCH = 40
NOT_IMPLEMENTED = 48
SYNTAX_ERROR = 62
UNKNOWN_COMPRESSION_METHOD = 89
UNKNOWN_SETTING = 115
TOO_LARGE_SIZE_COMPRESSED = 131
TOO_MANY_SIMULTANEOUS_QUERIES = 202
QUERY_IS_TOO_LARGE = 229
ABORTED = 236
CANNOT_DECOMPRESS = 271
SESSION_NOT_FOUND = 372
QUERY_WAS_CANCELLED = 394
ACCESS_DENIED = 497
AUTHENTICATION_FAILED = 516
UNKNOWN_EXCEPTION = 1002

_NAMES = {value: name for name, value in list(globals().items()) if isinstance(value, int) and name.isupper()}

# Source: ClickHouse, src/Server/HTTP/exceptionCodeToHTTPStatus.cpp; what is not listed is 500. 202 is this front's
# own: the client may come again, which 500 would not say.
_STATUS_BY_CODES = {
    400: {6, 15, 16, 26, 27, 33, 36, 38, 41, 43, 44, 53, 62, 69, 72, 89, 117, 130, 131, 167, 168, 427, 441, 675, 676},
    403: {192, 193, 497, 512, 516},
    404: {46, 47, 50, 56, 60, 63, 73, 78, 81, 106, 115, 336, 511},
    408: {159},
    413: {229},
    501: {48},
    503: {76, 202, 209, 439},
}
_STATUS = {code: status for status, codes in _STATUS_BY_CODES.items() for code in codes}

_ENGINE_ERROR = re.compile(r"Code: (\d+)\. (?:DB::Exception|[\w:]+): (.*)", re.DOTALL)


class FrontError(Exception):
    """A refusal or failure that the client is told of.

    ``code`` is ClickHouse's error code, ``status`` the HTTP status that goes with it, ``str(error)`` the body.
    """

    def __init__(self, code: int, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status or _STATUS.get(code, 500)

    def __str__(self) -> str:
        message = str(self.args[0])
        # What the engine says ends with the error's name already, sometimes followed by its version.
        name = "" if re.search(r"\([A-Z_]+\)(?: \(version .*\))?\s*$", message) else f" ({_NAMES.get(self.code, '')})"
        return f"Code: {self.code}. DB::Exception: {message}{name if name != ' ()' else ''}"

    @classmethod
    def of_engine(cls, error: Exception) -> FrontError:
        """The engine's own error: chDB raises text such as ``Code: 60. DB::Exception: … (UNKNOWN_TABLE)``."""
        found = _ENGINE_ERROR.search(str(error))
        if not found:
            return cls(UNKNOWN_EXCEPTION, str(error) or type(error).__name__)
        code, message = int(found[1]), found[2]
        # An error inside an error repeats the whole line; the outermost prefix is enough.
        return cls(code, re.sub(rf"^(?:Code: {code}\. DB::Exception: )+", "", message).strip())
