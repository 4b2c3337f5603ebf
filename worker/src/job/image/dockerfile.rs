//! Reads a Dockerfile: the line of a step that failed, and the base images.

/// An instruction.
#[derive(Debug, PartialEq, Eq)]
struct Instruction {
    /// The line on which it begins, from 1.
    line: usize,
    /// Its text on one line, with single spaces.
    text: String,
}

/// Returns the line of the instruction that BuildKit names in `step`, as in `[build 2/3] RUN make`, from 1.
pub fn line_of_step(dockerfile: &str, step: &str) -> Option<usize> {
    let (_, shown) = step.strip_prefix('[')?.split_once("] ")?;
    let shown = normalized(shown);
    let instructions = instructions(dockerfile);
    let exact = instructions.iter().find(|instruction| instruction.text == shown);
    let found = exact.or_else(|| {
        // BuildKit puts in the values of variables.
        instructions.iter().find(|instruction| {
            instruction
                .text
                .split_once('$')
                .is_some_and(|(before, _)| shown.starts_with(before) && before.contains(' '))
        })
    });
    found.map(|instruction| instruction.line)
}

/// Returns the images after `FROM` whose names have no variables.
pub fn base_images(dockerfile: &str) -> Vec<String> {
    let images = instructions(dockerfile).into_iter().filter_map(|instruction| {
        let mut words = instruction.text.split(' ');
        let is_from = words.next()?.eq_ignore_ascii_case("FROM");
        let image = words.find(|word| !word.starts_with("--"))?;
        (is_from && !image.contains('$')).then(|| image.to_owned())
    });
    images.collect()
}

/// Splits a Dockerfile. Here-documents and unusual escapes may give instructions that are none, which then match no step.
fn instructions(dockerfile: &str) -> Vec<Instruction> {
    let mut instructions = Vec::new();
    let mut open: Option<Instruction> = None;
    for (line, text) in (1..).zip(dockerfile.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (part, continues) = text.strip_suffix('\\').map_or((text, false), |part| (part, true));
        let mut instruction = open.take().unwrap_or(Instruction { line, text: String::new() });
        instruction.text.push(' ');
        instruction.text.push_str(part);
        if continues {
            open = Some(instruction);
        } else {
            instructions.push(instruction);
        }
    }
    instructions.extend(open);
    for instruction in &mut instructions {
        instruction.text = normalized(&instruction.text);
    }
    instructions
}

/// Returns `text` with single spaces, and its first word in upper case.
fn normalized(text: &str) -> String {
    let mut words = text.split_ascii_whitespace();
    let first = words.next().unwrap_or_default().to_ascii_uppercase();
    std::iter::once(first.as_str()).chain(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{base_images, line_of_step};

    const DOCKERFILE: &str = "# syntax\nFROM --platform=linux/amd64 a:1 AS build\nARG V\n\nrun echo one && \\\n    # why\n    \
                              echo   two\nRUN echo $V done\nFROM ${BASE}\nCOPY --from=build /x /y\n";

    #[test]
    fn step_is_found_on_the_line_where_its_instruction_begins() {
        assert_eq!(line_of_step(DOCKERFILE, "[build 2/3] RUN echo one &&     echo   two"), Some(5));
        assert_eq!(line_of_step(DOCKERFILE, "[build 3/3] RUN echo 5 done"), Some(8));
        assert_eq!(line_of_step(DOCKERFILE, "[stage-1 2/2] COPY --from=build /x /y"), Some(10));
        assert_eq!(line_of_step(DOCKERFILE, "[internal] load metadata for a:1"), None);
        assert_eq!(line_of_step(DOCKERFILE, "exporting to image"), None);
    }

    #[test]
    fn base_images_are_those_without_variables() {
        assert_eq!(base_images(DOCKERFILE), ["a:1"]);
        assert!(base_images("").is_empty());
    }
}
