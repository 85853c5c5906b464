#!/usr/bin/env bash
exec "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.agent/skills/tts-train/run.sh" "$@"
