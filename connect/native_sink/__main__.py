"""``python -m connect.native_sink --stream NAME``."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from contextlib import closing
from pathlib import Path
from threading import Event

from confluent_kafka import KafkaException

from connect.native_sink.connector import Connector
from connect.native_sink.pace import Pace
from connect.native_sink.sink import Sink
from connect.native_sink.source import OtherLogError, Source
from connect.template import SINK_TEMPLATE, ConnectorConfigError
from connect.variables import variables
from etar.event_times import EventTimeBounds
from etar.kafka.offsets import KafkaUnavailableError, UnknownTopicError
from etar.processor_time import collect_seldom
from etar.records.registry import Registry
from etar.records.warehouse import Warehouse
from etar.settings import (
    KafkaSettings,
    PipelineSettings,
    RegistrySettings,
    SinkSettings,
    WarehouseSettings,
    get_settings,
)
from etar.streams import DEFAULT_STREAM, StreamFaultError, UnknownStreamError, stream_named

_log = logging.getLogger("connect.native_sink")


def main() -> int:
    arguments = _arguments()
    _configure_logging()
    collect_seldom()
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        _run(arguments, stop)
    except (ConnectorConfigError, OtherLogError, StreamFaultError, UnknownStreamError) as error:
        _log.error("%s", error)
        return 1
    except (KafkaUnavailableError, UnknownTopicError) as error:
        _log.error("%s; a new start goes on from the last commit", error)
        return 1
    except KafkaException as error:
        _log.error("ended by Kafka's client: %s; a new start goes on from the last commit", error)
        return 1
    _log.info("stopped")
    return 0


def _run(arguments: argparse.Namespace, stop: Event) -> None:
    settings, pipeline = get_settings(SinkSettings), get_settings(PipelineSettings)
    beat: Path | None = arguments.beat
    stream = stream_named(arguments.stream)
    connector = Connector.load(arguments.connector, variables=variables(stream), record=stream.record)
    with (
        closing(Warehouse(get_settings(WarehouseSettings))) as warehouse,
        closing(Registry.connect(get_settings(RegistrySettings))) as registry,
    ):
        source = Source(
            connector.topic,
            group=connector.group,
            instance=arguments.instance,
            kafka=get_settings(KafkaSettings),
            settings=settings,
            pace=Pace(longest=settings.batch_seconds, grace=pipeline.grace),
        )
        with closing(source):
            _log.info("topic %s into %s.%s", connector.topic, connector.database, connector.table)
            Sink(
                stream,
                connector,
                bounds=EventTimeBounds.of(pipeline),
                source=source,
                registry=registry,
                warehouse=warehouse,
                stopping=stop.is_set,
                beat=beat.touch if beat else lambda: None,
            ).run()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m connect.native_sink", description=__doc__)
    parser.add_argument(
        "--stream",
        default=DEFAULT_STREAM,
        metavar="NAME",
        help="stream whose records are stored (default: %(default)s)",
    )
    parser.add_argument(
        "--connector",
        type=Path,
        default=SINK_TEMPLATE,
        metavar="FILE",
        help="Kafka Connect configuration of the sink, with places for what is the stream's (default: %(default)s)",
    )
    parser.add_argument(
        "--instance",
        default="0",
        metavar="NAME",
        help="name of this process among several sinks of the same group (default: %(default)s)",
    )
    parser.add_argument("--beat", type=Path, metavar="FILE", help="file to touch at each step that is done")
    return parser.parse_args()


def _configure_logging() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # One line at an outage's start and one at its end come from us; these would add several a second in between.
    for name, level in (("httpx", logging.WARNING), ("clickhouse_connect", logging.CRITICAL)):
        logging.getLogger(name).setLevel(level)
    logging.getLogger("librdkafka").setLevel(logging.ERROR)


if __name__ == "__main__":
    sys.exit(main())
