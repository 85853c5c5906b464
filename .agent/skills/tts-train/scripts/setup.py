"""Set up environments, or say how they are. Runs with any Python 3.11+, before anything is installed."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from tts_train import environments, installation, lockfiles

EPILOG = """examples:
  run.sh setup                      what commands need, now
  run.sh setup skill --background   return at once; run.sh setup --status tells how it goes
exit codes: 0 done, 2 usage, 3 could not be set up (what was there before still is), 130/143 stopped"""


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("run.sh setup", description=__doc__, epilog=EPILOG, formatter_class=raw)
    parser.add_argument("environments", nargs="*", metavar="ENV", help="core, skill, project (all by default), dev")
    parser.add_argument("--status", "--dry-run", action="store_true", help="only say how they are and how large")
    parser.add_argument("--background", action="store_true", help="go on without the caller")
    gpl = "with or without GPL packages; kept for later set-ups [default: with]"
    parser.add_argument("--gpl", action=argparse.BooleanOptionalAction, help=gpl)
    parser.add_argument("--human", action="store_true", help="print text for people instead of JSON")
    parser.error = environments.refuse
    try:
        answer, code = {"ok": True, "command": "setup", "result": work(parser.parse_args())}, 0
    except environments.LaunchError as error:
        answer, code = error.as_json(), error.exit_code
    print(text(answer) if "--human" in sys.argv else json.dumps(answer))
    sys.exit(code)


def work(options: argparse.Namespace) -> dict:
    known = installation.recipes()
    default = [name for name in known if known[name].default or (options.status and environments.is_usable(name))]
    names = [installation.recipe(name).name for name in options.environments or default]
    if options.background and not options.status:
        return installation.set_up_in_background(names, gpl=options.gpl)
    one = installation.state if options.status else lambda name: installation.set_up(name, gpl=options.gpl)
    return {"environments": [one(name) for name in names], "gpl_packages": lockfiles.settings()["gpl"]}


def text(answer: dict) -> str:
    if not answer["ok"]:
        return f"Error: {answer['error']['message']}\nTry: {answer['error']['hint']}"
    if "log" in answer["result"]:
        return f"going on in the background; its log is {answer['result']['log']}"
    rows = answer["result"]["environments"]
    return "\n".join("{name:8} {state:11} {megabytes:>6} MB  {about}".format(**row) for row in rows)


if __name__ == "__main__":
    main()
