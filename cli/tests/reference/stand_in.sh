#!/bin/sh
# Stands in for the tools and servers that the examples of docs/pipeline-reference.md call, by the name it is called by.
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
    echo "nothing stands in for $0" >&2
    exit 127
    ;;
esac
