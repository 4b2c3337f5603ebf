# Gives a shell in a job's container the job's environment, and becomes that shell. $1 is the job's status,
# $2 names the file with the id of this process.
# The boot script writes the environment's file, and then opens that of the script.
tm_tries=0
while :; do
  tm_dir=/dev/shm/tidemill
  [ -e "$tm_dir/script" ] || tm_dir=/dev/shm
  [ -e "$tm_dir/script" ] || [ "$tm_tries" -ge 50 ] && break
  tm_tries=$((tm_tries + 1))
  sleep 0.1
done
(umask 077 && printf '%s\n' "$$" >"$tm_dir/shell-$2") 2>/dev/null
[ -d "$HOME" ] && [ -w "$HOME" ] || {
  for tm_home in /tmp/tidemill-home /dev/shm/tidemill-home /dev/shm; do
    [ -d "$tm_home" ] && [ -w "$tm_home" ] && break
  done
  export HOME="$tm_home"
}
TIDEMILL_JOB_STATUS=$1 CI_JOB_STATUS=$1
export TIDEMILL_JOB_STATUS CI_JOB_STATUS
. "$tm_dir/environment"
unset -f tidemill_step
unset tm_dir tm_tries tm_home
if command -v bash >/dev/null 2>&1; then exec bash; fi
exec sh
