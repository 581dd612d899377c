"""Start and stop a whole stack, in the order its parts need each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from threading import Event

from stack import processes, starting
from stack.configuration import Settings, SettingsError, check_ports_free, prepare_settings, read_settings
from stack.layout import Layout
from stack.parts import Part, Stack, Step, parts_of, possible_parts, steps_of
from stack.supervision import Supervisor
from stack.waiting import wait_until

_LOG_LINES = 15
_SHORTEST_REST, _LONGEST_REST = 0.2, 2.0
_LONGEST_STOP = 30

Progress = Callable[[str], None]


class StartError(Exception):
    """A part or step did not come up; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class PartStatus:
    """One part as `etar status` shows it. ``state`` is ``healthy``, ``unready``, ``crashing`` (it ends again
    and again) or the supervisor's word for it."""

    name: str
    state: str
    pid: int | None
    address: str | None
    memory_mb: float


@dataclass(frozen=True)
class StackStatus:
    """A stack as `etar status` shows it: healthy when every part answers."""

    healthy: bool
    parts: list[PartStatus]

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def start(
    layout: Layout, environment: Mapping[str, str], progress: Progress, *, without: Collection[str] = ()
) -> Stack:
    """Start every part of the stack in ``layout`` that does not run yet, but those named in ``without``.

    Returns when all that were started answer. A stream that has a fault, or of which something does not come up, is
    left out and told of, and costs no other. An interrupt (KeyboardInterrupt) ends the waiting at once, and leaves what
    was started to :func:`stop`.

    Raises:
        SettingsError, PortTakenError: nothing was started, and what ran before still does.
        StartError: a part did not come up; the ones that did still run.
    """
    layout.create()

    def accept(settings: Settings) -> None:
        wanted = Stack(layout, settings)
        _require_streams(wanted)
        if (supervisor := Supervisor(wanted)).is_running():
            _require_what_runs(wanted, supervisor)
        for part in parts_of(wanted):
            part.require(wanted)

    running = Stack(layout, prepare_settings(layout.settings_file, environment, datetime.now(UTC), accept=accept))
    supervisor = Supervisor(running)
    parts = parts_of(running)
    for fault in running.catalogue.faults:
        progress(f"left out: {fault}")
    if not supervisor.is_running():
        if ended := processes.end_left_behind(layout):
            progress(f"ended {ended} processes that an earlier crash left behind")
        check_ports_free(running.settings)
        supervisor.spawn(parts)
    began = time.monotonic()

    def bring_up(node: Part | Step, given_up: Event) -> None:
        _bring_up(node, running, supervisor, given_up)
        what = "ready" if isinstance(node, Part) else "done"
        progress(f"[{time.monotonic() - began:5.1f} s] {node.name} {what}")

    nodes: tuple[Part | Step, ...] = (*(part for part in parts if part.name not in without), *steps_of(running))
    for stream, error in in_order(nodes, bring_up).items():
        progress(f"left out: the stream {stream}: {error}")
    return running


def _require_streams(wanted: Stack) -> None:
    """Refuse a start that would report on nothing, or not on what was asked for.

    Raises:
        SettingsError: a name has no folder, or no stream that is switched on is sound.
    """
    found = wanted.catalogue
    if found.unknown:
        known = ", ".join(found.streams) or "none"
        raise SettingsError(
            f"ETAR_STREAMS names {', '.join(found.unknown)}, which no folder in {':'.join(map(str, found.folders))} "
            f"defines (there are: {known})"
        )
    if not found.on:
        faults = "".join(f"\n  {fault}" for fault in found.faults)
        raise SettingsError(f"no stream is switched on: name one in ETAR_STREAMS, or mend the faults there are{faults}")


def _require_what_runs(wanted: Stack, supervisor: Supervisor) -> None:
    """Refuse settings that a running stack was not started with: its parts would not all have the same.

    Raises:
        SettingsError: some differ; it names them.
    """
    file = wanted.layout.settings_file
    saved, new = read_settings(file).values, wanted.settings.values
    changed = sorted(name for name in saved.keys() | new.keys() if saved.get(name) != new.get(name))
    # The file may have been edited since the start.
    parts = {part.name for part in parts_of(wanted)} ^ supervisor.states().keys()
    if changed or parts:
        raise SettingsError(
            f"the stack in {wanted.layout.root} runs with other settings ({', '.join([*changed, *sorted(parts)])}); "
            "stop it first (`etar down`), then start it with these"
        )


def in_order(nodes: Iterable[Part | Step], action: Callable[[Part | Step, Event], None]) -> dict[str, StartError]:
    """Run ``action`` on every node, each as soon as what it needs is done. The first failure or an interrupt ends it,
    but not the failure of a single stream among several: that stream's other nodes are left out. Returns these, by
    stream.

    A need that is not among the nodes is one that this stack does not have: there is nothing to wait for. An action is
    given an event that is set at such an end. For those of parts it is waited, so that none starts its part later; a
    step's has its own bounds.

    Raises:
        StartError: what all streams need did not come up, or something of each.
    """
    # Several nodes ask Kafka and the registry, each in a thread. This library's modules import one another: of two
    # threads that begin with two of them at once, one may be given a module that is half made.
    import confluent_kafka.admin
    import confluent_kafka.schema_registry  # noqa: F401

    by_name = {node.name: node for node in nodes}
    streams = {node.stream for node in by_name.values()} - {None}
    left_out: dict[str, StartError] = {}
    order = TopologicalSorter(
        {name: [need for need in node.needs if need in by_name] for name, node in by_name.items()}
    )
    order.prepare()
    under_way: dict[Future[None], str] = {}
    given_up = Event()
    pool = ThreadPoolExecutor(max_workers=len(by_name))
    try:
        while order.is_active():
            for name in order.get_ready():
                if by_name[name].stream in left_out:
                    order.done(name)
                else:
                    under_way[pool.submit(action, by_name[name], given_up)] = name
            if not under_way:
                continue
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                name = under_way.pop(future)
                stream = by_name[name].stream
                try:
                    future.result()
                except StartError as error:
                    if stream is None or left_out.keys() | {stream} == streams:
                        raise
                    left_out[stream] = error
                order.done(name)
    finally:
        given_up.set()
        pool.shutdown(wait=False, cancel_futures=True)
        wait(future for future, name in under_way.items() if isinstance(by_name[name], Part))
    return left_out


def _bring_up(node: Part | Step, stack: Stack, supervisor: Supervisor, given_up: Event) -> None:
    if isinstance(node, Step):
        try:
            node.action(stack)
        except Exception as error:
            raise StartError(f"{node.name} failed: {error}") from error
        return
    if given_up.is_set():
        raise _start_given_up(node)
    if not supervisor.states()[node.name].pid:
        starting.forget_starts(stack.layout, node.name)
    supervisor.start(node.name)
    try:
        _until_ready(node, stack, supervisor, given_up)
    except starting.StartGivenUpError as error:
        log = stack.layout.log(node.name)
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:]) if log.exists() else "(no log)"
        raise StartError(f"{error}. The end of {log}:\n{tail}") from error


def _start_given_up(part: Part) -> StartError:
    return StartError(f"{part.name} was not waited for, as the start was given up")


def _until_ready(part: Part, stack: Stack, supervisor: Supervisor, given_up: Event) -> None:
    """Return when the part answers, however long that takes a busy machine.

    Raises:
        StartGivenUpError: it makes no progress.
        StartError: ``given_up``.
    """
    watch = starting.Watch(part.name, limit=stack.settings.start_seconds)
    next_look = time.monotonic() + starting.LOOK_SECONDS
    while True:
        asked = time.monotonic()
        if is_ready(part, stack) and supervisor.states()[part.name].state == "RUNNING":
            return
        now = time.monotonic()
        if now >= next_look:
            process = supervisor.states()[part.name]
            watch.look(starting.Look(process.began, processes.processor_seconds(process.pid)), now)
            next_look = now + starting.LOOK_SECONDS
        # Seventeen parts that are asked without a rest would take the processor from those that start.
        if given_up.wait(min(max(4 * (now - asked), _SHORTEST_REST), _LONGEST_REST)):
            raise _start_given_up(part)


def is_ready(part: Part, stack: Stack) -> bool:
    """Whether the part answers now."""
    try:
        return part.ready(stack)
    except Exception:
        # Each part refuses in its own way while it starts (refused, reset, 503, a protocol error); all mean "not yet".
        return False


def stop(stack: Stack, progress: Progress) -> None:
    """Stop every part, dependants first, then the supervisor, then whatever a crash left behind."""
    supervisor = Supervisor(stack)
    if supervisor.is_running():
        pid = supervisor.pid()
        ordered = stop_order(stack)
        # Of a stream whose folder is gone, or has got a fault since the start: nothing needs them.
        unknown = [name for name in supervisor.states() if not any(name in layer for layer in ordered)]
        for layer in (unknown, *ordered):
            if here := [name for name in layer if name in supervisor.states()]:
                _stop_layer(here, stack, supervisor)
                progress(f"stopped {', '.join(here)}")
        supervisor.shutdown()
        wait_until(lambda: not processes.exists(pid), timeout=30, what="the supervisor to end")
    if ended := processes.end_left_behind(stack.layout):
        progress(f"ended {ended} processes that were left")


def stop_order(stack: Stack) -> list[list[str]]:
    """Names of the parts, outermost first: a layer is needed only by the layers before it."""
    possible = possible_parts(stack)
    parts = {part.name for part in possible}
    nodes: tuple[Part | Step, ...] = (*possible, *steps_of(stack))
    order = TopologicalSorter({node.name: node.needs for node in nodes})
    order.prepare()
    layers = []
    while order.is_active():
        ready = order.get_ready()
        layers.append([name for name in ready if name in parts])
        order.done(*ready)
    return [layer for layer in reversed(layers) if layer]


def _stop_layer(layer: list[str], stack: Stack, supervisor: Supervisor) -> None:
    for name in layer:
        supervisor.stop(name)
    longest = max((part.stop_seconds for part in parts_of(stack) if part.name in layer), default=_LONGEST_STOP)
    wait_until(
        lambda: not any(process.pid for name, process in supervisor.states().items() if name in layer),
        timeout=longest + 10,
        what=f"{', '.join(layer)} to stop",
    )


def status(stack: Stack) -> StackStatus:
    """How every part is: asked of the supervisor, of the parts themselves and of the operating system."""
    states = Supervisor(stack).states()
    memory_mb = processes.memory_mb_of_each(process.pid for process in states.values() if process.pid)

    def of(part: Part) -> PartStatus:
        process = states.get(part.name)
        if process is None or process.state != "RUNNING":
            return PartStatus(
                part.name, process.state.lower() if process else "stopped", None, part.address(stack), 0.0
            )
        # One that answers in each of its short lives is not well.
        if starting.keeps_ending(stack.layout, part.name):
            state = "crashing"
        else:
            state = "healthy" if is_ready(part, stack) else "unready"
        return PartStatus(part.name, state, process.pid, part.address(stack), memory_mb[process.pid])

    parts = parts_of(stack)
    with ThreadPoolExecutor(max_workers=len(parts)) as pool:
        statuses = list(pool.map(of, parts))
    return StackStatus(all(part.state == "healthy" for part in statuses), statuses)
