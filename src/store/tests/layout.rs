//! Where what lies, and who may read it.

use super::*;
use crate::store::request::RenewalRequest;

#[test]
fn a_published_version_lies_where_certbot_would_look_for_it() {
    let place = Place::new();
    let bundle = bundle("a.example.com b.example.com");
    let wanted = names("a.example.com b.example.com");
    place.store().publish(A, &wanted, &bundle, &origin()).unwrap();
    assert_eq!(place.shown(A), 1);
    let file = |file: &str| place.read(&format!("live/{A}/{file}.pem"));
    assert_eq!(file("fullchain"), file("cert") + &file("chain"));
    assert_eq!(file("cert"), bundle.certificate_pem());
    assert_eq!(file("cert").matches("BEGIN CERTIFICATE").count(), 1);
    assert_eq!(file("chain").matches("BEGIN CERTIFICATE").count(), 1);
    assert!(file("privkey").starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert_eq!(file("privkey").matches("-----BEGIN").count(), 1);
    let conf = place.read(&format!("renewal/{A}.conf"));
    let root = place.root();
    let root = root.display();
    for line in [
        &format!("archive_dir = {root}/archive/{A}"),
        &format!("fullchain = {root}/live/{A}/fullchain.pem"),
        &format!("privkey = {root}/live/{A}/privkey.pem"),
        "autorenew = False",
        "authenticator = webroot",
        "webroot_path = /var/www,",
        "server = https://ca.test/directory",
        "b.example.com = /var/www",
    ] {
        assert!(conf.lines().any(|own| own == line), "{line}\n{conf}");
    }
}

#[test]
fn nobody_else_may_read_anything() {
    let place = Place::new();
    let store = place.store();
    publish(&store, A, &bundle(A));
    store.save_pending(A, &order(A)).unwrap();
    store
        .save_account(&AccountRecord {
            directory: DIRECTORY.to_owned(),
            key: Secret::new("key"),
            url: None,
            lost: Vec::new(),
        })
        .unwrap();
    store.save_labels(&LabelsRecord::default()).unwrap();
    store.owe_wake(&WakeOwed { since: NOW }).unwrap();
    let line = finalizing(&mut Ledger::default(), &names(A).set(), NOW);
    store.append_ledger(&line).unwrap();
    let mut folders = vec![place.path("")];
    let (mut seen, root) = (0, place.path(""));
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_symlink() {
                continue;
            }
            let wanted = if kind.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode(&path), wanted, "{}", path.display());
            if kind.is_dir() {
                folders.push(path);
            } else {
                seen += 1;
                assert!(!path.to_str().unwrap().ends_with(".tmp"), "{path:?}");
            }
        }
    }
    assert_eq!(seen, 11, "files below {}", root.display());
}

#[test]
fn the_last_ten_versions_are_kept() {
    let place = Place::new();
    let store = place.store();
    let bundle = bundle(A);
    for _ in 1..=12 {
        publish(&store, A, &bundle);
    }
    let record = store.record(A).unwrap().unwrap();
    let numbers: Vec<u32> = record.versions.iter().map(|version| version.number).collect();
    assert_eq!(numbers, (3..=12).collect::<Vec<_>>());
    let mut wanted: Vec<String> =
        numbers.iter().flat_map(|number| FILES.map(|file| format!("{file}{number}.pem"))).collect();
    wanted.sort_unstable();
    assert_eq!(place.names(&format!("archive/{A}")), wanted);
    assert_eq!((record.live, place.shown(A)), (12, 12));
    leaf(&only(&store));
}

#[test]
fn a_renewal_file_is_written_once() {
    let place = Place::new();
    let store = place.store();
    publish(&store, A, &bundle(A));
    let conf = format!("renewal/{A}.conf");
    let edited = place.read(&conf).replace("autorenew = False\n", "deploy_hook = true\n");
    place.write(&conf, &edited);
    publish(&store, A, &bundle(A));
    store.repair_live(NOW).unwrap();
    assert_eq!(place.read(&conf), edited);
}

#[test]
fn a_folder_taken_by_something_else_is_left_and_the_next_number_used() {
    for taken in [
        "live/a.example.com/x.pem",
        "archive/a.example.com/x.pem",
        "renewal/a.example.com.conf",
        "rancher-lets-encrypt/certificates/a.example.com.json",
        "rancher-lets-encrypt/pending/a.example.com.json",
    ] {
        let place = Place::new();
        let store = place.store();
        let primary = A.parse().unwrap();
        assert_eq!(store.free_name(&primary).unwrap(), A);
        place.write(taken, "theirs");
        assert_eq!(store.free_name(&primary).unwrap(), "a.example.com-0001");
        publish(&store, "a.example.com-0001", &bundle(A));
        assert_eq!(store.free_name(&primary).unwrap(), "a.example.com-0002");
        assert_eq!(place.read(taken), "theirs");
    }
}

#[test]
fn what_a_crash_left_of_the_same_bundle_takes_no_name() {
    let place = Place::new();
    let store = place.store();
    let primary = A.parse().unwrap();
    let (own, other) = (bundle(A), bundle(A));
    place.write(&format!("archive/{A}/cert1.pem"), own.certificate_pem());
    place.write(&format!("archive/{A}/chain1.pem"), own.chain_pem());
    place.write(&format!("archive/{A}/.privkey1.pem.tmp"), "half");
    assert_eq!(store.free_name_for(&primary, &own).unwrap(), A);
    let next = "a.example.com-0001";
    assert_eq!(store.free_name_for(&primary, &other).unwrap(), next);
    let records = "rancher-lets-encrypt";
    for file in ["wake-owed", "ledger.jsonl", "names.json"] {
        place.write(&format!("{records}/.{file}.tmp"), "half");
    }
    store.sweep_unfinished().unwrap();
    assert!(
        !place.names(records).iter().any(|name| name.ends_with(".tmp")),
        "{:?}",
        place.names(records)
    );
    publish(&store, A, &own);
    assert_eq!(store.free_name_for(&primary, &own).unwrap(), next);
    assert!(!place.names(&format!("archive/{A}")).contains(&".privkey1.pem.tmp".to_owned()));
}

#[test]
fn what_lies_beside_an_order_that_is_gone_takes_no_name() {
    let place = Place::new();
    place.write(&format!("rancher-lets-encrypt/pending/{A}.json.broken"), "{");
    let free = place.store().free_name(&A.parse().unwrap());
    assert_eq!(free.unwrap(), A);
}

#[test]
fn an_order_is_kept_until_it_is_cleared() {
    let place = Place::new();
    let store = place.store();
    assert!(matches!(store.pending(A), Pending::None));
    store.save_pending(A, &order(A)).unwrap();
    let lineage = only(&place.store());
    assert!(lineage.record.is_none() && matches!(lineage.copy, DiskCopy::Absent));
    assert!(matches!(&lineage.pending, Pending::Order(kept) if **kept == order(A)));
    store.clear_pending(A).unwrap();
    store.clear_pending(A).unwrap();
    assert!(store.lineages(NOW).unwrap().is_empty());
    assert_eq!(place.names("rancher-lets-encrypt/pending"), [""; 0] as [&str; 0]);
}

#[test]
fn each_directory_has_an_account_file_of_its_own() {
    let place = Place::new();
    let store = place.store();
    for directory in [
        "https://acme-v02.api.letsencrypt.org/directory",
        "https://acme-staging-v02.api.letsencrypt.org/directory",
        "https://127.0.0.1:14000/dir",
    ] {
        assert!(store.account(directory).unwrap().is_none());
        let record = AccountRecord {
            directory: directory.to_owned(),
            key: Secret::new(directory),
            url: None,
            lost: Vec::new(),
        };
        store.save_account(&record).unwrap();
        assert_eq!(place.store().account(directory).unwrap().as_ref(), Some(&record));
    }
    assert_eq!(
        place.names("rancher-lets-encrypt/accounts"),
        [
            "127.0.0.1_14000_dir.json",
            "acme-staging-v02.api.letsencrypt.org_directory.json",
            "acme-v02.api.letsencrypt.org_directory.json",
        ]
    );
    assert_eq!(store.accounts().unwrap().len(), 3);
}

/// A domain name may be as long as 253 characters, and a file's name is 255 bytes at most.
#[test]
fn the_longest_domain_names_have_folders_too() {
    for length in [230, 231, 245, 246, 253] {
        let place = Place::new();
        let store = place.store();
        let label = "x".repeat(50);
        let end = format!("{label}.{label}.{label}.example.com");
        let primary = format!("{}.{}.{end}", "y".repeat(40), "z".repeat(length - 42 - end.len()));
        let primary = &primary[..];
        assert_eq!(primary.len(), length);
        let names = names(primary);
        for number in 1..=2 {
            let bundle = bundle(primary);
            let lineage = match store.lineages(NOW).unwrap().first() {
                Some(lineage) => lineage.name.clone(),
                None => store.free_name_for(names.primary(), &bundle).unwrap(),
            };
            assert_eq!(lineage == primary, length <= 230, "{lineage}");
            store.save_pending(&lineage, &order(primary)).unwrap();
            store.publish(&lineage, &names, &bundle, &origin()).unwrap();
            store.clear_pending(&lineage).unwrap();
            let found = only(&store);
            assert_eq!(leaf(&found), bundle.leaf().fingerprint);
            assert_eq!(found.record.as_ref().unwrap().names, names);
            assert_eq!(place.shown(&lineage), number);
            assert!(place.path(&format!("renewal/{lineage}.conf")).exists());
        }
        let request =
            RenewalRequest { certificate: names.primary().clone(), asked_at: NOW, taken_at: None };
        store.ask_renewal(&request).unwrap();
        assert_eq!(store.renewal_requests().unwrap(), [request]);
        // A record that is broken can still be put beside the way, and made again.
        let lineage = only(&store).name.clone();
        place.write(&format!("rancher-lets-encrypt/certificates/{lineage}.json"), "{");
        assert_eq!(only(&store).record.as_ref().unwrap().live, 2);
        // What is not ours is left alone by such a name as well.
        fs::remove_file(place.path(&format!("rancher-lets-encrypt/certificates/{lineage}.json")))
            .unwrap();
        let other = store.free_name(names.primary()).unwrap();
        assert_eq!(other, format!("{lineage}-0001"));
        store.publish(&other, &names, &bundle(primary), &origin()).unwrap();
    }
}
