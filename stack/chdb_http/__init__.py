"""The HTTP front over chDB: the part of ClickHouse's HTTP interface that clickhouse-connect and the Java clients speak.

chDB is the ClickHouse engine as a Python library. This package puts a directory of it behind HTTP, so that clients
written for ClickHouse work unchanged: ``python -m stack.chdb_http --path DIR --port N``. It knows nothing of the
project around it.

``app`` the routes · ``streaming`` results on their way · ``engine`` the one engine of the process · ``policy`` what
clients may not do · ``sql`` where a statement ends and its data begins · ``framing`` bytes on the wire ·
``blocks`` ClickHouse's own framing of them · ``errors`` · ``config``
"""
