//! References to values of the own matrix: `$[[ matrix.NAME ]]`.

use super::MatrixVariants;

/// The values of a variant of a job.
pub(crate) type Cell<'a> = Vec<(&'a str, &'a str)>;

const OPEN: &str = "$[[";
const CLOSE: &str = "]]";

/// Whether a text has an expression.
pub(crate) fn is_in(text: &str) -> bool {
    text.contains(OPEN)
}

/// Calls `value` with what is in each expression of a text, and returns the text with the results.
pub(crate) fn replace<'v>(text: &str, mut value: impl FnMut(&str) -> &'v str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once(OPEN) {
        let Some((body, after)) = after.split_once(CLOSE) else { break };
        out.push_str(before);
        out.push_str(value(body.trim()));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Returns a text with the values of a variant.
pub(crate) fn evaluate(text: &str, cell: &Cell<'_>) -> String {
    replace(text, |body| {
        let name = body.strip_prefix("matrix.").unwrap_or_default();
        cell.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    })
}

/// Returns the variants of a matrix.
pub(crate) fn cells(variants: &MatrixVariants) -> Vec<Cell<'_>> {
    let mut all = Vec::new();
    for matrix in &variants.matrices {
        let mut cells: Vec<Cell<'_>> = vec![Vec::new()];
        for (name, values) in matrix {
            let mut longer = Vec::with_capacity(cells.len() * values.len());
            for cell in &cells {
                for value in values {
                    let mut cell = cell.clone();
                    cell.push((name.as_str(), value.as_str()));
                    longer.push(cell);
                }
            }
            cells = longer;
        }
        all.extend(cells);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::evaluate;

    #[test]
    fn expressions_are_replaced_by_the_values_of_a_variant() {
        let cell = vec![("OS", "linux"), ("ARCH", "arm64")];
        for (text, expected) in [
            ("$[[ matrix.OS ]]", "linux"),
            ("$[[matrix.OS]]-$[[ matrix.ARCH ]].x", "linux-arm64.x"),
            ("plain", "plain"),
            ("$[[ matrix.OS", "$[[ matrix.OS"),
        ] {
            assert_eq!(evaluate(text, &cell), expected, "{text}");
        }
    }
}
