use super::*;

fn announcement(uuid: &str, label: &str) -> Announcement {
    Announcement {
        uuid: uuid.to_owned(),
        service: format!("stack/{uuid}"),
        label: label.to_owned(),
    }
}

fn merge(domains: &str, labels: &[(&str, &str)], holders: &Holders) -> Wanted {
    let announcements: Vec<_> =
        labels.iter().map(|(uuid, label)| announcement(uuid, label)).collect();
    Wanted::merge(&parse_list(domains).0, &announcements, holders)
}

#[track_caller]
fn check(domains: &str, labels: &[(&str, &str)], entries: &[&str], notices: usize) {
    let wanted = merge(domains, labels, &Holders::new());
    let texts: Vec<String> = wanted.entries.iter().map(|entry| entry.names.to_string()).collect();
    assert_eq!(texts, entries);
    assert_eq!(wanted.notices.len(), notices, "{:?}", wanted.notices);
    let reversed: Vec<_> = labels.iter().rev().copied().collect();
    assert_eq!(
        merge(domains, &reversed, &Holders::new()),
        wanted,
        "order of lists must not matter"
    );
}

#[test]
fn a_label_without_end_is_read_so_far_and_told_once() {
    let entries = |label: &str| {
        let wanted = merge("", &[("1", label)], &Holders::new());
        (wanted.entries.len(), wanted.notices)
    };
    // As long as is read, to the byte, and one byte more.
    let name = "a.test.com";
    let whole = format!("{name}{}", " ".repeat(LONGEST_LABEL - name.len()));
    assert_eq!(entries(&whole), (1, BTreeSet::new()));
    let (read, notices) = entries(&format!("{whole},b.test.com, c.test.com"));
    assert_eq!((read, notices.len()), (1, 1), "{notices:?}");
    assert!(notices.iter().all(|notice| notice.contains("(2 entries)")), "{notices:?}");
    // No certificate is made of a part of an entry.
    let (read, notices) = entries(&format!("a.test.com,{} {whole}", "é".repeat(LONGEST_LABEL)));
    assert_eq!((read, notices.len()), (1, 1), "{notices:?}");
    assert_eq!(entries(&format!("{whole} b.test.com")).0, 0);

    let bad: Vec<String> = (0..10_000).map(|number| format!("{number}_")).collect();
    let (read, notices) = entries(&format!("a.test.com, {}", bad.join(", ")));
    assert_eq!((read, notices.len()), (1, MOST_BAD + 2), "{notices:?}");
}

#[test]
fn an_entry_of_more_names_than_a_certificate_has_is_refused_and_told_in_one_sentence() {
    let name = |number: usize| format!("n{number}.test.com");
    let many: Vec<String> = (0..=MOST_NAMES).map(name).collect();
    let (whole, fit) = (many.join(" "), many[1..].join(" "));
    let apart: Vec<String> = many.iter().map(|name| format!("b.test.com {name}")).collect();
    for (label, count) in [(&whole, 101), (&apart.join(","), 102)] {
        let label = format!("a.test.com, {label}");
        let wanted = merge("", &[("1", &label)], &Holders::new());
        assert_eq!(wanted.names(), merge("a.test.com", &[], &Holders::new()).names());
        let told: Vec<_> = wanted.notices.iter().collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(&format!("announces {count} names in one entry")), "{told:?}");
        assert!(told[0].len() < 400, "{told:?}");
    }
    assert_eq!(merge("", &[("1", &fit)], &Holders::new()).notices, BTreeSet::new());
    // In `DOMAINS` it stands, and is told when it would be ordered.
    assert_eq!(merge(&whole, &[], &Holders::new()).entries.len(), 1);
}

/// As many entries as are read of one label, each of which clashes.
#[test]
fn clashes_without_end_are_told_in_a_few_short_lines_and_soon() {
    let name = |number: usize| format!("n{number:03}.t.co");
    let taken: Vec<String> = (0..100).map(name).collect();
    let entries = (0..60).map(|number| [&taken[number..], &taken[..number]].concat().join(" "));
    let label = entries.collect::<Vec<_>>().join(",");
    assert!(label.len() < LONGEST_LABEL);
    let (first, second) = (taken.join(","), taken[..40].join(","));
    let begun = std::time::Instant::now();
    let labels = [("1", first.as_str()), ("2", &label), ("3", &second)];
    let wanted = merge("", &labels, &Holders::new());
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(wanted.entries.len(), 100);
    assert_eq!(wanted.notices.len(), MOST_BAD + 1, "{:?}", wanted.notices);
    assert!(wanted.notices.iter().all(|notice| notice.len() < 600), "{:?}", wanted.notices);
    assert!(wanted.notices.iter().any(|notice| notice.contains("40 more whose first name")));
}

#[test]
fn what_is_left_of_a_claim_joins_the_certificate_that_has_exactly_these_names() {
    let domains = "a.test.com, x.test.com z.test.com";
    let wanted = merge(domains, &[("1", "a.test.com x.test.com z.test.com")], &Holders::new());
    assert_eq!((wanted.entries.len(), wanted.notices.len()), (2, 1), "{:?}", wanted.notices);
    assert!(wanted.entries[1].origins.contains("stack/1"));
}

#[test]
fn entries_merge_as_the_design_says() {
    check("a.test.com, a.test.com b.test.com", &[], &["a.test.com b.test.com"], 0);
    check("a.test.com", &[("1", "a.test.com")], &["a.test.com"], 0);
    // Equal sets in DOMAINS: the first one names the certificate, also where sets become equal by merging.
    check(
        "b.test.com a.test.com, c.test.com, a.test.com b.test.com",
        &[],
        &["b.test.com a.test.com", "c.test.com"],
        0,
    );
    check(
        "a.test.com b.test.com, b.test.com, b.test.com a.test.com",
        &[("1", "b.test.com a.test.com")],
        &["a.test.com b.test.com"],
        0,
    );
    check(
        "",
        &[("1", "b.test.com,a.test.com"), ("2", "c.test.com")],
        &["a.test.com", "b.test.com", "c.test.com"],
        0,
    );
    // Equal sets are one certificate, whoever is asked first names it.
    check(
        "",
        &[("1", "a.test.com b.test.com"), ("2", "b.test.com a.test.com")],
        &["a.test.com b.test.com"],
        0,
    );
    // A label neither adds to DOMAINS nor takes from it.
    check(
        "a.test.com",
        &[("1", "a.test.com x.test.com y.test.com")],
        &["a.test.com", "x.test.com y.test.com"],
        1,
    );
    // The lowest uuid wins a primary name; the extra names of the other become their own.
    check(
        "",
        &[("2", "a.test.com x.test.com"), ("1", "a.test.com y.test.com")],
        &["a.test.com y.test.com", "x.test.com"],
        1,
    );
    // If the first of the extra names clashes too, the next one.
    check(
        "a.test.com, x.test.com",
        &[("1", "a.test.com x.test.com z.test.com")],
        &["a.test.com", "x.test.com", "z.test.com"],
        1,
    );
    check("a.test.com", &[("1", "a.test.com b_d c.test.com")], &["a.test.com", "c.test.com"], 2);
}

#[test]
fn a_holder_keeps_its_primary_name_against_a_lower_uuid() {
    let before = merge("", &[("5", "a.test.com")], &Holders::new());
    let labels = [("1", "a.test.com y.test.com"), ("5", "a.test.com")];
    let after = merge("", &labels, &before.holders);
    assert_eq!(after.holders.get(&"a.test.com".parse().unwrap()).unwrap().uuid, "5");
    let without_memory = merge("", &labels, &Holders::new());
    assert_eq!(without_memory.holders.get(&"a.test.com".parse().unwrap()).unwrap().uuid, "1");
}

#[test]
fn an_entry_of_domains_that_is_dropped_moves_no_other() {
    check(
        "a.test.com b.test.com, b.test.com a.test.com, c.test.com",
        &[("1", "c.test.com d.test.com"), ("2", "c.test.com")],
        &["a.test.com b.test.com", "c.test.com", "d.test.com"],
        1,
    );
}

#[test]
fn a_refused_name_is_told_with_its_service() {
    let wanted = merge("", &[("1", "*.test.com")], &Holders::new());
    assert!(
        wanted
            .notices
            .iter()
            .next()
            .unwrap()
            .starts_with("stack/1 announces `*.test.com`: a wildcard")
    );
}

/// Names that may clash, beside any text.
fn labels() -> impl proptest::strategy::Strategy<Value = BTreeMap<u8, String>> {
    let label = "([abc]\\.example\\.com[ ,]{0,2}){0,4}.{0,10}";
    proptest::collection::btree_map(0_u8..6, label, 0..6)
}

proptest::proptest! {
    #[test]
    fn any_labels_make_certificates_that_stay_when_read_again(domains in "([ab]\\.example\\.com[ ,]){0,3}.{0,10}", labels in labels()) {
        let (domains, _) = parse_list(&domains);
        let announcements: Vec<Announcement> = labels
            .iter()
            .map(|(uuid, label)| announcement(&uuid.to_string(), label))
            .collect();
        let wanted = Wanted::merge(&domains, &announcements, &Holders::new());
        let primaries: BTreeSet<_> = wanted.entries.iter().map(|entry| entry.names.primary()).collect();
        assert_eq!(primaries.len(), wanted.entries.len());
        let sets: BTreeSet<NameSet> = wanted.entries.iter().map(|entry| entry.names.set()).collect();
        assert_eq!(sets.len(), wanted.entries.len());
        let announced: Vec<_> = announcements.iter().rev().cloned().collect();
        let again = Wanted::merge(&domains, &announced, &wanted.holders);
        assert_eq!((&again.entries, &again.holders), (&wanted.entries, &wanted.holders));
        let kept = serde_json::to_string(&wanted.holders).unwrap();
        assert_eq!(serde_json::from_str::<Holders>(&kept).unwrap(), wanted.holders);
    }
}
