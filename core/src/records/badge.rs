//! Badges: small images of a status, for pages such as a README.

use crate::{execution::status::ExecutionStatus, text::printable};

/// Maximum number of characters of a label.
const MAX_LABEL_CHARS: usize = 40;
/// Width of a character and of the space around a text, in pixels. Texts are stretched to the width that these give.
const CHAR_WIDTH: usize = 7;
const PADDING: usize = 10;

/// Returns an SVG image of a status; `None`: it is unknown.
#[must_use]
pub fn badge_svg(label: &str, status: Option<ExecutionStatus>) -> String {
    let (text, colour) = match status {
        Some(ExecutionStatus::Success) => ("passing", "#1a7f37"),
        Some(ExecutionStatus::Failed) => ("failing", "#cf222e"),
        Some(ExecutionStatus::Canceled) => ("canceled", "#6e7781"),
        _ => ("unknown", "#6e7781"),
    };
    let label: String = printable(label).chars().take(MAX_LABEL_CHARS).collect();
    let text_width = |text: &str| text.chars().count() * CHAR_WIDTH;
    let (left, right) = (text_width(&label) + PADDING, text_width(text) + PADDING);
    let (width, label_at, text_at) = (left + right, left / 2, left + right / 2);
    let (label_width, text_width) = (text_width(&label), text_width(text));
    let label = escaped(&label);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"20\" role=\"img\" aria-label=\"{label}: {text}\">\
         <title>{label}: {text}</title>\
         <rect width=\"{left}\" height=\"20\" fill=\"#444d56\"/>\
         <rect x=\"{left}\" width=\"{right}\" height=\"20\" fill=\"{colour}\"/>\
         <g fill=\"#fff\" text-anchor=\"middle\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\">\
         <text x=\"{label_at}\" y=\"14\" textLength=\"{label_width}\">{label}</text>\
         <text x=\"{text_at}\" y=\"14\" textLength=\"{text_width}\">{text}</text></g></svg>"
    )
}

/// Returns a text as content or attribute of an XML element.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::badge_svg;
    use crate::execution::status::ExecutionStatus;

    #[test]
    fn badge_shows_label_and_status() {
        for (status, text) in [
            (Some(ExecutionStatus::Success), "passing"),
            (Some(ExecutionStatus::Failed), "failing"),
            (Some(ExecutionStatus::Canceled), "canceled"),
            (Some(ExecutionStatus::Running), "unknown"),
            (None, "unknown"),
        ] {
            let svg = badge_svg("ci", status);
            assert!(svg.contains(&format!("<title>ci: {text}</title>")), "{svg}");
        }
    }

    #[test]
    fn label_cannot_add_markup_and_is_bounded() {
        let svg = badge_svg("<script>\"&\u{1b}", None);
        assert!(svg.contains("&lt;script&gt;&quot;&amp;") && !svg.contains("<script"), "{svg}");
        assert!(!svg.contains('\u{1b}'), "{svg}");
        let long = badge_svg(&"x".repeat(1_000), None);
        assert!(long.len() < 1_500, "{}", long.len());
    }
}
