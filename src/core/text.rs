//! Times and foreign text as people read them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time as people read it in a sentence: to the second, UTC.
pub fn timestamp(time: OffsetDateTime) -> String {
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
}

/// Foreign text made fit for one log line.
pub fn one_line(text: &str) -> String {
    // An address that a person is to visit may be long.
    const LONGEST: usize = 2000;
    let mut line: String =
        text.chars().take(LONGEST).map(|char| if char.is_control() { ' ' } else { char }).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::proptest;

    use super::*;

    proptest! {
        #[test]
        fn any_text_becomes_one_line_of_limited_length(text in ".{0,50}(?s:.){0,3000}") {
            let line = one_line(&text);
            assert!(!line.contains(char::is_control));
            assert!(line.chars().count() <= 2001);
        }
    }
}
