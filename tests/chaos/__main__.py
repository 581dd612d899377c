"""``python -m tests.chaos``: one run of chaos. The last line is the account's difference.

Exit code 0: it is 0, and reports came again within two minutes after the last fault. 1: it is not 0. 2: the run itself
could not be made. 3: it is 0, but the reports came later.

Where a fault took records (`--only compacted`, `--only anew`) 0 says that the account is red when records are gone, and
1 that it is not.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from tests.chaos.faults import HARMLESS, Kind, schedule
from tests.chaos.run import Asked, Result, RunError, run


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.dir and given.dir.exists() and any(given.dir.iterdir()):
        parser.error(f"{given.dir} is not empty; a run wants a folder of its own, and deletes it when all is well")
    # Ended from outside, it stops the stack as it would after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asked = Asked(seed=given.seed, minutes=given.minutes, rate=given.rate, kinds=tuple(given.only))
    folder = given.dir.absolute() if given.dir else Path(tempfile.mkdtemp(prefix="etar-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"seed {asked.seed}, {asked.minutes} minutes, {asked.rate:g} records a second; folder {folder}")
    for fault in schedule(asked.seed, asked.minutes, asked.kinds):
        length = f" for {fault.seconds:g} s" if fault.seconds else ""
        print(f"  planned at {fault.at:6.1f} s: {fault.kind} {fault.target}{length}", flush=True)
    try:
        result = run(asked, folder)
    except Exception as error:
        # Whatever it was: Python's own exit code for it is 1, which here would say that records are missing.
        if not isinstance(error, RunError):
            traceback.print_exc()
        print(f"the run itself failed: {error}\nits logs are in {folder}; the same again: {_again(asked)}")
        return 2
    show(asked, result)
    if result.took_records and result.honest:
        shutil.rmtree(folder)
        print("\n".join(result.differences))
    elif result.exact and result.back_in_time:
        shutil.rmtree(folder)
    else:
        print("\n".join(result.differences))
        print(f"kept: {folder} (logs/, producer.log, account.json, faults.json, verification.json)")
        print(f"the same again: {_again(asked)}")
    print(f"difference: {'unknown' if result.difference is None else result.difference}")
    if result.took_records:
        return 0 if result.honest else 1
    if not result.exact:
        return 1
    return 0 if result.back_in_time else 3


def show(asked: Asked, result: Result) -> None:
    """What was done, and what became of it, but for the difference."""
    account = result.account
    done = [hit for hit in result.hits if hit.done]
    print(f"seed {asked.seed}: {len(done)} faults of {len(result.hits)} planned, {account.respawns} workers replaced")
    for hit in sorted(result.hits, key=lambda each: each.began):
        fault = hit.fault
        what = f"pid {hit.pid}" if hit.pid else "" if hit.done else "nothing to hit"
        length = f"{(hit.ended - hit.began).total_seconds():4.0f} s"
        print(f"  {hit.began:%H:%M:%S}  {length}  {fault.kind:<6} {fault.target:<20} {what}".rstrip())
    print(
        f"records: {account.generated:,} made, {account.acknowledged:,} acknowledged, {account.in_doubt} in doubt, "
        f"{account.failed} failed; {account.duplicates:,} duplicates and {account.malformed:,} malformed among them"
    )
    letters = ", ".join(f"{number} {reason}" for reason, number in result.dead_letters.items())
    print(f"dead letters: {letters or 'none'}; {result.stored:,} records are stored")
    if result.back_after is not None:
        late = "" if result.back_in_time else ", which is TOO LATE"
        print(f"back to reporting {result.back_after.total_seconds():.0f} s after the last fault{late}")
    elif done:
        print("back to reporting: NOT within twice the time it may take")


def _again(asked: Asked) -> str:
    only = "" if asked.kinds == HARMLESS else f" ONLY='{' '.join(asked.kinds)}'"
    return f"make chaos SEED={asked.seed} MINUTES={asked.minutes} RATE={asked.rate:g}{only}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="default: another in each run")
    parser.add_argument("--minutes", type=int, default=3, help="of traffic")
    parser.add_argument("--rate", type=float, default=200, help="records a second")
    parser.add_argument("--dir", type=Path, help="folder of the stack; default: a temporary one")
    parser.add_argument("--only", nargs="+", type=Kind, choices=tuple(Kind), default=HARMLESS, help="kinds of fault")
    return parser


if __name__ == "__main__":
    sys.exit(main())
