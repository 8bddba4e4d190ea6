//! What the copy at the destination is to us.

use super::*;

#[test]
fn a_newer_copy_that_is_due_by_its_jitter_only_is_not_given_up_for_an_older_one() {
    // One of a group, so that it is found whatever the fingerprints are.
    let mut seen = 0;
    for _ in 0..200 {
        let newer = case()
            .on_disk(with_left(&[NAME], 31), PRODUCTION)
            .at_destination(with_left(&[NAME], 32))
            .marked(PRODUCTION);
        let DiskCopy::Whole(stored) = &newer.disk else {
            panic!("it was put there");
        };
        let due = |leaf: &Leaf| due_at(leaf, None) <= NOW;
        let there = &newer.remote.as_ref().unwrap().content.as_ref().unwrap().leaf;
        if !due(&stored.shown.leaf) && due(there) {
            seen += 1;
            newer.is(Fresh, Newer, Restore, "better copy of ours");
        }
    }
    assert!(seen > 0);
}

#[test]
fn a_mark_counts_only_on_its_own_leaf() {
    let mut pasted = case().at_destination(fresh()).marked(PRODUCTION);
    pasted.remote.as_mut().unwrap().content = Ok(fresh());
    pasted.is(Missing, Foreign, Leave, "not ours");
}

#[test]
fn ours_is_known_by_record_without_a_mark() {
    let older = with_left(&[NAME], 70);
    let mut record = case().on_disk(fresh(), PRODUCTION);
    record.known.insert(older.leaf.fingerprint, None);
    record.at_destination(older).is(Fresh, Replaceable, Push, "older copy of ours");
}

#[test]
fn another_chain_behind_our_leaf_is_replaced_and_told() {
    let stored = fresh();
    let mut other = stored.clone();
    other.chain = Fingerprint::of(&[b"another"]);
    case().on_disk(stored, PRODUCTION).at_destination(other).is(
        Fresh,
        Replaceable,
        Push,
        "our certificate with another chain",
    );
}

#[test]
fn self_signed_is_replaced_in_both_modes() {
    let placeholder = || self_signed(&[NAME], -Duration::DAY, Duration::days(3650));
    case().at_destination(placeholder()).is(Missing, Replaceable, Issue, "self-signed");
    case().staging_wanted().at_destination(placeholder()).is(
        Missing,
        Replaceable,
        Issue,
        "self-signed",
    );
}

#[test]
fn replace_foreign_decides_over_what_is_not_ours() {
    use ReplaceForeign::Always;
    use ReplaceForeign::Never;
    let expired = || with_left(&[NAME], -1);
    case().at_destination(expired()).is(Missing, Replaceable, Issue, "expired on");
    case().replace_foreign(Never).at_destination(expired()).is(Missing, Foreign, Leave, "at risk");
    case().replace_foreign(Always).at_destination(fresh()).is(
        Missing,
        Replaceable,
        Issue,
        "REPLACE_FOREIGN=always",
    );
    // Less than a tenth and less than 14 days.
    case().at_destination(with_left(&[NAME], 8)).is(Missing, Replaceable, Issue, "expires on");
    assert!(
        case()
            .at_destination(with_left(&[NAME], 10))
            .is(Missing, Foreign, Leave, "at risk")
            .needs_attention
    );
    let year = |left: i64| shown(&[NAME], Duration::days(left - 365), Duration::days(365));
    case().at_destination(year(20)).is(Missing, Foreign, Leave, "at risk");
    case().at_destination(year(13)).is(Missing, Replaceable, Issue, "expires on");
    // It covers something that ours would not: not taken over before it expires.
    case()
        .at_destination(with_left(&[NAME, "other.example.com"], 5))
        .is(Missing, Foreign, Leave, "");
    case().at_destination(with_left(&["*.example.com"], 5)).is(Missing, Foreign, Leave, "");
    let verdict = case().at_destination(with_left(&["b.example.com"], 80)).is(
        Missing,
        Foreign,
        Leave,
        "does not cover a.example.com",
    );
    assert!(!verdict.needs_attention);
}

#[test]
fn what_does_not_parse_at_destination_is_foreign() {
    let mut garbage = case().at_destination(fresh());
    garbage.remote.as_mut().unwrap().content =
        Err(crate::core::certificate::Flaw("it is not PEM".to_owned()));
    garbage.is(Missing, Foreign, Leave, "it is not PEM");
}

#[test]
fn staging_never_replaces_better() {
    let staged = || staging(&[NAME], -Duration::DAY, Duration::days(90));
    let production = due();
    let both =
        case().staging_wanted().on_disk(production.clone(), PRODUCTION).at_destination(production);
    assert!(both.is(Due, Same, Leave, "set STAGING=False").needs_attention);
    case().staging_wanted().at_destination(due()).marked(PRODUCTION).is(
        Missing,
        Replaceable,
        Leave,
        "STAGING=False",
    );
    let pushes =
        case().staging_wanted().on_disk(staged(), STAGING).at_destination(due()).marked(PRODUCTION);
    pushes.is(Fresh, Replaceable, Leave, "STAGING=False");
    // A production copy still goes up where the destination has nothing better.
    case().staging_wanted().on_disk(fresh(), PRODUCTION).is(Fresh, Replaceable, Push, "");
    case().staging_wanted().on_disk(due(), PRODUCTION).is(
        Due,
        Replaceable,
        Push,
        "production certificate in the store",
    );
    case().staging_wanted().on_disk(due(), PRODUCTION).at_destination(staged()).marked(STAGING).is(
        Due,
        Replaceable,
        Push,
        "production certificate in the store",
    );
    case()
        .staging_wanted()
        .on_disk(fresh(), PRODUCTION)
        .at_destination(staging(&[NAME], Duration::ZERO, Duration::days(90)))
        .marked(STAGING)
        .is(Fresh, Replaceable, Push, "a staging copy of ours");
    // Unless that one has expired.
    case()
        .staging_wanted()
        .on_disk(with_left(&[NAME], -1), PRODUCTION)
        .at_destination(staged())
        .marked(STAGING)
        .is(OnDisk::Overdue, Newer, Restore, "");
    // And comes back.
    case()
        .staging_wanted()
        .at_destination(fresh())
        .marked(PRODUCTION)
        .is(Missing, Newer, Restore, "");
    case().staging_wanted().is(Missing, Replaceable, Issue, "first certificate");
    let same = staged();
    case()
        .staging_wanted()
        .on_disk(same.clone(), STAGING)
        .at_destination(same)
        .is(Fresh, Same, Keep, "");
}
