//! Certbot's lineages become ours, and nothing is issued for what is fresh.

use super::*;

const RECORDS: &str = "rancher-lets-encrypt/certificates";

#[test]
fn a_certbot_lineage_becomes_ours_with_all_its_versions() {
    let place = Place::new();
    let versions = [pair(A), pair(A), pair("a.example.com www.example.com")];
    place.certbots(A, CONF, &versions);
    let store = place.store();
    let takeover = store.take_over(NOW).unwrap();
    assert_eq!(takeover.taken, [A]);
    assert!(takeover.left.is_empty() && takeover.unreadable.is_empty(), "{takeover:?}");
    let lineage = only(&store);
    let record = lineage.record.as_ref().unwrap();
    assert_eq!(record.names, names("a.example.com www.example.com"));
    assert_eq!(record.live, 3);
    let found: Vec<_> =
        record.versions.iter().map(|version| (version.number, version.leaf.unwrap())).collect();
    let wanted: Vec<_> = (1..)
        .zip(&versions)
        .map(|(number, (chain, key))| {
            let bundle = Bundle::parse(chain, &Secret::new(key)).unwrap();
            (number, bundle.leaf().fingerprint)
        })
        .collect();
    assert_eq!(found, wanted);
    for version in &record.versions {
        assert_eq!(version.directory.as_deref(), Some(DIRECTORY));
        assert_eq!(version.source, Source::TakenOver);
    }
    assert_eq!(leaf(&lineage), wanted[2].1);
    let conf = place.read("renewal/a.example.com.conf");
    assert_eq!(conf, CONF.replace("[renewalparams]\n", "[renewalparams]\nautorenew = False\n"));
    store.repair_live(NOW).unwrap();
    assert_eq!(place.shown(A), 3);
    // Once is enough.
    let dead = place.store_on(Failing::dies_after(0));
    assert!(dead.take_over(NOW).unwrap().taken.is_empty());
}

#[test]
fn the_version_that_is_live_is_the_one_the_links_lead_to() {
    let place = Place::new();
    let versions = [pair(A), pair(A), pair(A)];
    place.certbots(A, CONF, &versions);
    for file in FILES {
        let link = place.path(&format!("live/{A}/{file}.pem"));
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(format!("../../archive/{A}/{file}2.pem"), link).unwrap();
    }
    let store = place.store();
    store.take_over(NOW).unwrap();
    assert_eq!(only(&store).record.as_ref().unwrap().live, 2);
    store.repair_live(NOW).unwrap();
    assert_eq!(place.shown(A), 2);
    // The next one of ours comes behind all of them.
    assert_eq!(publish(&store, A, &bundle(A)).live, 4);
}

/// A volume of another user, or a network share that shows all users as one.
#[test]
fn a_live_view_that_cannot_be_read_keeps_no_archive_from_being_taken_over() {
    let place = Place::new();
    place.certbots(A, CONF, &[pair(A)]);
    for file in FILES {
        let link = place.path(&format!("live/{A}/{file}.pem"));
        if std::os::unix::fs::lchown(link, Some(4711), None).is_err() {
            // Only root may give links away.
            return;
        }
    }
    let taken = place.store().take_over(NOW).unwrap();
    assert_eq!(taken.taken, [A], "{taken:?}");
}

#[test]
fn every_lineage_of_the_same_names_is_taken_over() {
    let place = Place::new();
    for lineage in [A, "a.example.com-0001", "my-cert"] {
        place.certbots(lineage, &CONF.replace(A, lineage), &[pair("b.example.com a.example.com")]);
    }
    let store = place.store();
    let mut taken = store.take_over(NOW).unwrap().taken;
    taken.sort_unstable();
    assert_eq!(taken, [A, "a.example.com-0001", "my-cert"]);
    for lineage in store.lineages(NOW).unwrap() {
        let record = lineage.record.as_ref().unwrap();
        assert_eq!(record.names, names("a.example.com b.example.com"));
    }
}

#[track_caller]
fn is_left_alone(place: &Place, why: &str) {
    let conf = place.read("renewal/a.example.com.conf");
    let store = place.store();
    let takeover = store.take_over(NOW).unwrap();
    assert!(takeover.left.get(A).is_some_and(|reason| reason.contains(why)), "{takeover:?}");
    assert!(takeover.taken.is_empty() && takeover.unreadable.is_empty());
    assert_eq!(place.read("renewal/a.example.com.conf"), conf);
    assert_eq!(place.names(RECORDS), Vec::<String>::new());
}

#[test]
fn what_is_not_ours_to_renew_is_left_alone() {
    let place = Place::new();
    place.certbots(A, CONF, &[pair("a.example.com *.example.com")]);
    is_left_alone(&place, "wildcard");
    let place = Place::new();
    let conf = CONF.replace("server = https://ca.test/directory\n", "");
    place.certbots(A, &conf, &[pair(A)]);
    is_left_alone(&place, "no ACME server");
    let place = Place::new();
    place.write("renewal/a.example.com.conf", CONF);
    is_left_alone(&place, "no version");
    let place = Place::new();
    place.certbots(A, CONF, &[("garbage-----BEGIN-----BEGIN".to_owned(), String::new())]);
    is_left_alone(&place, "does not parse");
    // Certbot itself cannot read such a file either.
    let place = Place::new();
    place.certbots(A, CONF, &[pair(A)]);
    let mut latin = CONF.as_bytes().to_vec();
    latin.splice(0..0, *b"# M\xfcnchen\n");
    place.write("renewal/a.example.com.conf", &latin);
    let takeover = place.store().take_over(NOW).unwrap();
    assert_eq!(takeover.left.len(), 1, "{takeover:?}");
    assert_eq!(fs::read(place.path("renewal/a.example.com.conf")).unwrap(), latin);
}

#[test]
fn a_live_link_that_leads_nowhere_is_unknown_and_not_taken_for_nothing() {
    let place = Place::new();
    place.certbots(A, CONF, &[pair(A), pair(A)]);
    let gone = place.path(&format!("archive/{A}/fullchain2.pem"));
    let away = place.path("away");
    fs::rename(&gone, &away).unwrap();
    let store = place.store();
    let takeover = store.take_over(NOW).unwrap();
    assert!(
        takeover.unreadable.get(A).is_some_and(|why| why.contains("fullchain2.pem")),
        "{takeover:?}"
    );
    assert!(takeover.taken.is_empty() && takeover.left.is_empty());
    fs::rename(away, gone).unwrap();
    assert_eq!(store.take_over(NOW).unwrap().taken, [A]);
}

#[test]
fn what_cannot_be_read_is_told_and_taken_over_later() {
    for path in ["renewal/a.example.com.conf", "archive/a.example.com/fullchain1.pem"] {
        let place = Place::new();
        place.certbots(A, CONF, &[pair(A)]);
        place.certbots("b.example.com", CONF, &[pair("b.example.com")]);
        let unblock = place.block(path);
        let store = place.store();
        let takeover = store.take_over(NOW).unwrap();
        assert_eq!(takeover.taken, ["b.example.com"]);
        assert_eq!(takeover.unreadable.keys().collect::<Vec<_>>(), [A], "{takeover:?}");
        unblock();
        assert_eq!(store.take_over(NOW).unwrap().taken, [A]);
    }
}

#[test]
fn a_crash_at_any_step_of_a_takeover_is_made_good_by_the_next() {
    let versions = [pair(A)];
    for steps in 0.. {
        let place = Place::new();
        place.certbots(A, CONF, &versions);
        let dying = place.store_on(Failing::dies_after(steps));
        drop(dying.take_over(NOW));
        let store = place.store();
        store.take_over(NOW).unwrap();
        leaf(&only(&store));
        let conf = place.read("renewal/a.example.com.conf");
        assert_eq!(conf.matches("autorenew = False\n").count(), 1, "{conf}");
        if !dying.disk.is_dead() {
            assert_eq!(steps, 3);
            break;
        }
    }
}

#[test]
fn pruning_leaves_the_key_that_a_kept_version_links_to() {
    let place = Place::new();
    let (chain, key) = pair(A);
    let versions: Vec<_> = (0..10).map(|_| (chain.clone(), key.clone())).collect();
    place.certbots(A, CONF, &versions);
    for number in 2..=10 {
        let link = place.path(&format!("archive/{A}/privkey{number}.pem"));
        fs::remove_file(&link).unwrap();
        // The third one leads by way of the second one, which goes.
        let target = if number == 3 { "privkey2.pem" } else { "privkey1.pem" };
        std::os::unix::fs::symlink(target, link).unwrap();
    }
    let store = place.store();
    store.take_over(NOW).unwrap();
    for round in 1..=2 {
        publish(&store, A, &bundle(A));
        let left = place.names(&format!("archive/{A}"));
        assert!(!left.contains(&format!("fullchain{round}.pem")), "{left:?}");
        let kept = store.record(A).unwrap().unwrap().versions;
        assert_eq!(kept.len(), 10);
        for version in kept.iter().filter(|version| version.number <= 10) {
            store.read_bundle(A, version.number).unwrap().unwrap();
        }
    }
}

/// Takes over the lineage and shows that a version is live, in our archive and by our links.
#[track_caller]
fn is_taken(place: &Place, pair: &(String, String)) -> Store<Failing> {
    let store = place.store();
    let takeover = store.take_over(NOW).unwrap();
    assert_eq!(takeover.taken, [A], "{takeover:?}");
    let wanted = Bundle::parse(&pair.0, &Secret::new(&*pair.1)).unwrap();
    assert_eq!(leaf(&only(&store)), wanted.leaf().fingerprint);
    store.repair_live(NOW).unwrap();
    assert_eq!(place.shown(A), store.record(A).unwrap().unwrap().live);
    let shown = fs::read_to_string(place.path(&format!("live/{A}/privkey.pem"))).unwrap();
    assert_eq!(shown.trim(), wanted.key_pem().reveal().trim());
    store
}

#[test]
fn an_archive_that_is_elsewhere_is_followed() {
    let (place, versions) = (Place::new(), [pair(A), pair(A)]);
    place.certbots(A, CONF, &versions);
    let elsewhere = place.dir.path().join("elsewhere");
    fs::rename(place.path(&format!("archive/{A}")), &elsewhere).unwrap();
    for file in FILES {
        let link = place.path(&format!("live/{A}/{file}.pem"));
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(elsewhere.join(format!("{file}2.pem")), link).unwrap();
    }
    let store = is_taken(&place, &versions[1]);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 8);
    publish(&store, A, &bundle(A));
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 8);
}

#[test]
fn an_archive_that_is_a_link_is_used_where_it_is() {
    let (place, versions) = (Place::new(), [pair(A), pair(A)]);
    place.certbots(A, CONF, &versions);
    let elsewhere = place.dir.path().join("elsewhere");
    fs::rename(place.path(&format!("archive/{A}")), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, place.path(&format!("archive/{A}"))).unwrap();
    let store = is_taken(&place, &versions[1]);
    publish(&store, A, &bundle(A));
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 12);
}

/// The archive was removed by hand, and `live/` has plain files.
fn with_plain_files(pair: &(String, String)) -> Place {
    let place = Place::new();
    place.certbots(A, CONF, std::slice::from_ref(pair));
    for file in FILES {
        let path = format!("live/{A}/{file}.pem");
        let content = place.read(&path);
        fs::remove_file(place.path(&path)).unwrap();
        place.write(&path, content);
    }
    fs::remove_dir_all(place.path(&format!("archive/{A}"))).unwrap();
    place
}

#[test]
fn plain_files_without_an_archive_are_used_if_they_are_whole() {
    let one = pair(A);
    is_taken(&with_plain_files(&one), &one);
}

#[test]
fn plain_files_that_are_not_whole_are_told_with_the_way_out() {
    let other = pair(A).1;
    for key in [None, Some("garbage"), Some(other.as_str())] {
        let place = with_plain_files(&pair(A));
        let path = format!("live/{A}/privkey.pem");
        match key {
            Some(key) => place.write(&path, key),
            None => fs::remove_file(place.path(&path)).unwrap(),
        }
        is_left_alone(&place, "or remove that folder and");
    }
}

#[test]
fn links_into_an_archive_that_was_removed_are_told_with_the_way_out() {
    let place = Place::new();
    place.certbots(A, CONF, &[pair(A)]);
    fs::remove_dir_all(place.path(&format!("archive/{A}"))).unwrap();
    is_left_alone(&place, "or remove that folder and");
    // What leads elsewhere may come back with what is mounted there.
    for file in FILES {
        let link = place.path(&format!("live/{A}/{file}.pem"));
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(format!("/not-mounted/{file}1.pem"), link).unwrap();
    }
    let takeover = place.store().take_over(NOW).unwrap();
    assert!(takeover.unreadable.contains_key(A), "{takeover:?}");
}

#[test]
fn an_old_version_that_leads_nowhere_does_not_matter() {
    let (place, versions) = (Place::new(), [pair(A), pair(A)]);
    place.certbots(A, CONF, &versions);
    let old = place.path(&format!("archive/{A}/fullchain1.pem"));
    fs::remove_file(&old).unwrap();
    std::os::unix::fs::symlink("/not-there", old).unwrap();
    is_taken(&place, &versions[1]);
}
