# Writes the job's scripts, which it reads from descriptor 3, into files. The worker sends for each file the text of each
# item, after each item a line with the nonce and `.`, `?` or `!`, and at the end a line with the nonce only.
#
# A shell runs each file as it is: nothing is wrapped, and line numbers are those of the items' text. In front of an item
# stands a marker, on the item's first line, so that the worker can show the command and measure its time. A marker may
# stand only where a new command begins. After `.` that is certain; after `?` the shell itself decides (`complete`);
# after `!` the script could notice the marker. Items without a marker between them are shown as one group.
N=
F=/dev/shm/tidemill
NL='
'
# Writes the lines up to the nonce to standard output.
copy() { while IFS= read -r L; do [ "$L" = "$N" ] && return 0; printf '%s\n' "$L"; done <&3; return 1; }
parses() { printf '%s' "$G" | "$S" -n 2>/dev/null; }
# Whether the text $G is a list of complete commands: it parses, and a `)` after it does not, as it would in a here-document.
complete() {
  case $G in *'\'"$NL") return 1 ;; esac
  parses || return 1
  ! printf '%s)\n' "$G" | "$S" -n 2>/dev/null
}
# Writes the group $G, items $B to $I, to standard output, with its marker. $P: its beginning was written already.
group() {
  [ -n "$G" ] || { P=; return 0; }
  [ -n "$H" ] || printf '. %s/environment; ' "$F"
  [ -n "$P" ] || printf '{ tidemill_step %s && :; } 2>/dev/null; ' "$1 $B $2"
  H=1
  printf '%s' "$G"
  G= P=
}
# Writes a script's file to standard output; $1 is the kind of its markers.
script() {
  G= H= P= C= K=0 I=0 B=0
  while IFS= read -r L; do
    case $L in
    "$N")
      # The message of a syntax error shows its line: without the marker.
      [ -z "$G" ] || [ -n "$P" ] || parses || P=1
      group "$1" "$((I - 1))"
      return 0
      ;;
    "$N ."|"$N ?")
      if { [ "$L" = "$N ." ] && [ -z "$C" ]; } || { [ -z "$P" ] && complete; }; then
        group "$1" "$I"
        C= K=0 B=$((I + 1))
      else
        C=1
      fi
      I=$((I + 1))
      ;;
    "$N !")
      C=1 I=$((I + 1))
      ;;
    *)
      G=$G$L$NL
      K=$((K + 1))
      # Appending takes time in proportion to the length: a long group is written in parts, and is not checked.
      if [ "$K" -ge 500 ]; then
        group "$1" "$B"
        P=1 K=0
      fi
      ;;
    esac
  done <&3
  return 1
}
