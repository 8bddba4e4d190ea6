//! Foreign text as text: markup is escaped, and what cannot be seen but acts on what stands around it is made visible.

use std::fmt;
use std::fmt::Write;

use askama::filters::Escaper;

/// Shows what it is given. Every expression of a template goes through it (`askama.toml`).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown;

impl Escaper for Shown {
    fn write_escaped_str<W: Write>(&self, mut dest: W, string: &str) -> fmt::Result {
        let mut from = 0;
        for (at, char) in string.char_indices() {
            let Some(instead) = instead_of(char) else {
                continue;
            };
            dest.write_str(&string[from..at])?;
            dest.write_str(instead)?;
            from = at + char.len_utf8();
        }
        dest.write_str(&string[from..])
    }
}

/// What stands for a character that must not reach the browser as it is.
fn instead_of(char: char) -> Option<&'static str> {
    match char {
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '&' => Some("&amp;"),
        '"' => Some("&quot;"),
        '\'' => Some("&#39;"),
        '\n' | '\t' => None,
        // Marks that turn the direction of what follows, and marks without a width.
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'
        | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => Some("\u{fffd}"),
        control if control.is_control() => Some("\u{fffd}"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shown: &str) {
        let mut written = String::new();
        Shown.write_escaped_str(&mut written, text).unwrap();
        assert_eq!(written, shown, "{text:?}");
    }

    #[test]
    fn foreign_text_is_shown_and_does_nothing() {
        check("", "");
        check("a.example.com", "a.example.com");
        check("<script>", "&lt;script&gt;");
        check("a&b", "a&amp;b");
        check("&lt;", "&amp;lt;");
        check("\" onclick='x' ", "&quot; onclick=&#39;x&#39; ");
        check("</p><!-- ]]>", "&lt;/p&gt;&lt;!-- ]]&gt;");
        check("two\n\tlines", "two\n\tlines");
        check("a\0b\u{1b}[31m\u{7f}\u{85}\r", "a�b�[31m���");
        check("moc\u{202e}.elgoog", "moc�.elgoog");
        check("\u{2066}a\u{2069}\u{200f}\u{61c}", "�a���");
        check("pay\u{200b}pal\u{feff}\u{e0041}", "pay�pal��");
        check("شبكة 網路 zażółć 👩\u{200d}🔧", "شبكة 網路 zażółć 👩\u{200d}🔧");
    }

    #[test]
    fn nothing_that_html_knows_is_left_of_any_character() {
        for char in '\0'..=char::MAX {
            let mut written = String::new();
            Shown.write_escaped_char(&mut written, char).unwrap();
            assert!(!written.contains(['<', '>', '"', '\'']), "{char:?}");
            let is_entity = written.starts_with('&') && written.ends_with(';');
            assert_eq!(written.contains('&'), is_entity, "{char:?}");
        }
    }
}
