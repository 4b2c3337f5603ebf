# Waits for its orders on stdin (the script, and what runs after it), runs them, says how they ended, then waits to be let go.
# An end of stdin at any time means that the worker is gone: everything here ends.
# A line from then on has it put the files of its network back as they were: its network may have another job next.
exec 3<&0 </dev/null 2>&1
text() { while IFS= read -r L || [ -n "$L" ]; do printf '%s\n' "$L"; done; }
HOSTS=$(text </etc/hosts)
NAMES=$(text </etc/resolv.conf)
T=
trap 'T=1; kill -TERM -1 2>/dev/null' TERM
IFS= read -r N <&3 || exit 0
part() { while IFS= read -r L; do [ "$L" = "$N" ] && return 0; printf '%s\n' "$L"; done <&3; return 1; }
O=$(part) || exit 0
A=$(part) || exit 0
S=sh
command -v bash >/dev/null 2>&1 && S=bash
(
  trap '' TERM
  while IFS= read -r L; do :; done
  kill -9 -1
) <&3 3<&- >/dev/null 2>&1 &
printf '%s\n' "$O" | "$S" /proc/self/fd/0 3<&- &
C=$!
over() {
  while :; do
    wait "$C"
    E=$?
    kill -0 "$C" 2>/dev/null || break
  done
}
over
if [ -n "$A" ] && [ -z "$T" ]; then
  R=$E
  TIDEMILL_JOB_STATUS=success
  [ "$R" = 0 ] || TIDEMILL_JOB_STATUS=failed
  export TIDEMILL_JOB_STATUS
  printf '%s\n' "$A" | "$S" /proc/self/fd/0 3<&- &
  C=$!
  over
  E=$R
fi
trap '' TERM
kill -9 -1 2>/dev/null
M=
for F in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
  [ -r "$F" ] && while read -r K V; do
    [ "$K" = oom_kill ] && [ "$V" != 0 ] && M=oom
  done <"$F"
done
printf '\036tm:%s:end:%s:%s\036' "$N" "$E" "$M"
while IFS= read -r L <&3; do
  [ -w /etc/hosts ] && printf '%s\n' "$HOSTS" >/etc/hosts
  [ -w /etc/resolv.conf ] && printf '%s\n' "$NAMES" >/etc/resolv.conf
done 2>/dev/null
exit 0
