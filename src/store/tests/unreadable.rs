//! "I could not tell" is never "it is not there".

use super::*;

#[test]
fn what_cannot_be_read_is_unknown_until_it_can_be_read_again() {
    for path in [
        "rancher-lets-encrypt/certificates/a.example.com.json",
        "archive/a.example.com/fullchain1.pem",
        "archive/a.example.com/privkey1.pem",
    ] {
        let place = Place::new();
        let store = place.store();
        publish(&store, A, &bundle(A));
        publish(&store, "b.example.com", &bundle("b.example.com"));
        let unblock = place.block(path);
        for store in [&store, &place.store()] {
            let lineages = store.lineages(NOW).unwrap();
            let [a, b] = lineages.as_slice() else {
                panic!("{path}: {lineages:?}");
            };
            assert!(is_unknown(a), "{path}: {a:?}");
            leaf(b);
        }
        unblock();
        leaf(&store.lineages(NOW).unwrap()[0]);
    }
}

#[test]
fn a_disk_that_does_not_answer_for_a_moment_is_asked_again() {
    let place = Place::new();
    let store = place.store();
    publish(&store, A, &bundle(A));
    for path in [
        "rancher-lets-encrypt/certificates/a.example.com.json",
        "archive/a.example.com/fullchain1.pem",
        "archive/a.example.com/privkey1.pem",
    ] {
        let store = place.store();
        *store.disk.unreadable.lock().unwrap() = Some(place.path(path));
        let lineage = only(&store);
        assert!(
            matches!(&lineage.copy, DiskCopy::Unknown(unread) if unread.why.contains(path)),
            "{lineage:?}"
        );
        *store.disk.unreadable.lock().unwrap() = None;
        leaf(&only(&store));
    }
    for folder in ["certificates", "pending"] {
        let store = place.store();
        let folder = place.path(&format!("rancher-lets-encrypt/{folder}"));
        *store.disk.unreadable.lock().unwrap() = Some(folder);
        assert!(store.lineages(NOW).is_err());
    }
}

#[test]
fn one_missing_file_is_lost_and_a_lineage_that_is_gone_is_absent() {
    for file in ["fullchain1.pem", "privkey1.pem"] {
        let place = Place::new();
        let store = place.store();
        publish(&store, A, &bundle(A));
        fs::remove_file(place.path(&format!("archive/{A}/{file}"))).unwrap();
        let is_lost = |lineage: &Lineage| matches!(lineage.copy, DiskCopy::Lost(_));
        assert!(is_lost(&only(&store)));
        // Nothing is repaired by guessing.
        store.repair_live(NOW).unwrap();
        assert_eq!(place.shown(A), 1);
        assert!(is_lost(&only(&place.store())));
        fs::remove_dir_all(place.path(&format!("archive/{A}"))).unwrap();
        assert!(is_unknown(&only(&store)));
        // As `certbot delete` does.
        fs::remove_dir_all(place.path(&format!("live/{A}"))).unwrap();
        fs::remove_file(place.path(&format!("renewal/{A}.conf"))).unwrap();
        let lineage = only(&store);
        assert!(matches!(lineage.copy, DiskCopy::Absent), "{lineage:?}");
        store.repair_live(NOW).unwrap();
        assert!(!place.path(&format!("live/{A}")).exists());
        assert!(!place.path(&format!("renewal/{A}.conf")).exists());
        let record = publish(&store, A, &bundle(A));
        assert_eq!((record.live, place.shown(A)), (2, 2));
        leaf(&only(&store));
    }
}

#[test]
fn an_order_that_cannot_be_read_stands_in_the_way_of_another() {
    let place = Place::new();
    let store = place.store();
    store.save_pending(A, &order(A)).unwrap();
    let unblock = place.block(&format!("rancher-lets-encrypt/pending/{A}.json"));
    assert!(matches!(only(&store).pending, Pending::Unreadable(_)));
    unblock();
    assert!(matches!(only(&store).pending, Pending::Order(_)));
}

#[test]
fn accounts_names_and_the_ledger_are_errors_while_they_cannot_be_read() {
    let place = Place::new();
    let store = place.store();
    let account = AccountRecord {
        directory: DIRECTORY.to_owned(),
        key: Secret::new("key"),
        url: None,
        lost: Vec::new(),
    };
    store.save_account(&account).unwrap();
    store.save_labels(&LabelsRecord::default()).unwrap();
    let line = finalizing(&mut Ledger::default(), &names(A).set(), NOW);
    store.append_ledger(&line).unwrap();
    let unblock = [
        "rancher-lets-encrypt/accounts/ca.test_directory.json",
        "rancher-lets-encrypt/names.json",
        "rancher-lets-encrypt/ledger.jsonl",
    ]
    .map(|path| {
        let (away, path) = (place.path(&format!("{path}.away")), place.path(path));
        fs::rename(&path, &away).unwrap();
        fs::create_dir(&path).unwrap();
        (path, away)
    });
    let said = store.account(DIRECTORY).unwrap_err().to_string();
    assert!(said.contains("accounts/ca.test_directory.json"), "{said}");
    assert!(store.accounts().is_err() && store.labels().is_err());
    assert!(store.read_ledger(NOW).is_err() && store.append_ledger(&line).is_err());
    for (path, away) in unblock {
        fs::remove_dir(&path).unwrap();
        fs::rename(away, path).unwrap();
    }
    assert_eq!(store.account(DIRECTORY).unwrap(), Some(account));
    let ledger = store.read_ledger(NOW).unwrap();
    assert!(ledger.floor(DIRECTORY, &names(A).set(), NOW).is_some());
}

#[test]
fn an_error_says_what_was_done_to_which_file_and_what_helps() {
    let place = Place::new();
    let disk = Failing { frozen: Mutex::new(Some(place.path(""))), ..Failing::default() };
    let said = place.store_on(disk).save_labels(&LabelsRecord::default()).unwrap_err().to_string();
    let path = place.path("rancher-lets-encrypt/names.json");
    assert!(said.starts_with(&format!("cannot write {}: ", path.display())), "{said}");
    assert!(said.ends_with(": mount the volume of the store writable"), "{said}");
}
