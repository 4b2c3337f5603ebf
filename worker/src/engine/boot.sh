# The first process of a job's container. It reads the script and the after-script from stdin, runs them, and exits with
# the script's exit code. The engine reports that code. The kernel ends every other process of the container before the
# engine can see the exit, so no process of a job is left once its container has exited.
# When stdin is closed, the worker has ended, and the container exits.
exec 3<&0 </dev/null 2>&1
T=
trap 'T=1; kill -TERM -1 2>/dev/null' TERM
S=$(command -v bash || command -v sh) || S=/bin/sh
IFS= read -r N <&3 || exit 0
mkdir -p -m 700 "$F" || exit 1
copy >"$F/environment" || exit 0
script step >"$F/script" || exit 0
script after >"$F/after_script" || exit 0
O=
case $S in
*/bash) O='-o pipefail' ;;
*) (set -o pipefail) 2>/dev/null && O='-o pipefail' ;;
esac
(
  trap '' TERM
  while IFS= read -r L; do :; done
  kill -TERM 1
  kill -9 -1
) <&3 3<&- >/dev/null 2>&1 &
printf '\036tm:%s:begin\036' "$N"
"$S" -e $O "$F/script" 3<&- 7>&1 &
C=$!
wait_for_child() {
  while :; do
    wait "$C"
    E=$?
    kill -0 "$C" 2>/dev/null || break
  done
}
wait_for_child
if [ -s "$F/after_script" ] && [ -z "$T" ]; then
  R=$E
  TIDEMILL_JOB_STATUS=success
  [ "$R" = 0 ] || TIDEMILL_JOB_STATUS=failed
  export TIDEMILL_JOB_STATUS
  "$S" "$F/after_script" 3<&- 7>&1 &
  C=$!
  wait_for_child
  E=$R
fi
trap '' TERM
kill -9 -1 2>/dev/null
# The killed reader of descriptor 3 must be gone: it could still take the worker's reply.
wait
# An engine discards output that is not read soon after the exit, so wait until the worker has read everything.
printf '\036tm:%s:flush\036' "$N"
IFS= read -r L <&3
exit "$E"
