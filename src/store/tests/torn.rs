//! Files that were read whole and are not what they should be: told, set aside, never deleted.

use super::*;

const RECORD: &str = "rancher-lets-encrypt/certificates/a.example.com.json";

/// Cut within the first block: half of two certificates may be one of them, whole.
fn torn(content: &str) -> &str {
    &content[..content.len() / 3]
}

#[test]
fn a_torn_record_is_set_aside_and_made_again_from_the_certificates_beside_it() {
    let place = Place::new();
    let bundle = bundle("a.example.com b.example.com");
    let wanted = names("a.example.com b.example.com");
    place.store().publish(A, &wanted, &bundle, &origin()).unwrap();
    let record = place.read(RECORD);
    for (number, content) in ["", torn(&record), "[]", "\0\0\0"].iter().enumerate() {
        let before = place.names("rancher-lets-encrypt/certificates").len();
        place.write(RECORD, content);
        let store = place.store();
        let lineage = only(&store);
        assert_eq!(leaf(&lineage), bundle.leaf().fingerprint);
        let record = lineage.record.as_ref().unwrap();
        assert_eq!((&record.names, record.live), (&wanted, 1));
        let version = record.live_version().unwrap();
        assert_eq!(version.directory.as_deref(), Some(DIRECTORY));
        let broken = place.names("rancher-lets-encrypt/certificates");
        assert_eq!(broken.len(), before + 1, "{broken:?}");
        let suffix = match number {
            0 => String::new(),
            _ => format!("-{}", number + 1),
        };
        assert_eq!(&place.read(&format!("{RECORD}.broken{suffix}")), content);
        assert_eq!(store.free_name(&A.parse().unwrap()).unwrap(), "a.example.com-0001");
    }
}

#[test]
fn what_a_crash_left_of_an_order_goes_and_orders_stay() {
    let place = Place::new();
    let store = place.store();
    store.save_pending(A, &order(A)).unwrap();
    let pending = "rancher-lets-encrypt/pending";
    place.write(&format!("{pending}/.unwritten.json.tmp"), "{");
    place.write(&format!("{pending}/kept.json.broken"), "{");
    place.store().sweep_unfinished().unwrap();
    assert_eq!(place.names(pending), [format!("{A}.json"), "kept.json.broken".to_owned()]);
    assert!(matches!(only(&store).pending, Pending::Order(_)));
}

#[test]
fn a_torn_record_does_not_hide_the_order_beside_it() {
    let place = Place::new();
    let store = place.store();
    publish(&store, A, &bundle(A));
    store.save_pending(A, &order(A)).unwrap();
    let record = place.read(RECORD);
    place.write(RECORD, torn(&record));
    let lineage = only(&place.store());
    assert!(lineage.record.is_some() && matches!(lineage.pending, Pending::Order(_)));
    // With nothing left to make it from, the order is what remains.
    place.write(RECORD, torn(&record));
    fs::remove_dir_all(place.path("archive")).unwrap();
    fs::remove_dir_all(place.path("live")).unwrap();
    let lineage = only(&place.store());
    assert!(lineage.record.is_none() && matches!(lineage.copy, DiskCopy::Absent));
    assert!(matches!(lineage.pending, Pending::Order(_)));
}

#[test]
fn a_torn_record_that_cannot_be_set_aside_stops_only_itself() {
    let place = Place::new();
    for lineage in [A, "b.example.com"] {
        publish(&place.store(), lineage, &bundle(lineage));
    }
    place.write(RECORD, "{");
    let disk = Failing { frozen: Mutex::new(Some(place.path(""))), ..Failing::default() };
    let store = place.store_on(disk);
    let lineages = store.lineages(NOW).unwrap();
    let [a, b] = lineages.as_slice() else {
        panic!("{lineages:?}");
    };
    assert!(is_unknown(a), "{a:?}");
    leaf(b);
    *store.disk.frozen.lock().unwrap() = None;
    leaf(&store.lineages(NOW).unwrap()[0]);
}

#[test]
fn a_torn_certificate_or_key_is_broken_and_stays_where_it_is() {
    let place = Place::new();
    publish(&place.store(), A, &bundle(A));
    for file in ["fullchain", "privkey"] {
        let path = format!("archive/{A}/{file}1.pem");
        let whole = place.read(&path);
        let last_block = whole.rfind("-----BEGIN").unwrap();
        // Within the first block, within the last one, with its end line torn; and nothing at all.
        for length in [0, whole.len() / 4, last_block + 40, whole.len() - 10, whole.len() - 3] {
            place.write(&path, &whole[..length]);
            let lineage = only(&place.store());
            assert!(
                matches!(lineage.copy, DiskCopy::Broken(_)),
                "{file} {length}: {:?}",
                lineage.copy
            );
            assert_eq!(place.read(&path), &whole[..length]);
        }
        place.write(&path, &whole);
        leaf(&only(&place.store()));
    }
    // A key that is whole, and of another certificate.
    let path = format!("archive/{A}/privkey1.pem");
    place.write(&path, bundle(A).key_pem().reveal());
    assert!(matches!(only(&place.store()).copy, DiskCopy::Broken(_)));
}

#[test]
fn a_change_of_a_file_is_seen_by_a_store_that_has_read_it() {
    let place = Place::new();
    let store = place.store();
    publish(&store, A, &bundle(A));
    let path = format!("archive/{A}/fullchain1.pem");
    let whole = place.read(&path);
    let found = leaf(&only(&store));
    place.write(&path, torn(&whole));
    assert!(matches!(only(&store).copy, DiskCopy::Broken(_)));
    place.write(&path, &whole);
    assert_eq!(leaf(&only(&store)), found);
}

#[test]
fn what_is_known_of_a_version_holds_for_its_own_leaf_only() {
    let place = Place::new();
    publish(&place.store(), A, &bundle(A));
    let (chain, key) = pair(A);
    place.write(&format!("archive/{A}/fullchain1.pem"), chain);
    place.write(&format!("archive/{A}/privkey1.pem"), key);
    let lineage = only(&place.store());
    let DiskCopy::Whole(stored) = &lineage.copy else {
        panic!("{:?}", lineage.copy);
    };
    assert_eq!((&stored.directory, stored.stored_at), (&None, None));
}

#[test]
fn a_torn_order_is_set_aside() {
    let place = Place::new();
    let store = place.store();
    store.save_pending(A, &order(A)).unwrap();
    let path = format!("rancher-lets-encrypt/pending/{A}.json");
    let whole = place.read(&path);
    place.write(&path, torn(&whole));
    assert!(store.lineages(NOW).unwrap().is_empty());
    assert!(matches!(store.pending(A), Pending::None));
    assert_eq!(place.read(&format!("{path}.broken")), torn(&whole));
    store.save_pending(A, &order(A)).unwrap();
    store.clear_pending(A).unwrap();
    assert_eq!(place.read(&format!("{path}.broken")), torn(&whole));
}

#[test]
fn a_torn_line_of_an_order_leaves_the_one_before() {
    let place = Place::new();
    let path = format!("rancher-lets-encrypt/pending/{A}.json");
    let before = intended(A);
    let store = place.store();
    store.save_pending(A, &before).unwrap();
    store.save_pending(A, &order(A)).unwrap();
    let whole = place.read(&path);
    for length in whole.find('\n').unwrap()..whole.len() - 1 {
        place.write(&path, &whole[..length]);
        let Pending::Order(read) = place.store().pending(A) else {
            panic!("{length}");
        };
        assert_eq!(*read, before, "{length}");
    }
    // What comes behind a torn line is read all the same.
    let again = place.store();
    again.save_pending(A, &order(A)).unwrap();
    again.save_pending(A, &order(A)).unwrap();
    let Pending::Order(read) = again.pending(A) else {
        panic!("nothing is read");
    };
    assert_eq!(*read, order(A));
}

#[test]
fn a_torn_account_is_set_aside_and_the_others_are_read() {
    let place = Place::new();
    let store = place.store();
    let account = |directory: &str| AccountRecord {
        directory: directory.to_owned(),
        key: Secret::new("key"),
        url: None,
        lost: Vec::new(),
    };
    store.save_account(&account(DIRECTORY)).unwrap();
    store.save_account(&account("https://other.test/dir")).unwrap();
    let path = "rancher-lets-encrypt/accounts/ca.test_directory.json";
    let whole = place.read(path);
    place.write(path, torn(&whole));
    assert_eq!(store.accounts().unwrap(), [account("https://other.test/dir")]);
    assert_eq!(store.account(DIRECTORY).unwrap(), None);
    assert_eq!(place.read(&format!("{path}.broken")), torn(&whole));
}

#[test]
fn torn_names_are_set_aside() {
    let place = Place::new();
    place.write("rancher-lets-encrypt/names.json", r#"{"announcements": ["#);
    assert_eq!(place.store().labels().unwrap(), None);
    assert_eq!(place.read("rancher-lets-encrypt/names.json.broken"), r#"{"announcements": ["#);
    let record = LabelsRecord::default();
    place.store().save_labels(&record).unwrap();
    assert_eq!(place.store().labels().unwrap(), Some(record));
}
