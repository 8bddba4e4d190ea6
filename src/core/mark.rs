//! The mark that we leave in the description of a certificate at Rancher: how one of ours is known after the volume
//! was lost.

use crate::core::fingerprint::Fingerprint;

/// How many characters Rancher's description holds.
const LONGEST: usize = 1024;

const BEGIN: &str = "rancher-lets-encrypt leaf=";
const DIRECTORY: &str = " directory=";

/// Which leaf was issued by which authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark<'a> {
    /// The leaf that the mark is about; on any other it counts for nothing.
    pub leaf: Fingerprint,
    /// Directory URL of the authority.
    pub directory: &'a str,
}

impl<'a> Mark<'a> {
    /// Finds the mark in a description: the last one, if there are several.
    pub fn find(description: &'a str) -> Option<Self> {
        let mut places = description.rmatch_indices(BEGIN);
        places.find_map(|(at, _)| Self::read(&description[at..]).map(|(mark, _)| mark))
    }

    /// Reads the mark that a text begins with, and what is behind it.
    fn read(text: &'a str) -> Option<(Self, &'a str)> {
        let (leaf, rest) = text.strip_prefix(BEGIN)?.split_once(DIRECTORY)?;
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (directory, behind) = rest.split_at(end);
        let mark = Self { leaf: leaf.parse().ok()?, directory };
        (!directory.is_empty()).then_some((mark, behind))
    }

    /// Writes the mark behind the operator's own text, taking an older mark's place.
    ///
    /// Answers whether the operator's text had to be cut because both do not fit.
    pub fn write(&self, description: &str) -> (String, bool) {
        let mark = format!("{BEGIN}{}{DIRECTORY}{}", self.leaf, self.directory);
        let own = without_marks(description);
        if own.is_empty() {
            return (mark, false);
        }
        let room = LONGEST.saturating_sub(mark.chars().count() + 1);
        let kept: String = own.chars().take(room).collect();
        let is_cut = kept.len() < own.len();
        (format!("{kept} {mark}"), is_cut)
    }
}

/// The operator's own text: what stands before a mark, and what was added behind it.
fn without_marks(description: &str) -> String {
    let mut own = String::new();
    let mut add = |text: &str| {
        let text = text.trim();
        if !own.is_empty() && !text.is_empty() {
            own.push(' ');
        }
        own.push_str(text);
    };
    let (mut rest, mut from) = (description, 0);
    while let Some(at) = rest[from..].find(BEGIN).map(|at| from + at) {
        match Mark::read(&rest[at..]) {
            Some((_, behind)) => {
                add(&rest[..at]);
                (rest, from) = (behind, 0);
            }
            // Only looks like one.
            None => from = at + BEGIN.len(),
        }
    }
    add(rest);
    own
}

#[cfg(test)]
mod tests {
    use proptest::prelude::any;
    use proptest::proptest;

    use super::*;

    fn mark() -> Mark<'static> {
        Mark { leaf: Fingerprint::of(&[b"leaf"]), directory: "https://ca.test/directory" }
    }

    #[test]
    fn a_mark_is_found_behind_the_operators_text_and_replaces_an_older_one() {
        let (first, is_cut) = mark().write("bought for the shop");
        assert!(first.starts_with("bought for the shop rancher-lets-encrypt leaf="));
        assert!(!is_cut);
        let newer = Mark { leaf: Fingerprint::of(&[b"newer"]), ..mark() };
        let (second, _) = newer.write(&first);
        assert_eq!(Mark::find(&second), Some(newer));
        assert!(second.starts_with("bought for the shop rancher"));
        assert_eq!(second.matches(BEGIN).count(), 1);
    }

    #[test]
    fn what_the_operator_writes_around_the_mark_stays() {
        let (first, _) = mark().write("bought for the shop");
        let newer = Mark { leaf: Fingerprint::of(&[b"newer"]), ..mark() };
        let (second, is_cut) = newer.write(&format!("{first} - ask Ann first\n"));
        assert!(
            second.starts_with("bought for the shop - ask Ann first rancher-lets-encrypt leaf="),
            "{second}"
        );
        assert!(!is_cut);
        assert_eq!(newer.write(&second), (second.clone(), false));
        // What only looks like a mark is the operator's text.
        let (third, _) = newer.write("see rancher-lets-encrypt leaf=none");
        assert!(third.starts_with("see rancher-lets-encrypt leaf=none rancher-"));
        assert_eq!(Mark::find(&third), Some(newer));
    }

    #[test]
    fn a_long_text_is_cut_so_that_the_mark_fits() {
        let (text, is_cut) = mark().write(&"ä".repeat(1024));
        assert!(is_cut);
        assert_eq!(text.chars().count(), LONGEST);
        assert_eq!(Mark::find(&text), Some(mark()));
    }

    proptest! {
        #[test]
        fn whatever_stands_there_a_written_mark_is_found_again(text in any::<String>()) {
            Mark::find(&text);
            let (written, _) = mark().write(&text);
            assert!(written.chars().count() <= LONGEST);
            assert_eq!(Mark::find(&written), Some(mark()));
        }

        #[test]
        fn text_on_both_sides_of_a_mark_is_kept(before in "[a-z =\n]{0,40}", behind in "[a-z =\n]{0,40}") {
            let (written, _) = mark().write(&format!("{before} {} {behind}", mark().write("").0));
            let whole = format!("{} {}", before.trim(), behind.trim());
            assert_eq!(written, format!("{} {}", whole.trim(), mark().write("").0).trim_start());
        }
    }
}
