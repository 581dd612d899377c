"""The event streams etar reports on, and the names that follow from a stream's own."""

from __future__ import annotations

from dataclasses import dataclass

from etar.minute import MinuteWindow


@dataclass(frozen=True)
class Stream:
    """One event stream: a topic, the table it lands in, and the objects made from a minute of it."""

    name: str

    @property
    def topic(self) -> str:
        return self.name

    @property
    def table(self) -> str:
        return self.name

    def former_log(self, number: int) -> str:
        """What stands in place of the topic's name with all that is stored of its first, second, … log, when that has
        ended: ``user_interactions@1``. No topic can have such a name."""
        return f"{self.topic}@{number}"

    @property
    def connector(self) -> str:
        """Name of the sink, and of its configuration ``connect/<connector>.json``."""
        return f"{self.name}_sink"

    @property
    def sink_group(self) -> str:
        """Consumer group whose commits say how far the sink is; Kafka Connect derives it like this from the name."""
        return f"connect-{self.connector}"

    @property
    def dead_letter_topic(self) -> str:
        """Topic in which Kafka Connect leaves the records that it gave up; there is none under another sink."""
        return f"{self.name}_dead_letters"

    def extract_key(self, window: MinuteWindow) -> str:
        """Object key of one minute's rows, e.g. ``extracts/user_interactions/2025-08-09_10-30.parquet``."""
        return f"extracts/{self.name}/{window.slug}.parquet"

    def result_key(self, window: MinuteWindow) -> str:
        """Object key of one minute's analysis, e.g. ``results/user_interactions/2025-08-09_10-30.json``."""
        return f"results/{self.name}/{window.slug}.json"


OF_FORMER_LOGS = "startsWith(_topic, concat({topic:String}, '@'))"
"""What is in the warehouse of a topic's logs that have ended: see :meth:`Stream.former_log`."""

OF_ANY_LOG = f"(_topic = {{topic:String}} OR {OF_FORMER_LOGS})"
"""What is of a topic in the warehouse, whichever log of it: a minute has rows and letters of former ones, too."""

USER_INTERACTIONS = Stream("user_interactions")


def subject_of(topic: str) -> str:
    """The subject under which a registry has the schemas of a topic's values."""
    return f"{topic}-value"
