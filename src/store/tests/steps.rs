//! A crash between any two steps leaves the older or the newer state, and the view follows the record.

use super::*;

#[test]
fn a_crash_at_any_step_of_publishing_leaves_the_older_or_the_newer_version() {
    let (older, newer) = (bundle(A), bundle(A));
    let [older_leaf, newer_leaf] = [&older, &newer].map(|bundle| bundle.leaf().fingerprint);
    let mut seen = Vec::new();
    for steps in 0.. {
        let place = Place::new();
        // Nine more, so that the oldest is removed as well.
        for _ in 0..10 {
            publish(&place.store(), A, &older);
        }
        let dying = place.store_on(Failing::dies_after(steps));
        let published = dying.publish(A, &names(A), &newer, &origin());
        let survives = !dying.disk.is_dead();

        let store = place.store();
        let lineage = only(&store);
        let found = leaf(&lineage);
        assert!([older_leaf, newer_leaf].contains(&found), "step {steps}");
        // Once it was said to be published, it is.
        assert!(published.is_err() || found == newer_leaf, "step {steps}: {published:?}");
        store.repair_live(NOW).unwrap();
        let record = lineage.record.as_ref().unwrap();
        assert_eq!(place.shown(A), record.live, "step {steps}");
        let live = place.read(&format!("live/{A}/fullchain.pem"));
        let shown = crate::core::certificate::CertificateChain::parse(&live, "").unwrap();
        assert_eq!(shown.leaf.fingerprint, found, "step {steps}");
        // And it goes on from there.
        let record = publish(&store, A, &newer);
        assert_eq!(leaf(&only(&store)), newer_leaf, "step {steps}");
        assert_eq!(place.shown(A), record.live, "step {steps}");
        assert_eq!(record.versions.len(), 10, "step {steps}");
        seen.push(found == newer_leaf);
        if survives {
            break;
        }
    }
    // Four files, the record, four links, the files of the oldest version at once; the record decides.
    assert_eq!(seen.len(), 12, "{seen:?}");
    assert_eq!(seen.iter().position(|is_newer| *is_newer), Some(5), "{seen:?}");
    assert!(seen.is_sorted(), "{seen:?}");
}

#[test]
fn a_certificate_waits_for_the_disk_no_more_often_than_it_must() {
    let place = Place::new();
    let store = place.store();
    let (mut ledger, set, bundle) = (Ledger::default(), names(A).set(), bundle(A));
    let mut kept = order(A);
    let mut life = |waited: &mut Vec<(&str, usize)>| {
        let mut step = |what, work: &mut dyn FnMut()| {
            let before = *store.disk.syncs.lock().unwrap();
            work();
            waited.push((what, *store.disk.syncs.lock().unwrap() - before));
        };
        step("intent", &mut || store.save_pending(A, &kept).unwrap());
        step("its URL", &mut || store.save_pending(A, &kept).unwrap());
        step("tokens", &mut || store.note_pending(A, &kept).unwrap());
        step("told", &mut || store.save_pending(A, &kept).unwrap());
        kept.finalizing(NOW);
        step("finalized", &mut || store.save_pending(A, &kept).unwrap());
        step("the floor", &mut || {
            let line = finalizing(&mut ledger, &set, NOW);
            store.append_ledger(&line).unwrap();
        });
        step("the chain", &mut || store.note_pending(A, &kept).unwrap());
        step("stored", &mut || {
            publish(&store, A, &bundle);
        });
        step("issued", &mut || {
            let line = ledger.issued(DIRECTORY, set.clone(), bundle.leaf(), NOW);
            store.append_ledger(&line).unwrap();
        });
        step("cleared", &mut || store.clear_stored(A).unwrap());
    };
    let (mut first, mut renewal) = (Vec::new(), Vec::new());
    life(&mut first);
    life(&mut renewal);
    let all = |waited: &[(&str, usize)]| waited.iter().map(|(_, syncs)| syncs).sum::<usize>();
    // Its folder in the archive is new; those of orders, versions and records are shared by who writes beside it.
    assert_eq!(all(&first), 12, "{first:?}");
    assert_eq!(all(&renewal), 11, "{renewal:?}");
}

#[test]
fn a_crash_at_any_step_of_the_first_publishing_leaves_nothing_or_all() {
    let bundle = bundle(A);
    for steps in 0.. {
        let place = Place::new();
        let dying = place.store_on(Failing::dies_after(steps));
        drop(dying.publish(A, &names(A), &bundle, &origin()));
        let store = place.store();
        let lineages = store.lineages(NOW).unwrap();
        store.repair_live(NOW).unwrap();
        if let [lineage] = lineages.as_slice() {
            assert_eq!(leaf(lineage), bundle.leaf().fingerprint);
            assert_eq!(place.shown(A), 1);
            let conf = place.read(&format!("renewal/{A}.conf"));
            assert!(conf.contains("autorenew = False"), "{conf}");
        }
        assert_eq!(lineages.is_empty(), steps <= 5, "step {steps}");
        if !dying.disk.is_dead() {
            break;
        }
    }
}

#[test]
fn what_a_power_failure_tears_of_what_was_not_synced_is_made_good_at_the_next_start() {
    let place = Place::new();
    publish(&place.store(), A, &bundle(A));
    let torn = [
        format!("archive/{A}/cert1.pem"),
        format!("archive/{A}/chain1.pem"),
        format!("renewal/{A}.conf"),
    ];
    for path in torn {
        let whole = place.read(&path);
        let half = whole.len() / 2;
        let rest = whole.len() - half;
        let states = [
            None,
            Some(Vec::new()),
            Some(whole.as_bytes()[..half].to_vec()),
            Some([&whole.as_bytes()[..half], &vec![0; rest]].concat()),
            Some(vec![0; whole.len()]),
        ];
        for state in states {
            match &state {
                Some(content) => place.write(&path, content),
                None => fs::remove_file(place.path(&path)).unwrap(),
            }
            place.store().repair_live(NOW).unwrap();
            assert_eq!(place.read(&path), whole, "{path}: {state:?}");
        }
    }
    // What somebody has written is no tear.
    let path = format!("archive/{A}/chain1.pem");
    place.write(&path, "somebody's");
    place.store().repair_live(NOW).unwrap();
    assert_eq!(place.read(&path), "somebody's");
}

#[test]
fn what_a_power_failure_tore_of_the_same_bundle_takes_no_name() {
    let place = Place::new();
    let own = bundle(A);
    place.write(&format!("archive/{A}/chain1.pem"), "");
    place.write(&format!("archive/{A}/cert1.pem"), &own.certificate_pem()[..40]);
    let primary = A.parse().unwrap();
    assert_eq!(place.store().free_name_for(&primary, &own).unwrap(), A);
}

#[test]
fn a_view_that_cannot_be_made_does_not_undo_what_was_published() {
    let place = Place::new();
    let disk = Failing { frozen: Mutex::new(Some(place.path("live"))), ..Failing::default() };
    let store = place.store_on(disk);
    let bundle = bundle(A);
    publish(&store, A, &bundle);
    assert_eq!(leaf(&only(&store)), bundle.leaf().fingerprint);
    assert!(!place.path(&format!("live/{A}")).exists());
    store.repair_stale();
    assert!(!place.path(&format!("live/{A}")).exists());
    *store.disk.frozen.lock().unwrap() = None;
    store.repair_stale();
    assert_eq!(place.shown(A), 1);
}

#[test]
fn the_live_view_is_repaired_from_the_record() {
    let place = Place::new();
    let store = place.store();
    for _ in 1..=3 {
        publish(&store, A, &bundle(A));
    }
    let live = |file: &str| place.path(&format!("live/{A}/{file}.pem"));
    let damage: [(&str, &dyn Fn()); 6] = [
        ("a link is gone", &|| {
            fs::remove_file(live("cert")).unwrap();
        }),
        ("the folder is gone", &|| {
            fs::remove_dir_all(place.path(&format!("live/{A}"))).unwrap();
        }),
        ("a link leads to an older version", &|| {
            fs::remove_file(live("privkey")).unwrap();
            let target = format!("../../archive/{A}/privkey1.pem");
            std::os::unix::fs::symlink(target, live("privkey")).unwrap();
        }),
        ("a link leads nowhere", &|| {
            fs::remove_file(live("chain")).unwrap();
            std::os::unix::fs::symlink("/nowhere", live("chain")).unwrap();
        }),
        ("an absolute link", &|| {
            fs::remove_file(live("chain")).unwrap();
            let target = place.path(&format!("archive/{A}/chain3.pem"));
            std::os::unix::fs::symlink(target, live("chain")).unwrap();
        }),
        ("a plain file is in the way", &|| {
            fs::remove_file(live("fullchain")).unwrap();
            fs::write(live("fullchain"), "somebody's").unwrap();
        }),
    ];
    for (what, damage) in damage {
        damage();
        place.store().repair_live(NOW).unwrap();
        assert_eq!(place.shown(A), 3, "{what}");
    }
    assert_eq!(place.read(&format!("live/{A}/fullchain.pem.broken")), "somebody's");
}

#[test]
fn one_view_that_cannot_be_repaired_does_not_keep_the_others() {
    let place = Place::new();
    let store = place.store();
    for lineage in ["a.example.com", "b.example.com"] {
        publish(&store, lineage, &bundle(lineage));
        fs::remove_dir_all(place.path(&format!("live/{lineage}"))).unwrap();
    }
    place.write("live/a.example.com", "a file in place of the folder");
    store.repair_live(NOW).unwrap();
    assert_eq!(place.shown("b.example.com"), 1);
    assert_eq!(place.read("live/a.example.com"), "a file in place of the folder");
}

#[test]
fn a_repair_writes_nothing_where_nothing_is_wrong() {
    let place = Place::new();
    publish(&place.store(), A, &bundle(A));
    let dead = place.store_on(Failing::dies_after(0));
    dead.repair_live(NOW).unwrap();
    dead.take_over(NOW).unwrap();
    leaf(&only(&dead));
}

/// A disk may refuse the record for hours, and each try would leave a certificate and its key.
#[test]
fn tries_that_cannot_be_written_down_leave_no_version_behind() {
    let place = Place::new();
    let store = place.store();
    publish(&store, A, &bundle(A));
    let archive = format!("archive/{A}");
    let before = place.names(&archive);
    let (next, certificates) = (bundle(A), "rancher-lets-encrypt/certificates");
    *store.disk.frozen.lock().unwrap() = Some(place.path(certificates));
    for _ in 0..3 {
        assert!(store.publish(A, &names(A), &next, &origin()).is_err());
        assert_eq!(place.names(&archive), before);
    }
    assert_eq!(only(&store).record.as_ref().unwrap().live, 1);
    *store.disk.frozen.lock().unwrap() = None;
    assert_eq!(publish(&store, A, &next).live, 2);
    assert_eq!(place.shown(A), 2);
    assert_eq!(place.names(&archive).len(), 8);
}

/// Nothing of a record that another attempt has written meanwhile is taken back.
#[test]
fn what_is_noted_of_an_older_record_changes_no_newer_one() {
    let place = Place::new();
    let store = place.store();
    let older = publish(&store, A, &bundle(A));
    let newer = publish(&store, A, &bundle(A));
    assert!(!store.note_gone(A, &older).unwrap());
    assert_eq!(store.record(A).unwrap().unwrap(), newer);
    assert!(store.note_gone(A, &newer).unwrap());
    let noted = store.record(A).unwrap().unwrap();
    assert!(noted.is_told_gone);
    assert_eq!((noted.live, noted.versions), (newer.live, newer.versions));
}

/// What many write at once is written by one after the other.
#[test]
fn versions_that_are_stored_at_once_are_all_on_record() {
    let place = Place::new();
    let store = place.store();
    let bundles: Vec<Bundle> = (0..4).map(|_| bundle(A)).collect();
    std::thread::scope(|scope| {
        for bundle in &bundles {
            scope.spawn(|| publish(&store, A, bundle));
        }
    });
    let record = store.record(A).unwrap().unwrap();
    let numbers: Vec<u32> = record.versions.iter().map(|version| version.number).collect();
    assert_eq!((record.live, numbers), (4, vec![1, 2, 3, 4]));
    assert_eq!(place.shown(A), 4);
}
