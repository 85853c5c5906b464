#!/usr/bin/env bash
# tts-train: one entry for every command. The table below says which environment a command starts in;
# "none" means that scripts/<command>.py needs nothing but Python.
set -euo pipefail

table='
setup              none     set up or check environments (otherwise made on first use): --status, --background, --no-gpl
doctor             core     say what this machine can and cannot do; installs nothing large
demo               core     the whole loop on the packaged audiobook, in minutes, on a CPU
ingest             project  audiobook to clips, texts and a manifest
ingest-transcript  project  existing clips and texts to a manifest
screen             project  measure the clips of a dataset again and apply filters
rejections         core     list rejected clips, or take some back
align              project  word times for every clip of a dataset
convert-qwen3      project  clips to Qwen3-TTS codes
config             core     write or check a training config
train-local        core     fine-tune a voice; one checkpoint per epoch; resumes
train-qwen3        core     fine-tune Qwen3-TTS on codes; train-local with a qwen3 config does the same
train-runpod       core     train on a rented GPU of RunPod; every epoch is fetched, every pod ended
cloud              core     end rented pods that are left over; a training for SkyPilot, dstack, Slurm
probe              core     render the same sentences with each epoch, then measure and gate
session            core     plan a blind listening session, see it, close it
verdict            core     record what a listener heard, or the answer to a blind trial
dashboard          dashboard  listen, judge and see runs in the browser
compare            core     which epoch listeners prefer, with intervals, or that it is undecided
next               core     the next training move, with its reasons and its command
lineage            core     the tree of runs, moves and verdicts
ship               core     a judged epoch as a voice package with all it needs to speak
runs               core     list training runs, or adopt checkpoints from elsewhere
status             core     what runs are doing, one or all; --watch
jobs               core     start commands that outlive the terminal, see, stop, await them
campaign           core     several configs in order through the night: dataset, training, probe; goes on after kills
report             core     epochs of a run side by side, a dataset as a page, or a night (--since 12h)
tensorboard        skill    serve the TensorBoard of the runs
serve              dashboard  speech over HTTP with shipped voices, as clients of OpenAI ask for it
infer              core     speak a text with an epoch of a run
export             core     turn an epoch into voice files of its family
voices             core     list, pack, import and remove shipped voices; ask a recording for its origin
prune              core     delete weights of epochs nobody needs; says which before it does
lock               none     developers: recompile locks/*.txt from pyproject.toml
test               none     developers: run the test tiers
'

usage() {
  local command environment summary
  printf 'Usage: run.sh COMMAND [OPTIONS]     (run.sh COMMAND --help for the options)\n\n'
  while read -r command environment summary; do
    [[ -z $command ]] || printf '  %-18s %s\n' "$command" "$summary"
  done <<<"$table"
  cat <<'TEXT'

Each command prints one JSON object on stdout and its progress on stderr; --human prints text instead.
Exit codes: 0 done, 1 our bug, 2 usage, 3 environment missing, 65 input unusable, 69 model or package
missing, 70 diverged, 74 disk, 75 busy, 78 bad config, 130/143 stopped by a signal after saving.
TTS_TRAIN_PYTHON (3.11 or 3.12), TTS_TRAIN_ENVS (where environments go), TTS_TRAIN_WORKSPACE,
TTS_TRAIN_NO_SETUP=1 (never install: exit 3 instead), TTS_TRAIN_NO_GPL=1 (leave GPL packages out).
TEXT
}

# Prints the path of a Python 3.11 or 3.12: the one that environments were made with, if it is still there, else the
# first that runs. Each candidate is run: a pyenv shim may exist and not resolve (and costs 0.1 s of CPU).
find_python() {
  local candidate candidates=(python3.12 python3.11 python3 python) remembered=${TTS_TRAIN_ENVS:-$skill/.envs}/python.txt
  if [[ -n ${TTS_TRAIN_PYTHON-} ]]; then
    candidates=("$TTS_TRAIN_PYTHON")
  elif [[ -r $remembered ]]; then
    candidate=$(<"$remembered")
    if [[ -x $candidate ]]; then
      printf '%s\n' "$candidate"
      return
    fi
  fi
  for candidate in "${candidates[@]}"; do
    "$candidate" -I -c 'import sys
if not (3, 11) <= sys.version_info[:2] <= (3, 12): sys.exit(1)
print(sys.executable)' 2>/dev/null && return
  done
  return 1
}

[[ ${1-} != help ]] || set -- "${@:2}" --help
if [[ ${1-} == --help || ${1-} == -h ]]; then
  usage
  exit
fi

skill=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
if ! python=$(find_python); then
  printf '{"ok": false, "error": {"kind": "environment-missing", "message": "%s", "hint": "%s"}}\n' \
    "no Python 3.11 or 3.12 found${TTS_TRAIN_PYTHON:+ at TTS_TRAIN_PYTHON}" \
    "install python3.11 or python3.12, or set TTS_TRAIN_PYTHON to one"
  exit 3
fi
# Programs that start others (demo, train-local) start them with the same Python.
export TTS_TRAIN_PYTHON=$python

commands=() environment=
while read -r command its_environment _; do
  [[ -z $command ]] || commands+=("$command")
  [[ $command != "${1-}" ]] || environment=$its_environment
done <<<"$table"

launcher=$skill/src/tts_train/environments.py
command=${1-}
script=$skill/scripts/${command//-/_}.py
case $environment in
'') exec "$python" -I "$launcher" unknown "$command" "${commands[@]}" ;;
none) exec "$python" -I "$script" "${@:2}" ;;
*) exec "$python" -I "$launcher" run "$environment" "$script" "${@:2}" ;;
esac
