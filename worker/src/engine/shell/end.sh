# Ends a shell and all processes of its session, whose id is in the file that $1 names: with HUP, as when a terminal is closed,
# and with KILL what does not end soon. It uses no program of the image that it can do without.
tm_session=
for tm_dir in /dev/shm/tidemill /dev/shm; do
  [ -f "$tm_dir/shell-$1" ] && IFS= read -r tm_session <"$tm_dir/shell-$1" && break
done
case $tm_session in '' | 0 | 1 | *[!0-9]*) exit 0 ;; esac
# Sends the signal $1 to the session; fails if it has no process.
signal_session() {
  tm_count=0
  for tm_process in /proc/[0-9]*; do
    IFS= read -r tm_line <"$tm_process/stat" || continue
    # After the name, which may contain anything: state, parent, group, session.
    tm_line=${tm_line##*) }
    tm_line=${tm_line#* } tm_line=${tm_line#* } tm_line=${tm_line#* }
    [ "${tm_line%% *}" = "$tm_session" ] || continue
    kill -"$1" "${tm_process#/proc/}" && tm_count=$((tm_count + 1))
  done 2>/dev/null
  [ "$tm_count" -gt 0 ]
}
signal_session HUP && signal_session CONT
for tm_try in 1 2 3 4 5 6 7 8 9 10; do
  signal_session 0 || exit 0
  sleep 0.1 2>/dev/null
done
signal_session KILL
