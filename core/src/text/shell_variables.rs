//! Finds the variables that a shell command uses and sets, as far as that can be seen without a shell.

/// The variables of a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ShellVariables {
    /// The variables that it uses without a default.
    pub(crate) used: Vec<VariableUse>,
    /// The variables that it sets.
    pub(crate) set: Vec<String>,
    /// Whether it reads files with commands, which may set others.
    pub(crate) reads_files: bool,
    /// Whether it has an expression of GitHub Actions, `${{ }}`, outside of here-documents, which may be such files.
    pub(crate) has_expressions: bool,
}

/// The use of a variable in a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct VariableUse {
    pub(crate) name: String,
    /// The position of its `$`, in characters from 0.
    pub(crate) at: usize,
    /// The number of characters, with the `$`.
    pub(crate) length: usize,
}

/// Commands that set the variables that they name.
const SETTING_COMMANDS: [&str; 10] =
    ["declare", "export", "for", "getopts", "local", "mapfile", "read", "readonly", "select", "typeset"];

/// Words that stand in front of a command.
const LEADING_WORDS: [&str; 7] = ["do", "elif", "else", "if", "then", "until", "while"];

impl ShellVariables {
    /// Returns the variables of shell commands.
    pub(crate) fn of(text: &str) -> Self {
        let mut scanner = Scanner::new(text);
        scanner.scan();
        scanner.found
    }

    /// Returns the variables that a text of a GitLab file refers to as `$NAME` or `${NAME}`.
    pub(crate) fn of_references(text: &str) -> Self {
        let mut scanner = Scanner::new(text);
        while let Some(c) = scanner.peek() {
            match c {
                '$' if scanner.chars.get(scanner.at + 1) == Some(&'$') => scanner.at += 2,
                // The name of a variable with another one in it is not expanded.
                '$' if scanner.is_nested_name() => scanner.at += 2,
                '$' => scanner.reference(),
                _ => scanner.at += 1,
            }
        }
        scanner.found
    }
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
    /// Whether a command begins with the next word.
    begins_command: bool,
    /// Whether the command sets the variables that it names.
    sets: bool,
    /// The here-documents whose text begins with the next line.
    here_documents: Vec<HereDocument>,
    found: ShellVariables,
}

/// The beginning of a here-document, such as `<<-'END'`.
struct HereDocument {
    end: String,
    /// Whether the shell expands nothing in it.
    is_literal: bool,
    /// Whether tabs may stand before its end.
    has_tabs: bool,
}

impl HereDocument {
    /// Whether a line ends it.
    fn ends_with(&self, line: &str) -> bool {
        let line = if self.has_tabs { line.trim_start_matches('\t') } else { line };
        line == self.end
    }
}

impl Scanner {
    fn new(text: &str) -> Self {
        let (chars, found) = (text.chars().collect(), ShellVariables::default());
        Self { chars, at: 0, begins_command: true, sets: false, here_documents: Vec::new(), found }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    /// Whether a reference like `${A_${B}}` begins here.
    fn is_nested_name(&self) -> bool {
        let after_name = self.at + 2 + self.name_at(self.at + 2).len();
        self.chars.get(self.at + 1) == Some(&'{') && self.chars.get(after_name) == Some(&'$')
    }

    /// Returns the name that begins at a position; empty if none does.
    fn name_at(&self, at: usize) -> String {
        let rest = self.chars.get(at..).unwrap_or_default();
        let name: String = rest.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').collect();
        if name.starts_with(|c: char| c.is_ascii_digit()) { String::new() } else { name }
    }

    fn scan(&mut self) {
        let (mut is_quoted, mut starts_word) = (false, true);
        // For each open bracket, whether it is in quotes: a command in them has quotes of its own.
        let mut brackets = Vec::new();
        while let Some(c) = self.peek() {
            let starts = std::mem::replace(&mut starts_word, false);
            match c {
                '\\' => self.at += 2,
                '\'' if !is_quoted => self.skip_past('\''),
                '"' => {
                    is_quoted = !is_quoted;
                    self.at += 1;
                }
                '#' if starts && !is_quoted => self.at += self.line_at(self.at).chars().count(),
                '<' if !is_quoted && self.chars.get(self.at + 1) == Some(&'<') => self.here_document(),
                '\n' if !is_quoted && !self.here_documents.is_empty() => {
                    self.at += 1;
                    self.texts_of_here_documents();
                    (starts_word, self.begins_command, self.sets) = (true, true, false);
                }
                '$' => {
                    self.reference();
                    if self.chars.get(self.at - 1) == Some(&'$') && self.peek() == Some('(') {
                        brackets.push(is_quoted);
                        (is_quoted, starts_word, self.begins_command) = (false, true, true);
                        self.at += 1;
                    }
                }
                _ if is_quoted => self.at += 1,
                '(' | ')' => {
                    if c == '(' {
                        brackets.push(false);
                    } else {
                        is_quoted = brackets.pop().unwrap_or(false);
                    }
                    (starts_word, self.begins_command, self.sets) = (true, true, false);
                    self.at += 1;
                }
                _ if starts && (c.is_ascii_alphabetic() || matches!(c, '_' | '.')) => self.word(),
                _ => {
                    let separates = matches!(c, '\n' | ';' | '&' | '|' | '`' | '{' | '!');
                    starts_word = separates || c.is_whitespace();
                    self.begins_command |= separates;
                    self.sets &= !separates;
                    self.at += 1;
                }
            }
        }
    }

    /// Moves behind the next `end`, or to the end of the text.
    fn skip_past(&mut self, end: char) {
        let rest = self.chars.get(self.at + 1..).unwrap_or_default();
        let length = rest.iter().position(|c| *c == end).unwrap_or(rest.len());
        // Its quotes are those of the other system.
        self.found.has_expressions |= rest[..length].windows(3).any(|part| part == ['$', '{', '{']);
        self.at += length + 2;
    }

    /// Returns the rest of the line from a position on, without its end.
    fn line_at(&self, at: usize) -> String {
        self.chars.get(at..).unwrap_or_default().iter().take_while(|c| **c != '\n').collect()
    }

    /// Reads `<<END`, `<<-'END'` or `<<<`.
    fn here_document(&mut self) {
        self.at += 2;
        // A here-string is a word of the command.
        if self.peek() == Some('<') {
            self.at += 1;
            return;
        }
        let line = self.line_at(self.at);
        let has_tabs = line.starts_with('-');
        let word = line[usize::from(has_tabs)..].trim_start_matches([' ', '\t']);
        let ends = |c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '<' | '>');
        let word = word.split(ends).next().unwrap_or_default();
        let is_literal = word.contains(['\'', '"', '\\']);
        let end = word.replace(['\'', '"', '\\'], "");
        let document = HereDocument { end, is_literal, has_tabs };
        // Without its end it is a shift of bits.
        let later = self.chars.get(self.at + line.chars().count()..).unwrap_or_default();
        let later: String = later.iter().collect();
        if !document.end.is_empty() && later.lines().any(|line| document.ends_with(line)) {
            let skipped = line.chars().count() - line[line.find(word).unwrap_or(0)..].chars().count();
            self.at += skipped + word.chars().count();
            self.here_documents.push(document);
        }
    }

    /// Reads the lines of the here-documents that begin here, with the lines that end them.
    fn texts_of_here_documents(&mut self) {
        for document in std::mem::take(&mut self.here_documents) {
            while self.at < self.chars.len() {
                let line = self.line_at(self.at);
                let line_end = self.at + line.chars().count();
                let is_end = document.ends_with(&line);
                while !is_end && !document.is_literal && self.at < line_end {
                    match self.peek() {
                        Some('\\') => self.at += 2,
                        Some('$') => self.reference(),
                        _ => self.at += 1,
                    }
                }
                self.at = self.at.max(line_end + 1);
                if is_end {
                    break;
                }
            }
        }
    }

    /// Reads the beginning of a word.
    fn word(&mut self) {
        let begins_command = std::mem::replace(&mut self.begins_command, false);
        if self.peek() == Some('.') {
            let next = self.chars.get(self.at + 1);
            self.found.reads_files |= begins_command && next.is_some_and(|c| c.is_whitespace());
            self.at += 1;
            return;
        }
        let name = self.name_at(self.at);
        self.at += name.chars().count();
        let rest = self.chars.get(self.at..).unwrap_or_default();
        let ends = rest.first().is_none_or(|c| c.is_whitespace() || matches!(c, ';' | '&' | '|' | ')'));
        if matches!(rest, ['=', ..] | ['+', '=', ..]) {
            self.begins_command = begins_command;
            self.found.set.push(name);
        } else if self.sets && ends {
            self.sets = name != "in";
            self.found.set.extend(Some(name).filter(|name| name != "in"));
        } else if begins_command && ends {
            self.found.reads_files |= matches!(name.as_str(), "source" | "eval");
            self.sets = SETTING_COMMANDS.contains(&name.as_str());
            self.begins_command = LEADING_WORDS.contains(&name.as_str());
        }
    }

    /// Reads a `$` and what follows it.
    fn reference(&mut self) {
        let at = self.at;
        let is_braced = self.chars.get(at + 1) == Some(&'{');
        self.found.has_expressions |= is_braced && self.chars.get(at + 2) == Some(&'{');
        let mut start = at + 1 + usize::from(is_braced);
        // The length of a value, or the variable that another one names.
        start += usize::from(is_braced && matches!(self.chars.get(start), Some('#' | '!')));
        let name = self.name_at(start);
        self.at = start.max(at + 1);
        if name.is_empty() {
            return;
        }
        self.at += name.len();
        let mut after = self.chars.get(self.at..).unwrap_or_default().iter();
        let operator = match after.next() {
            Some(':') => after.next(),
            first => first,
        };
        match operator {
            Some('=') if is_braced => self.found.set.push(name),
            // The command says what to do without a value.
            Some('-' | '+' | '?') if is_braced => {}
            _ => {
                let length = self.at - at + usize::from(is_braced && self.peek() == Some('}'));
                self.found.used.push(VariableUse { name, at, length });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ShellVariables;

    fn names(text: &str) -> (String, String) {
        let found = ShellVariables::of(text);
        let used: Vec<String> = found.used.into_iter().map(|used| used.name).collect();
        (used.join(" "), found.set.join(" "))
    }

    #[test]
    fn used_and_set_variables_are_found() {
        for (text, used, set) in [
            ("echo $A ${B} \"$C\" '$D' \\$E $$ $1 $(cat $F)", "A B C F", ""),
            ("A=1; B+=2 env C=3 x", "", "A B C"),
            ("export A=1 B", "", "A B"),
            ("for A in x; do read -r B; done; read B C\necho D", "", "A B B C"),
            ("echo ${A:-x} ${B-x} ${C:+x} ${D:?x} ${E:=x} ${F%.*} ${#G} ${H:1:2}", "F G H", "E"),
            ("awk '{print $NF}' # don't use $A", "", ""),
            ("echo \"it's $A\" && [ -n \"$B\" ]", "A B", ""),
            ("a=b --c=$D e=\"${F}\"", "D F", "a e"),
            ("x # don't\ny $A", "A", ""),
        ] {
            assert_eq!(names(text), (used.to_owned(), set.to_owned()), "{text}");
        }
    }

    #[test]
    fn here_documents_are_expanded_unless_their_end_is_quoted() {
        for (text, used, set) in [
            ("cat <<'EOF' > f\necho $A\nEOF\necho $B", "B", ""),
            ("cat <<\"EOF\"\n$A\nEOF\nC=$B", "B", "C"),
            ("cat <<\\EOF; echo $C\n$A\nEOF\n$B", "C B", ""),
            ("cat <<-'EOF'\n\t$A\n\tEOF\n$B", "B", ""),
            ("cat << 'EOF'\n$A\n EOF\n$A\nEOF\n$B", "B", ""),
            ("cat <<EOF\ndon't $A \\$C \"${D:-x}\" ${E}\nEOF\n$B", "A E B", ""),
            ("cat <<A <<'B'\n$C\nA\n$D\nB\n$E", "C E", ""),
            ("cat <<'EOF' # it's $A\n$B\nEOF\n$C", "C", ""),
            ("cat <<<$A\n$B", "A B", ""),
            ("x=$((1<<2)); y=$((1 << n))\n$A", "A", "x y"),
            ("cat <<'EOF'\n$A", "A", ""),
            ("X=\"$(cat <<'EOF'\n$A don't\nEOF\n)\" y $B \"$(echo '$C' $D)$E'$F'\"", "B D E F", "X"),
            ("x=\"$((1 + 2))$A\" '$B' \"`echo $C`\"", "A C", "x"),
            ("case $A in a) x='$B';; esac; echo \"(it's $C)\"", "A C", "x"),
            ("cat <<ÄÖ\n$A\nÄÖ\n$B", "A B", ""),
        ] {
            assert_eq!(names(text), (used.to_owned(), set.to_owned()), "{text}");
        }
    }

    #[test]
    fn commands_that_read_files_are_found() {
        for (text, expected) in [
            (". ./env", true),
            ("source env", true),
            ("eval $(x)", true),
            ("./env", false),
            ("find . -name x", false),
        ] {
            assert_eq!(ShellVariables::of(text).reads_files, expected, "{text}");
        }
    }

    #[test]
    fn expressions_are_found_outside_of_literal_here_documents() {
        for (text, expected) in [
            ("echo ${{ github.sha }}", true),
            ("echo \"${{ github.sha }}\"", true),
            ("cat <<EOF\n${{ x }}\nEOF", true),
            ("echo 'a' $(b) 'c'", false),
            ("echo '${{ github.sha }}'", true),
            ("cat <<'EOF'\n${{ x }}\nEOF", false),
            ("echo \\${{ x }} {{ y }} $(( 1 + 2 ))", false),
        ] {
            assert_eq!(ShellVariables::of(text).has_expressions, expected, "{text}");
        }
    }

    #[test]
    fn positions_are_those_of_the_dollar_sign() {
        let used = ShellVariables::of("ä ${NAME}").used;
        assert_eq!((used[0].at, used[0].length), (2, 7));
    }
}
