# The first process of a job's container. It reads the script and the after-script from stdin, runs them, and exits with
# the script's exit code. The engine reports that code. The kernel ends every other process of the container before the
# engine can see the exit, so no process of a job is left once its container has exited.
# When stdin is closed, the worker has ended, and the container exits.
#
# The worker sends signals to this process. While the script runs (D is empty): TERM stops it, USR1 does so after a cancel,
# QUIT does so and prevents the after-script, USR2 kills it. While the after-script runs, only HUP has an effect: it kills that.
exec 3<&0 </dev/null 2>&1
# An entry point that started this shell was given a token.
[ -z "$1" ] || printf '\036tm:%s:ready\036' "$1"
D= T= X=
stop() { [ -n "$D" ] || { T=${T:-$1}; kill -TERM -1; } 2>/dev/null; }
trap 'stop failed' TERM
trap 'stop canceled' USR1
trap 'X=1; stop failed' QUIT
trap '[ -n "$D" ] || kill -9 -1 2>/dev/null' USR2
trap '[ -z "$D" ] || kill -9 -1 2>/dev/null' HUP
trap 'exit 137' INT
S=$(command -v bash || command -v sh)
# The image's PATH may have no shell.
[ -n "$S" ] || for S in /bin/bash /usr/bin/bash /usr/local/bin/bash /bin/sh /usr/bin/sh /busybox/sh; do
  [ ! -x "$S" ] || break
done
# The image may have no home directory that its user can write to.
[ -d "$HOME" ] && [ -w "$HOME" ] || {
  for H in "$HOME" /tmp/tidemill-home /dev/shm/tidemill-home /dev/shm; do
    { [ -d "$H" ] || mkdir -p "$H"; } && [ -w "$H" ] && break
  done 2>/dev/null
  export HOME="$H"
}
# Git rejects a repository of another user. Before 2.38, it reads this setting only from a file.
[ -O /workspace ] || { printf '[safe]\n\tdirectory = *\n' >>/etc/gitconfig; } 2>/dev/null
IFS= read -r N <&3 || exit 0
mkdir -p -m 700 "$F" 2>/dev/null || F=/dev/shm
copy >"$F/environment" || exit 0
script step >"$F/script" || exit 0
script after >"$F/after_script" || exit 0
O=
case $S in
*/bash) O='-o pipefail' ;;
*) (set -o pipefail) 2>/dev/null && O='-o pipefail' ;;
esac
# Ends this process when stdin is closed.
watch_worker() {
  (
    trap '' TERM HUP QUIT USR1 USR2
    while IFS= read -r L; do :; done
    kill -INT "$$"
  ) <&3 3<&- >/dev/null 2>&1 &
}
wait_for_child() {
  while :; do
    wait "$C"
    E=$?
    kill -0 "$C" 2>/dev/null || break
  done
}
watch_worker
printf '\036tm:%s:begin\036' "$N"
E=143
if [ -z "$T" ]; then
  "$S" -e $O "$F/script" 3<&- 7>&1 &
  C=$!
  wait_for_child
fi
D=1
if [ -s "$F/after_script" ] && [ -z "$X" ]; then
  if [ -n "$T" ]; then
    kill -9 -1 2>/dev/null
    watch_worker
  fi
  R=$E
  TIDEMILL_JOB_STATUS=success
  [ "$R" = 0 ] || TIDEMILL_JOB_STATUS=failed
  TIDEMILL_JOB_STATUS=${T:-$TIDEMILL_JOB_STATUS}
  CI_JOB_STATUS=$TIDEMILL_JOB_STATUS
  export TIDEMILL_JOB_STATUS CI_JOB_STATUS
  printf '\036tm:%s:ended\036' "$N"
  "$S" "$F/after_script" 3<&- 7>&1 &
  C=$!
  wait_for_child
  E=$R
fi
trap '' TERM HUP QUIT USR1 USR2
# Behind an entry point, this would kill a process between the first one and this one that waits for this one.
if [ "$$" = 1 ] || [ "$PPID" = 1 ]; then
  kill -9 -1 2>/dev/null
  # The killed reader of descriptor 3 must be gone: it could still take the worker's reply.
  wait
fi
# An engine discards output that is not read soon after the exit, so wait until the worker has read everything. No other
# process runs any more, so the last marker of this kind is true: whether the script ended by itself or was stopped.
printf '\036tm:%s:flush:%s\036' "$N" "${T:+stopped}"
IFS= read -r L <&3
exit "$E"
