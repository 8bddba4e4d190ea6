//! The mark that we leave in the description of a certificate at Rancher: how one of ours is known after the volume
//! was lost.

use crate::fingerprint::Fingerprint;

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
    /// Finds the mark in a description.
    pub fn find(description: &'a str) -> Option<Self> {
        let rest = &description[description.rfind(BEGIN)? + BEGIN.len()..];
        let (leaf, rest) = rest.split_once(DIRECTORY)?;
        let directory = rest.split_whitespace().next()?;
        Some(Self {
            leaf: leaf.parse().ok()?,
            directory,
        })
    }

    /// Writes the mark behind the operator's own text, taking an older mark's place.
    ///
    /// Answers whether the operator's text had to be cut because both do not fit.
    pub fn write(&self, description: &str) -> (String, bool) {
        let mark = format!("{BEGIN}{}{DIRECTORY}{}", self.leaf, self.directory);
        let own = description
            .rfind(BEGIN)
            .map_or(description, |at| &description[..at])
            .trim_end();
        if own.is_empty() {
            return (mark, false);
        }
        let room = LONGEST.saturating_sub(mark.chars().count() + 1);
        let kept: String = own.chars().take(room).collect();
        let is_cut = kept.len() < own.len();
        (format!("{kept} {mark}"), is_cut)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::any;
    use proptest::proptest;

    use super::*;

    fn mark() -> Mark<'static> {
        Mark {
            leaf: Fingerprint::of(&[b"leaf"]),
            directory: "https://ca.test/directory",
        }
    }

    #[test]
    fn a_mark_is_found_behind_the_operators_text_and_replaces_an_older_one() {
        let (first, is_cut) = mark().write("bought for the shop");
        assert!(first.starts_with("bought for the shop rancher-lets-encrypt leaf="));
        assert!(!is_cut);
        let newer = Mark {
            leaf: Fingerprint::of(&[b"newer"]),
            ..mark()
        };
        let (second, _) = newer.write(&first);
        assert_eq!(Mark::find(&second), Some(newer));
        assert!(second.starts_with("bought for the shop rancher"));
        assert_eq!(second.matches(BEGIN).count(), 1);
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
    }
}
