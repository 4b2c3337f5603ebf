# The first process of a job's container. It reads the script and the after-script from stdin, runs them, and exits with
# the script's exit code. The engine reports that code. The kernel ends every other process of the container before the
# engine can see the exit, so no process of a job is left once its container has exited.
# When stdin is closed, the worker has ended, and the container exits.
#
# The worker sends signals to this process. While the script runs (tm_done is empty): TERM stops it, USR1 does so after a cancel,
# QUIT does so and prevents the after-script, USR2 kills it. While the after-script runs, only HUP has an effect: it kills that.
exec 3<&0 </dev/null 2>&1
# An entry point that started this shell was given a token.
[ -z "$1" ] || printf '\036tm:%s:ready\036' "$1"
tm_done= tm_stop= tm_final=
stop() { [ -n "$tm_done" ] || { tm_stop=${tm_stop:-$1}; kill -TERM -1; } 2>/dev/null; }
trap 'stop failed' TERM
trap 'stop canceled' USR1
trap 'tm_final=1; stop failed' QUIT
trap '[ -n "$tm_done" ] || kill -9 -1 2>/dev/null' USR2
trap '[ -z "$tm_done" ] || kill -9 -1 2>/dev/null' HUP
trap 'exit 137' INT
tm_shell=$(command -v bash || command -v sh)
# The image's PATH may have no shell.
[ -n "$tm_shell" ] || for tm_shell in /bin/bash /usr/bin/bash /usr/local/bin/bash /bin/sh /usr/bin/sh /busybox/sh; do
  [ ! -x "$tm_shell" ] || break
done
# The image may have no home directory that its user can write to.
[ -d "$HOME" ] && [ -w "$HOME" ] || {
  for tm_home in "$HOME" /tmp/tidemill-home /dev/shm/tidemill-home /dev/shm; do
    { [ -d "$tm_home" ] || mkdir -p "$tm_home"; } && [ -w "$tm_home" ] && break
  done 2>/dev/null
  export HOME="$tm_home"
}
# Git rejects a repository of another user. Before 2.38, it reads this setting only from a file.
[ -O /workspace ] || { printf '[safe]\n\tdirectory = *\n' >>/etc/gitconfig; } 2>/dev/null
# The job appends its summary to this file, whichever user its commands run as.
tm_summary=/dev/shm/tidemill-summary.md
(umask 0 && printf '' >"$tm_summary") 2>/dev/null
IFS= read -r tm_nonce <&3 || exit 0
mkdir -p -m 700 "$tm_dir" 2>/dev/null || tm_dir=/dev/shm
copy >"$tm_dir/environment" || exit 0
script step >"$tm_dir/script" || exit 0
script after >"$tm_dir/after_script" || exit 0
tm_options=
case $tm_shell in
*/bash) tm_options='-o pipefail' ;;
*) (set -o pipefail) 2>/dev/null && tm_options='-o pipefail' ;;
esac
# A shell lets what it starts in the background ignore INT and QUIT, and the job's shell could not change that: traps of the job
# would do nothing. The image's `env` resets them if it can, as that of GNU does and that of BusyBox does not.
tm_env=
! env --default-signal=INT,QUIT "$tm_shell" -c : >/dev/null 2>&1 || tm_env=1
# Runs a script in place of this process.
run_shell() {
  [ -z "$tm_env" ] || ! command -v env >/dev/null 2>&1 || exec env --default-signal=INT,QUIT "$tm_shell" "$@"
  exec "$tm_shell" "$@"
}
# Ends this process when stdin is closed.
watch_worker() {
  (
    trap '' TERM HUP QUIT USR1 USR2
    while IFS= read -r tm_line; do :; done
    kill -INT "$$"
  ) <&3 3<&- >/dev/null 2>&1 &
  tm_reader=$!
}
wait_for_child() {
  while :; do
    wait "$tm_child"
    tm_code=$?
    kill -0 "$tm_child" 2>/dev/null || break
  done
}
watch_worker
printf '\036tm:%s:begin\036' "$tm_nonce"
tm_code=143
if [ -z "$tm_stop" ]; then
  {
    export CI_JOB_STATUS=running TIDEMILL_JOB_STATUS=running
    run_shell -e $tm_options "$tm_dir/script"
  } 3<&- 7>&1 &
  tm_child=$!
  wait_for_child
fi
tm_done=1
if [ -s "$tm_dir/after_script" ] && [ -z "$tm_final" ]; then
  if [ -n "$tm_stop" ]; then
    kill -9 -1 2>/dev/null
    watch_worker
  fi
  tm_result=$tm_code
  TIDEMILL_JOB_STATUS=success
  [ "$tm_result" = 0 ] || TIDEMILL_JOB_STATUS=failed
  TIDEMILL_JOB_STATUS=${tm_stop:-$TIDEMILL_JOB_STATUS}
  CI_JOB_STATUS=$TIDEMILL_JOB_STATUS
  export TIDEMILL_JOB_STATUS CI_JOB_STATUS
  printf '\036tm:%s:ended\036' "$tm_nonce"
  run_shell "$tm_dir/after_script" 3<&- 7>&1 &
  tm_child=$!
  wait_for_child
  tm_code=$tm_result
fi
trap '' TERM HUP QUIT USR1 USR2
{
  # Behind an entry point, this would kill a process between the first one and this one that waits for this one.
  if [ "$$" = 1 ] || [ "$PPID" = 1 ]; then
    kill -9 -1
  fi
  # The reader of descriptor 3 must be gone: it could still take the worker's reply.
  kill -9 "$tm_reader"
  wait
  # A shell may report on any of these lines that the reader was killed.
} 2>/dev/null
# The summary's file goes with the container, so it is printed. A program of the image would be one more process of the job:
# only a copy of this shell reads it. That may take long, as a shell reads each byte by itself. When the worker stops the job
# meanwhile, the rest is left out: a summary does not change how a job ends.
if [ -s "$tm_summary" ] && [ -f "$tm_summary" ] && [ ! -h "$tm_summary" ]; then
  printf '\036tm:%s:summary\036' "$tm_nonce"
  tm_result=$tm_code
  tm_child=
  trap '[ -z "$tm_child" ] || kill -9 "$tm_child"' TERM HUP QUIT USR1 USR2
  {
    tm_size=0
    while { IFS= read -r tm_line || [ -n "$tm_line" ]; } && [ "$tm_size" -le 262144 ]; do
      printf '%s\n' "$tm_line"
      tm_size=$((tm_size + ${#tm_line} + 1))
    done
  } <"$tm_summary" 3<&- &
  tm_child=$!
  wait_for_child
  trap '' TERM HUP QUIT USR1 USR2
  tm_code=$tm_result
fi 2>/dev/null
# An engine discards output that is not read soon after the exit, so wait until the worker has read everything. No other
# process runs any more, so the last marker of this kind is true: whether the script ended by itself or was stopped.
printf '\036tm:%s:flush:%s:%s\036' "$tm_nonce" "${tm_stop:+stopped}" "$tm_code"
IFS= read -r tm_line <&3
exit "$tm_code"
