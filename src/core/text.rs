//! Times and foreign text as people read them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time as people read it in a sentence: to the second, UTC.
pub fn timestamp(time: OffsetDateTime) -> String {
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
}

/// Whether nothing in a text begins another line, steers a terminal, or shows something in another order than it stands.
pub fn is_plain(text: &str) -> bool {
    !text.contains(steers)
}

/// Foreign text in which nothing begins another line, steers a terminal, or changes the order of what is shown.
pub fn plain(text: &str) -> String {
    text.chars().map(|char| if steers(char) { ' ' } else { char }).collect()
}

/// Control characters, and what Unicode has beside them: separators of lines and paragraphs, and marks, embeddings,
/// overrides and isolates of direction (Unicode Standard Annex 9, section 2), also without width.
fn steers(char: char) -> bool {
    let is_hidden = matches!(
        char,
        '\u{61c}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    );
    char.is_control() || is_hidden
}

/// Foreign text made fit for one line of limited length.
pub fn one_line(text: &str) -> String {
    // An address that a person is to visit may be long.
    const LONGEST: usize = 2000;
    let mut line: String =
        text.chars().take(LONGEST).map(|char| if steers(char) { ' ' } else { char }).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::proptest;

    use super::*;

    #[test]
    fn what_begins_a_line_or_turns_one_round_is_not_plain() {
        let text = "a\nb\u{1b}[31mc\u{202e}d\u{2028}e\u{2066}f\u{85}g";
        assert!(!is_plain(text));
        assert_eq!(plain(text), "a b [31mc d e f g");
        assert!(is_plain("bücher.example.com, … 日本"));
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_line_of_limited_length(text in ".{0,50}(?s:.){0,3000}") {
            let line = one_line(&text);
            assert!(!line.contains(char::is_control) && is_plain(&line));
            assert!(is_plain(&plain(&text)));
            assert!(line.chars().count() <= 2001);
        }
    }
}
