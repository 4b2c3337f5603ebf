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
    found: ShellVariables,
}

impl Scanner {
    fn new(text: &str) -> Self {
        let (chars, found) = (text.chars().collect(), ShellVariables::default());
        Self { chars, at: 0, begins_command: true, sets: false, found }
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
        while let Some(c) = self.peek() {
            let starts = std::mem::replace(&mut starts_word, false);
            match c {
                '\\' => self.at += 2,
                '\'' if !is_quoted => self.skip_past('\''),
                '"' => {
                    is_quoted = !is_quoted;
                    self.at += 1;
                }
                '#' if starts && !is_quoted => self.skip_past('\n'),
                '$' => self.reference(),
                _ if is_quoted => self.at += 1,
                _ if starts && (c.is_ascii_alphabetic() || matches!(c, '_' | '.')) => self.word(),
                _ => {
                    let separates = matches!(c, '\n' | ';' | '&' | '|' | '(' | ')' | '`' | '{' | '!');
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
        self.at += length + 2;
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
    fn positions_are_those_of_the_dollar_sign() {
        let used = ShellVariables::of("ä ${NAME}").used;
        assert_eq!((used[0].at, used[0].length), (2, 7));
    }
}
