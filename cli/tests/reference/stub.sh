#!/bin/sh
# Stub of the tools and servers that the examples of docs/pipeline-reference.md call. The name in $0 selects the tool.
case "${0##*/}" in
cargo) mkdir -p target/release && echo built >target/release/app ;;
make) ;;
docker-entrypoint.sh) exec "$@" ;;
postgres)
    trap 'exit 0' TERM INT
    : >/tmp/accepts
    while :; do
        sleep 1 &
        wait $!
    done
    ;;
pg_isready) test -e /tmp/accepts ;;
*)
    echo "no stub for $0" >&2
    exit 127
    ;;
esac
