//! Whatever is found in the store, nothing outside of it is written, read as ours, or removed.

use std::collections::BTreeMap;

use proptest::prelude::any;
use proptest::prop_oneof;
use proptest::proptest;
use proptest::strategy::Strategy;

use super::*;
use crate::store::tests::parsers::fewer;

/// Names of files that somebody may have made; a file system has no others.
fn file_names() -> impl Strategy<Value = String> {
    let odd = [
        "...",
        "-",
        "--",
        "-rf",
        ".hidden",
        "a b",
        "\u{202e}",
        "a\n",
        "..a",
        "a.example.com-0001",
        "a.example.com.conf",
        "*",
        "live",
        "$(x)",
        "a.example.com.json.broken",
        "\\",
        ":",
        "con",
    ];
    prop_oneof![
        proptest::sample::select(odd.to_vec()).prop_map(str::to_owned),
        "[a-z]{1,8}\\.example\\.com(-[0-9]{1,5})?",
        "[^/\u{0}]{1,60}",
        (200_usize..=250).prop_map(|length| "n".repeat(length)),
    ]
    .prop_filter("names of the file system itself", |name| {
        name != "." && name != ".." && name.len() <= 250
    })
}

/// Where links may lead.
fn targets() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "../../../outside/key.pem",
            "../../archive/a.example.com/../../../outside/key.pem",
            "/etc/passwd",
            "../../archive/a.example.com/privkey1.pem",
            "cert.pem",
            ".",
            "../../../outside",
        ])
        .prop_map(str::to_owned),
        "[^\u{0}]{1,40}",
    ]
}

/// A folder beside the store, and what is in it.
struct Outside(PathBuf);

impl Outside {
    fn of(place: &Place) -> Self {
        let folder = place.path("../outside");
        fs::create_dir_all(&folder).unwrap();
        let (chain, key) = crate::core::certificate::tests::genuine();
        fs::write(folder.join("key.pem"), key).unwrap();
        fs::write(folder.join("fullchain.pem"), chain).unwrap();
        Self(folder)
    }

    fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap());
        entries
            .map(|entry| {
                (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
            })
            .collect()
    }
}

/// Everything that a daemon does with a store when it starts, and some of what it does later.
fn use_all(store: &Store<Failing>) {
    store.prepare().unwrap();
    store.read_ledger(NOW).ok();
    store.is_wake_owed().ok();
    store.labels().ok();
    store.accounts().ok();
    store.take_over(NOW).ok();
    store.repair_live(NOW).ok();
    store.published_tokens().ok();
    for lineage in store.lineages(NOW).unwrap_or_default() {
        store.pending(&lineage.name);
        let names = lineage.record.as_ref().map(|record| record.names.clone());
        let names = names.unwrap_or_else(|| names_of(A));
        store.publish(&lineage.name, &names, &bundle(A), &origin()).ok();
        store.save_pending(&lineage.name, &order(A)).ok();
        if let Pending::Order(order) = &lineage.pending {
            store.part_with_pending(&lineage.name, order).ok();
        }
        store.clear_pending(&lineage.name).ok();
    }
    store.free_name(&A.parse().unwrap()).unwrap();
}

fn names_of(text: &str) -> Names {
    names(text)
}

proptest! {
    #![proptest_config(fewer())]

    #[test]
    fn any_name_in_a_tree_of_certbots_stays_in_the_tree(
        lineage in file_names(),
        other in file_names(),
        target in targets(),
        file in proptest::sample::select(FILES.to_vec()),
        in_conf in targets(),
    ) {
        let place = Place::new();
        let outside = Outside::of(&place);
        let before = outside.contents();
        let conf = CONF.replace("/etc/letsencrypt/archive/a.example.com", &in_conf);
        place.certbots(&lineage, &conf, &[pair(A)]);
        let link = place.path(&format!("live/{lineage}/{file}.pem"));
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        place.write(&format!("renewal/{other}"), &conf);
        place.write(&format!("archive/{lineage}/{other}"), "?");
        let store = place.store();
        use_all(&store);
        use_all(&store);
        assert_eq!(outside.contents(), before);
        assert!(fs::metadata("/etc/passwd").unwrap().len() > 0);
    }

    #[test]
    fn any_name_of_a_record_stays_in_the_store(name in file_names(), text in "[^\u{0}]{0,60}") {
        let place = Place::new();
        let outside = Outside::of(&place);
        let before = outside.contents();
        let store = place.store();
        let record = publish(&store, A, &bundle(A));
        let record = serde_json::to_string(&record).unwrap();
        for content in [record.clone(), record.replace(A, &text)] {
            place.write(&format!("rancher-lets-encrypt/certificates/{name}.json"), &content);
            place.write(&format!("rancher-lets-encrypt/pending/{name}.json"), serde_json::to_string(&order(A)).unwrap());
            use_all(&place.store());
        }
        assert_eq!(outside.contents(), before);
    }

    #[test]
    fn any_directory_has_one_account_file_in_the_store(directory in "(https://)?(\\.\\./){0,3}.{0,300}", more in "[^\u{0}]{0,20}") {
        let place = Place::new();
        let outside = Outside::of(&place);
        let before = outside.contents();
        let store = place.store();
        store.prepare().unwrap();
        let record = AccountRecord {
            directory: directory + &more,
            key: Secret::new("key"),
            url: None,
            lost: Vec::new(),
        };
        if store.save_account(&record).is_ok() {
            let read = store.account(&record.directory).unwrap().unwrap();
            assert_eq!((read.directory, read.key.reveal()), (record.directory, "key"));
            assert_eq!(place.names("rancher-lets-encrypt/accounts").len(), 1);
        }
        assert_eq!(outside.contents(), before);
    }

    #[test]
    fn what_is_written_down_is_read_back(names_text in "([a-c]\\.example\\.com ){1,3}", failures in any::<u32>(), detail in ".{0,60}", seconds in 0_i64..4_000_000_000) {
        let place = Place::new();
        let store = place.store();
        store.prepare().unwrap();
        let mut ledger = Ledger::default();
        let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        let wait = Wait { failures, until: at, detail, failure_kind: None, failed_at: None, address: None, asked_with: None };
        let names = names(names_text.trim());
        store.append_ledger(&ledger.fail(Subject::Wake, wait.clone(), NOW)).unwrap();
        store.append_ledger(&finalizing(&mut ledger, &names.set(), NOW)).unwrap();
        let read = store.read_ledger(NOW).unwrap();
        assert_eq!(read.failures(&Subject::Wake), failures);
        assert_eq!(read.floor(DIRECTORY, &names.set(), NOW), ledger.floor(DIRECTORY, &names.set(), NOW));
        assert_eq!(read.wait(&Subject::Wake).map(|wait| wait.detail.clone()), Some(wait.detail));
        store.save_pending(A, &order(names_text.trim())).unwrap();
        let Pending::Order(read) = store.pending(A) else { panic!("an order was saved") };
        assert_eq!(read.names, names);
    }
}
