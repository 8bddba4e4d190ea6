use time::Duration;

use super::*;
use crate::core::bundle::Secret;
use crate::core::certificate::CertificateChain;
use crate::core::certificate::Flaw;
use crate::core::certificate::tests::NOW;
use crate::core::certificate::tests::shown;
use crate::core::certificate::tests::staging;
use crate::core::held::Ownership;
use crate::decide::classify::ReplaceForeign;
use crate::decide::classify::Stored;
use crate::decide::order::Pending;
use crate::decide::order::PendingOrder;
use crate::store::record::Record;
use crate::store::record::Source;
use crate::store::record::Version;

const PRODUCTION: &str = "https://ca.test/directory";
const STAGING: &str = "https://staging.ca.test/directory";

fn policy() -> Policy {
    Policy {
        place: "Rancher",
        is_staging: false,
        production_directory: PRODUCTION.to_owned(),
        staging_directory: STAGING.to_owned(),
        renew_before: None,
        replace_foreign: ReplaceForeign::Due,
    }
}

/// `a b` stands for `a.test.com b.test.com`.
fn full(text: &str) -> Vec<String> {
    text.split(' ').map(|name| format!("{name}.test.com")).collect()
}

fn parsed(text: &str) -> Names {
    Names::new(full(text).iter().map(|name| name.parse().unwrap())).unwrap()
}

fn entries(texts: &[&str]) -> Vec<Entry> {
    let entry = |text: &&str| Entry { names: parsed(text), origins: BTreeSet::new() };
    texts.iter().map(entry).collect()
}

fn certificate(names: &str, left: i64) -> CertificateChain {
    let names = full(names);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    shown(&names, Duration::days(left - 90), Duration::days(90))
}

fn whole(shown: CertificateChain, directory: &str) -> DiskCopy {
    DiskCopy::Whole(Stored { shown, directory: Some(directory.to_owned()), stored_at: None })
}

/// A lineage in the folder `name` of `test.com`.
fn lineage(name: &str, names: &str, copy: DiskCopy) -> Arc<Lineage> {
    let leaf = copy.whole().map(|stored| stored.shown.leaf.fingerprint);
    let version = Version {
        number: 1,
        leaf,
        directory: None,
        source: Source::Issued,
        stored_at: NOW,
        valid: None,
    };
    Arc::new(Lineage {
        name: folder(name),
        record: Some(Record {
            names: parsed(names),
            live: 1,
            versions: vec![version],
            is_told_gone: false,
        }),
        copy,
        pending: Pending::None,
        aside: Vec::new(),
    })
}

/// `a-0001` stands for `a.test.com-0001`.
fn folder(name: &str) -> String {
    match name.split_once('-') {
        Some((name, number)) => format!("{name}.test.com-{number}"),
        None => format!("{name}.test.com"),
    }
}

fn fresh(name: &str, names: &str) -> Arc<Lineage> {
    lineage(name, names, whole(certificate(names, 80), PRODUCTION))
}

fn unreadable(name: &str) -> Arc<Lineage> {
    Arc::new(Lineage {
        name: folder(name),
        record: None,
        copy: DiskCopy::Unknown("input/output error".to_owned().into()),
        pending: Pending::None,
        aside: Vec::new(),
    })
}

fn in_flight(name: &str, names: &str) -> Arc<Lineage> {
    let (account, key) = (String::new(), Secret::new(""));
    let directory = PRODUCTION.to_owned();
    let order = PendingOrder::intend(parsed(names), directory, account, key, false, NOW);
    Arc::new(Lineage {
        name: folder(name),
        record: None,
        copy: DiskCopy::Absent,
        pending: Pending::Order(Box::new(order)),
        aside: Vec::new(),
    })
}

/// A certificate at the destination with this number; an empty list of names stands for one that does not parse.
fn held(number: u64, name: &str, names: &str) -> Held {
    let content = if names.is_empty() {
        Err(Flaw("it is not PEM".to_owned()))
    } else {
        Ok(certificate(names, 80))
    };
    Held {
        id: format!("1c{number}").into(),
        name: format!("{name}.test.com"),
        occupies: format!("{name}.test.com"),
        owner: None,
        is_changing: false,
        content,
        note: String::new(),
    }
}

/// What each entry is given in the store, and what is left; `-` is nothing.
#[track_caller]
fn check_store(wanted: &[&str], lineages: &[Arc<Lineage>], expected: &[&str], left: &[&str]) {
    // The order of files in a folder decides nothing.
    for is_reversed in [false, true] {
        let mut lineages = lineages.to_vec();
        if is_reversed {
            lineages.reverse();
        }
        let assignment = assign(&entries(wanted), &lineages, &[], &policy(), NOW);
        let short = |lineage: &Arc<Lineage>| lineage.name.replace(".test.com", "");
        let found: Vec<String> = assignment
            .entries
            .iter()
            .map(|assigned| assigned.lineage.as_ref().map_or_else(|| "-".to_owned(), short))
            .collect();
        assert_eq!(found, expected);
        let mut rest: Vec<String> = assignment.left.iter().map(short).collect();
        rest.sort();
        assert_eq!(rest, left, "left");
    }
}

fn number(held: &Held) -> u64 {
    held.id.as_str()[2..].parse().unwrap()
}

/// Which number each entry is given at the destination; 0 is none.
#[track_caller]
fn check_destination(wanted: &[&str], held: &[Held], expected: &[u64]) {
    let assignment = assign(&entries(wanted), &[], held, &policy(), NOW);
    let found = assignment.entries.iter();
    let found: Vec<u64> =
        found.map(|assigned| assigned.remote.as_ref().map_or(0, number)).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_lineage_is_found_by_names_and_primary_then_by_names_then_by_primary() {
    check_store(&["a"], &[], &["-"], &[]);
    check_store(&["a"], &[fresh("a", "a")], &["a"], &[]);
    check_store(&["a", "b"], &[fresh("b", "b"), fresh("a", "a")], &["a", "b"], &[]);
    // Another order of names, whatever the folder is called.
    check_store(&["b a"], &[fresh("a", "a b")], &["a"], &[]);
    check_store(&["a b"], &[fresh("a-0001", "a b")], &["a-0001"], &[]);
    // Names were added, or taken away.
    check_store(&["a b"], &[fresh("a", "a")], &["a"], &[]);
    check_store(&["a"], &[fresh("a", "a b")], &["a"], &[]);
    // Equal names count more than the primary name.
    check_store(&["a b"], &[fresh("a", "a"), fresh("b", "b a")], &["b"], &["a"]);
    check_store(&["a b"], &[fresh("b", "b a"), fresh("a", "a b")], &["a"], &["b"]);
    // Parted: the first name keeps it. Joined: the primary name decides.
    check_store(&["a", "b"], &[fresh("a", "a b")], &["a", "-"], &[]);
    check_store(&["a b"], &[fresh("a", "a"), fresh("b", "b")], &["a"], &["b"]);
    // The primary name is gone.
    check_store(&["b"], &[fresh("a", "a b")], &["-"], &["a"]);
    check_store(&["c"], &[fresh("a", "a"), fresh("b", "b")], &["-"], &["a", "b"]);
}

#[test]
fn no_lineage_belongs_to_two_entries() {
    // Who wants exactly these names goes first, wherever it stands in the list.
    let both = [fresh("a", "a b"), fresh("b", "b c")];
    check_store(&["a", "b a"], &both, &["-", "a"], &["b"]);
    check_store(&["a c", "b a"], &both, &["-", "a"], &["b"]);
    check_store(&["a x", "b y"], &both, &["a", "b"], &[]);
    let three = [fresh("a", "a"), fresh("a-0001", "a b"), fresh("c", "c")];
    check_store(&["a b", "c"], &three, &["a-0001", "c"], &["a"]);
}

#[test]
fn of_several_lineages_the_better_one_is_taken() {
    let lasting =
        |name: &str, left: i64| lineage(name, "a", whole(certificate("a", left), PRODUCTION));
    check_store(&["a"], &[lasting("a", 20), lasting("a-0001", 80)], &["a-0001"], &["a"]);
    check_store(&["a"], &[lasting("a", 80), lasting("a-0001", 20)], &["a"], &["a-0001"]);
    let broken = || lineage("a", "a", DiskCopy::Broken("torn".to_owned()));
    check_store(&["a"], &[broken(), lasting("a-0001", -5)], &["a-0001"], &["a"]);
    let absent = lineage("a-0001", "a", DiskCopy::Absent);
    check_store(&["a"], &[broken(), absent], &["a"], &["a-0001"]);
    // Nothing is issued in the place of what cannot be read.
    let unknown = lineage("a", "a", DiskCopy::Unknown("i/o".to_owned().into()));
    check_store(&["a"], &[unknown, lasting("a-0001", 80)], &["a"], &["a-0001"]);
}

#[test]
fn a_valid_production_lineage_counts_more_than_a_staging_one_that_lasts_longer() {
    let name = ["a.test.com"];
    let marked = || staging(&name, Duration::ZERO, Duration::days(90));
    let recorded = || lineage("a", "a", whole(certificate("a", 85), STAGING));
    let good = |left| lineage("a-0001", "a", whole(certificate("a", left), PRODUCTION));
    let theirs = lineage("a", "a", whole(marked(), "https://old.test/directory"));
    check_store(&["a"], &[theirs, good(40)], &["a-0001"], &["a"]);
    check_store(&["a"], &[recorded(), good(40)], &["a-0001"], &["a"]);
    // Not so when it has expired.
    check_store(&["a"], &[recorded(), good(-1)], &["a"], &["a-0001"]);
}

#[test]
fn a_lineage_without_a_record_is_known_by_its_folder_or_its_order() {
    check_store(&["a"], &[unreadable("a")], &["a"], &[]);
    check_store(&["a b"], &[unreadable("a-0001")], &["a-0001"], &[]);
    check_store(&["b"], &[unreadable("a")], &["-"], &["a"]);
    // What can be read and has the very names comes first; the unreadable one stays beside it.
    check_store(&["a"], &[unreadable("a"), fresh("a-0001", "a")], &["a-0001"], &["a"]);
    check_store(&["a"], &[in_flight("a", "a")], &["a"], &[]);
    check_store(&["b a"], &[in_flight("a", "a b")], &["a"], &[]);
    check_store(&["a c"], &[in_flight("a", "a b")], &["a"], &[]);
    check_store(&["a b"], &[in_flight("a", "a b"), fresh("a-0001", "a")], &["a"], &["a-0001"]);
}

#[test]
fn folders_are_told_by_certbots_numbers() {
    for (name, primary, expected) in [
        ("a.test.com", "a.test.com", true),
        ("a.test.com-0001", "a.test.com", true),
        ("a.test.com-0001", "a.test.com-0001", true),
        ("a.test.com-1", "a.test.com", false),
        ("a.test.com-00001", "a.test.com", false),
        ("a.test.com-abcd", "a.test.com", false),
        ("b.test.com", "a.test.com", false),
        ("a-b.test.com", "a", false),
    ] {
        assert_eq!(is_named_after(name, primary), expected, "{name} {primary}");
    }
}

#[test]
fn a_certificate_at_destination_is_found_by_name_then_by_names() {
    check_destination(&["a"], &[], &[0]);
    check_destination(&["a"], &[held(5, "a", "a")], &[5]);
    check_destination(&["a", "b"], &[held(5, "b", "b"), held(6, "a", "a")], &[6, 5]);
    // The name counts, whatever it covers.
    check_destination(&["a"], &[held(5, "a", "x y"), held(6, "shop", "a")], &[5]);
    check_destination(&["a"], &[held(5, "a", "")], &[5]);
    // Else an equal set of names in any order; neither more nor fewer.
    check_destination(&["b a"], &[held(5, "shop", "a b")], &[5]);
    check_destination(&["a"], &[held(5, "shop", "a b")], &[0]);
    check_destination(&["a b"], &[held(5, "shop", "a")], &[0]);
    check_destination(&["a"], &[held(5, "shop", "")], &[0]);
    check_destination(&["a"], &[held(5, "shop", "*")], &[0]);
}

#[test]
fn of_several_certificates_the_first_in_the_destinations_order_is_taken() {
    check_destination(&["a"], &[held(10, "a", "a"), held(9, "a", "a"), held(95, "a", "a")], &[10]);
    check_destination(&["a"], &[held(10, "x", "a"), held(9, "y", "a")], &[10]);
}

#[test]
fn a_name_is_found_as_the_destination_compares_names_but_best_as_it_is_written() {
    let written = |number, name: &str| Held {
        name: name.to_owned(),
        occupies: name.to_ascii_lowercase(),
        ..held(number, "a", "x")
    };
    check_destination(&["a"], &[written(5, "A.Test.com")], &[5]);
    check_destination(&["a"], &[written(5, "A.Test.com"), written(6, "a.test.com")], &[6]);
    check_destination(&["a"], &[written(6, "A.Test.com"), written(5, "a.TEST.com")], &[6]);
    // Where case is known, another case is another name.
    let occupies = "A.Test.com".to_owned();
    check_destination(&["a"], &[Held { occupies, ..written(5, "A.Test.com") }], &[0]);
}

#[test]
fn no_certificate_at_destination_belongs_to_two_entries() {
    // The one with the name of another entry is that entry's, although the names are equal.
    check_destination(&["a", "b a"], &[held(5, "b", "a")], &[0, 5]);
    check_destination(&["a b", "b"], &[held(5, "b", "a b"), held(6, "x", "a b")], &[6, 5]);
    check_destination(&["a", "b"], &[held(5, "a", "b")], &[5, 0]);
}

#[test]
fn the_certificate_of_a_lineage_that_nobody_wants_is_one_of_its_own() {
    let copy = certificate("a", 80);
    let lineage = lineage("a", "a", whole(copy.clone(), PRODUCTION));
    let named = |number, name: &str, shown: &CertificateChain| Held {
        content: Ok(shown.clone()),
        ..held(number, name, "a")
    };
    let other = certificate("a", 80);
    let known = Known::from([(copy.leaf.fingerprint, None)]);
    let nothing = BTreeSet::new();
    let found =
        |held: &[Held]| of_lineage(&lineage, &Index::new(held), &known, &nothing).map(number);
    assert_eq!(found(&[]), None);
    assert_eq!(found(&[named(7, "a", &copy), named(6, "shop", &copy)]), Some(7));
    // What was bought and put in its place is not renewed.
    assert_eq!(found(&[named(7, "a", &other)]), None);
    assert_eq!(found(&[named(5, "a", &other), named(6, "a", &copy)]), Some(6));
    // Known by its mark: a lost record, an older volume.
    let mark = |shown: &CertificateChain| {
        let directory = PRODUCTION.to_owned();
        Some(Ownership { leaf: shown.leaf.fingerprint, directory })
    };
    let marked =
        |name: &str, of: &CertificateChain| Held { owner: mark(of), ..named(7, name, &other) };
    assert_eq!(found(&[marked("a", &other)]), Some(7));
    assert_eq!(found(&[marked("a", &copy)]), None);
    assert_eq!(found(&[marked("shop", &other)]), None);
    // It belongs to a certificate that is wanted.
    let taken = BTreeSet::from(["1c6".into()]);
    let left = [named(6, "a", &copy)];
    assert_eq!(of_lineage(&lineage, &Index::new(&left), &known, &taken).map(number), None);
    assert_eq!(found(&[named(7, "shop", &copy), named(6, "x", &copy)]), Some(7));
    assert_eq!(found(&[named(7, "shop", &other)]), None);
    assert_eq!(
        of_lineage(&unreadable("a"), &Index::new(&[named(7, "a", &copy)]), &known, &nothing)
            .map(number),
        None
    );
}
