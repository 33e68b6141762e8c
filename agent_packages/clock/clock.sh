#!/bin/sh
set -eu
while :; do
    date -u +%Y-%m-%dT%H:%M:%SZ
    sleep "${CLOCK_INTERVAL_S:-5}"
done
