//! The mark that we leave in the description of a certificate at Rancher: how one of ours is known after the volume
//! was lost.

use crate::core::fingerprint::Fingerprint;
use crate::core::held::Ownership;

/// How many characters Rancher's description holds.
const LONGEST: usize = 1024;

const BEGIN: &str = "rancher-lets-encrypt leaf=";
const DIRECTORY: &str = " directory=";

/// Finds the mark in a description: the last one, if there are several.
pub fn find(description: &str) -> Option<Ownership> {
    let mut places = description.rmatch_indices(BEGIN);
    let (leaf, directory, _) = places.find_map(|(at, _)| read(&description[at..]))?;
    Some(Ownership { leaf, directory: directory.to_owned() })
}

/// Writes the mark behind the operator's own text, taking an older mark's place.
///
/// Answers whether the operator's text had to be cut because both do not fit.
pub fn write(ownership: &Ownership, description: &str) -> (String, bool) {
    let mark = format!("{BEGIN}{}{DIRECTORY}{}", ownership.leaf, ownership.directory);
    let own = without_marks(description);
    if own.is_empty() {
        return (mark, false);
    }
    let room = LONGEST.saturating_sub(mark.chars().count() + 1);
    let kept: String = own.chars().take(room).collect();
    let is_cut = kept.len() < own.len();
    (format!("{kept} {mark}"), is_cut)
}

/// Reads leaf and directory of the mark that a text begins with, and what is behind it.
fn read(text: &str) -> Option<(Fingerprint, &str, &str)> {
    let (leaf, rest) = text.strip_prefix(BEGIN)?.split_once(DIRECTORY)?;
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (directory, behind) = rest.split_at(end);
    let leaf = leaf.parse().ok()?;
    (!directory.is_empty()).then_some((leaf, directory, behind))
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
        match read(&rest[at..]) {
            Some((_, _, behind)) => {
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

    fn mark() -> Ownership {
        let directory = "https://ca.test/directory".to_owned();
        Ownership { leaf: Fingerprint::of(&[b"leaf"]), directory }
    }

    #[test]
    fn a_mark_is_found_behind_the_operators_text_and_replaces_an_older_one() {
        let (first, is_cut) = write(&mark(), "bought for the shop");
        assert!(first.starts_with("bought for the shop rancher-lets-encrypt leaf="));
        assert!(!is_cut);
        let newer = Ownership { leaf: Fingerprint::of(&[b"newer"]), ..mark() };
        let (second, _) = write(&newer, &first);
        assert_eq!(find(&second), Some(newer));
        assert!(second.starts_with("bought for the shop rancher"));
        assert_eq!(second.matches(BEGIN).count(), 1);
    }

    #[test]
    fn what_the_operator_writes_around_the_mark_stays() {
        let (first, _) = write(&mark(), "bought for the shop");
        let newer = Ownership { leaf: Fingerprint::of(&[b"newer"]), ..mark() };
        let (second, is_cut) = write(&newer, &format!("{first} - ask Ann first\n"));
        assert!(
            second.starts_with("bought for the shop - ask Ann first rancher-lets-encrypt leaf="),
            "{second}"
        );
        assert!(!is_cut);
        assert_eq!(write(&newer, &second), (second.clone(), false));
        // What only looks like a mark is the operator's text.
        let (third, _) = write(&newer, "see rancher-lets-encrypt leaf=none");
        assert!(third.starts_with("see rancher-lets-encrypt leaf=none rancher-"));
        assert_eq!(find(&third), Some(newer));
    }

    #[test]
    fn a_long_text_is_cut_so_that_the_mark_fits() {
        let (text, is_cut) = write(&mark(), &"ä".repeat(1024));
        assert!(is_cut);
        assert_eq!(text.chars().count(), LONGEST);
        assert_eq!(find(&text), Some(mark()));
    }

    proptest! {
        #[test]
        fn whatever_stands_there_a_written_mark_is_found_again(text in any::<String>()) {
            find(&text);
            let (written, _) = write(&mark(), &text);
            assert!(written.chars().count() <= LONGEST);
            assert_eq!(find(&written), Some(mark()));
        }

        #[test]
        fn text_on_both_sides_of_a_mark_is_kept(before in "[a-z =\n]{0,40}", behind in "[a-z =\n]{0,40}") {
            let (written, _) = write(&mark(), &format!("{before} {} {behind}", write(&mark(), "").0));
            let whole = format!("{} {}", before.trim(), behind.trim());
            assert_eq!(written, format!("{} {}", whole.trim(), write(&mark(), "").0).trim_start());
        }
    }
}
