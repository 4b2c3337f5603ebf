# Writes the job's scripts, which it reads from descriptor 3, into files. The worker sends for each file the text of each
# item, after each item a line with the nonce and `.`, `?` or `!`, and at the end a line with the nonce only.
#
# A shell runs each file as it is: nothing is wrapped, and line numbers are those of the items' text. In front of an item
# stands a marker, on the item's first line, so that the worker can show the command and measure its time. A marker may
# stand only where a new command begins. After `.` that is certain; after `?` the shell itself decides (`complete`);
# after `!` the script could notice the marker. Items without a marker between them are shown as one group.
#
# All names begin with `tm_`: an image may export any others, and the job must get them unchanged.
tm_nonce=
tm_dir=/dev/shm/tidemill
tm_newline='
'
# Writes the lines up to the nonce to standard output.
copy() {
  while IFS= read -r tm_line; do
    [ "$tm_line" = "$tm_nonce" ] && return 0
    printf '%s\n' "$tm_line"
  done <&3
  return 1
}
parses() { printf '%s' "$tm_group" | "$tm_shell" -n 2>/dev/null; }
# Whether the text $tm_group is a list of complete commands: it parses, and a `)` after it does not, as it would in a
# here-document.
complete() {
  case $tm_group in *'\'"$tm_newline") return 1 ;; esac
  parses || return 1
  ! printf '%s)\n' "$tm_group" | "$tm_shell" -n 2>/dev/null
}
# Writes the group $tm_group, items $tm_first to $tm_item, to standard output, with its marker. $tm_partial: its beginning was
# written already.
group() {
  [ -n "$tm_group" ] || { tm_partial=; return 0; }
  [ -n "$tm_begun" ] || printf '. %s/environment; ' "$tm_dir"
  [ -n "$tm_partial" ] || printf '{ tidemill_step %s && :; } 2>/dev/null; ' "$1 $tm_first $2"
  tm_begun=1
  printf '%s' "$tm_group"
  tm_group= tm_partial=
}
# Writes a script's file to standard output; $1 is the kind of its markers.
script() {
  tm_group= tm_begun= tm_partial= tm_continues= tm_lines=0 tm_item=0 tm_first=0
  while IFS= read -r tm_line; do
    case $tm_line in
    "$tm_nonce")
      # The message of a syntax error shows its line: without the marker.
      [ -z "$tm_group" ] || [ -n "$tm_partial" ] || parses || tm_partial=1
      group "$1" "$((tm_item - 1))"
      return 0
      ;;
    "$tm_nonce ."|"$tm_nonce ?")
      if { [ "$tm_line" = "$tm_nonce ." ] && [ -z "$tm_continues" ]; } || { [ -z "$tm_partial" ] && complete; }; then
        group "$1" "$tm_item"
        tm_continues= tm_lines=0 tm_first=$((tm_item + 1))
      else
        tm_continues=1
      fi
      tm_item=$((tm_item + 1))
      ;;
    "$tm_nonce !")
      tm_continues=1 tm_item=$((tm_item + 1))
      ;;
    *)
      tm_group=$tm_group$tm_line$tm_newline
      tm_lines=$((tm_lines + 1))
      # Appending takes time in proportion to the length: a long group is written in parts, and is not checked.
      if [ "$tm_lines" -ge 500 ]; then
        group "$1" "$tm_first"
        tm_partial=1 tm_lines=0
      fi
      ;;
    esac
  done <&3
  return 1
}
