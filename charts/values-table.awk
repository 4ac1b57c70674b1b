# values.yaml → a Markdown table: each value that has a comment of its own, its default, the comment.
# A value that is a list or a mapping shows its first line, or `see values.yaml` where it has more.
function flush() {
  if (key == "") return
  if (text != "") {
    gsub(/\|/, "\\|", text)
    shown = value == "" ? "see values.yaml" : "`" value "`"
    printf "| `%s` | %s | %s |\n", key, shown, text
  }
  key = ""; text = ""
}
BEGIN { print "| value | default | meaning |"; print "|---|---|---|" }
/^ *#/ { line = $0; sub(/^ *# ?/, "", line); comment = comment (comment == "" ? "" : " ") line; next }
/^ *$/ { comment = ""; next }
/^ *[A-Za-z]+:/ {
  match($0, /^ */); depth = RLENGTH / 2
  name = $1; sub(/:.*/, "", name)
  path[depth] = name
  full = path[0]; for (i = 1; i <= depth; i++) full = full "." path[i]
  flush()
  if (comment == "") next
  key = full; text = comment; comment = ""
  value = $0; sub(/^ *[A-Za-z]+: */, "", value)
}
END { flush() }
